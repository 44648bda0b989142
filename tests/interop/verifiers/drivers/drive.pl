# Reads tokens, a line each, and says of each whether the recipe lets it in.
use strict;
use warnings;
use FindBin;
require "$FindBin::Bin/recipe.pl";

$| = 1;
while (my $token = <STDIN>) {
    chomp $token;
    my $claims = eval { verify($token) };
    my $told = $claims ? "ok $claims->{client_id}" : "no $@";
    $told =~ s/\n/ /g;
    print "$told\n";
}

use strict;
use warnings;
use Crypt::JWT qw(decode_jwt);
use HTTP::Tiny;
use JSON::PP qw(decode_json);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

my ($cache, $cooldown) = ({{cache}}, {{cooldown}}); # seconds
my ($keys, %known, $fetched);

# The key set: fetched again when it is old, or a token names a key that is not in it.
sub keys_for {
    my ($kid) = @_;
    my $now = clock_gettime(CLOCK_MONOTONIC);
    if (!defined $fetched || $now - $fetched > $cache || (!$known{$kid} && $now - $fetched > $cooldown)) {
        my $answer = HTTP::Tiny->new(timeout => 5, verify_SSL => 1)->get('{{jwks}}');
        die "no key set: $answer->{status}\n" if $answer->{status} != 200;
        $keys = decode_json($answer->{content});
        %known = map { $_->{kid} => 1 } @{ $keys->{keys} };
        $fetched = $now;
    }
    die "unknown key\n" if !$known{$kid};
    return $keys;
}

# The claims of a token that may do this here. Dies for any other.
sub verify {
    my ($token) = @_;
    my ($header) = decode_jwt(token => $token, ignore_signature => 1, ignore_claims => 1, decode_header => 1);
    die "another kind of token\n"
        if ($header->{typ} // '') ne 'at+jwt' || exists $header->{crit} || !defined $header->{kid} || ref $header->{kid};
    my $claims = decode_jwt(
        token        => $token,
        kid_keys     => keys_for($header->{kid}),
        accepted_alg => '{{alg}}',
        verify_iss   => '{{issuer}}',
        verify_aud   => '{{audience}}',
        verify_exp   => 1,
        verify_iat   => 1,
        leeway       => {{leeway}},
    );
    die "not a token of a service\n" if ref $claims ne 'HASH' || ($claims->{stt} // 0) ne '1';
    die "insufficient_scope\n" if !grep { $_ eq '{{scope}}' } @{ $claims->{scp} // [] };
    return $claims;
}

1;

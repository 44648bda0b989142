# Reads tokens, a line each, and says of each whether the recipe lets it in.
require_relative 'recipe'

$stdout.sync = true
$stdin.each_line do |line|
  puts "ok #{verify(line.strip)['client_id']}"
rescue StandardError => e
  puts "no #{e.class} #{e.message.tr("\n", ' ')}"
end

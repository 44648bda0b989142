require 'json'
require 'jwt'
require 'net/http'

# The key set: fetched again when it is old, or a token names a key that is not in it.
class Keys
  CACHE = {{cache}} # seconds
  COOLDOWN = {{cooldown}}

  def initialize(url)
    @url = URI(url)
    @lock = Mutex.new
  end

  def call(options)
    @lock.synchronize do
      age = @fetched ? Process.clock_gettime(Process::CLOCK_MONOTONIC) - @fetched : Float::INFINITY
      if age > CACHE || (options[:kid_not_found] && age > COOLDOWN)
        answer = Net::HTTP.start(@url.host, @url.port, use_ssl: @url.scheme == 'https', open_timeout: 5, read_timeout: 5) do |http|
          http.get(@url.request_uri)
        end
        raise JWT::DecodeError, "no key set: #{answer.code}" unless answer.is_a?(Net::HTTPOK)

        @keys = JSON.parse(answer.body)
        @fetched = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end
      @keys
    end
  end
end

KEYS = Keys.new('{{jwks}}')

# The claims of a token that may do this here. Raises for any other.
def verify(token)
  claims, header = JWT.decode(
    token, nil, true,
    algorithms: ['{{alg}}'], jwks: ->(options) { KEYS.call(options) },
    iss: '{{issuer}}', verify_iss: true, aud: '{{audience}}', verify_aud: true, leeway: {{leeway}},
    required_claims: %w[sub iss aud iat exp jti scp stt]
  )
  raise JWT::DecodeError, 'another kind of token' if header['typ'] != 'at+jwt' || header.key?('crit')
  raise JWT::DecodeError, 'not a token of a service' unless claims['stt'] == 1
  raise JWT::DecodeError, 'insufficient_scope' unless claims['scp'].include?('{{scope}}')

  claims
end

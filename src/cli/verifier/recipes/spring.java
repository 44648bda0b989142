import java.time.Duration;
import java.util.List;

import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.proc.DefaultJOSEObjectTypeVerifier;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.oauth2.core.DelegatingOAuth2TokenValidator;
import org.springframework.security.oauth2.jose.jws.SignatureAlgorithm;
import org.springframework.security.oauth2.jwt.*;
import org.springframework.security.web.SecurityFilterChain;

@Configuration
class TokensOfServices {
    @Bean
    JwtDecoder decoder() {
        var decoder = NimbusJwtDecoder.withJwkSetUri("{{jwks}}")
            .jwsAlgorithm(SignatureAlgorithm.{{alg}})
            .jwtProcessorCustomizer(processor -> processor.setJWSTypeVerifier(
                new DefaultJOSEObjectTypeVerifier<>(new JOSEObjectType("at+jwt"))))
            .build();
        decoder.setJwtValidator(new DelegatingOAuth2TokenValidator<>(
            new JwtTimestampValidator(Duration.ofSeconds({{leeway}})),
            new JwtIssuerValidator("{{issuer}}"),
            new JwtClaimValidator<List<String>>("aud", aud -> List.of("{{audience}}").equals(aud)),
            new JwtClaimValidator<Number>("stt", stt -> stt != null && stt.intValue() == 1)));
        return decoder;
    }

    @Bean
    SecurityFilterChain rules(HttpSecurity http) throws Exception {
        return http
            .authorizeHttpRequests(requests -> requests.anyRequest().hasAuthority("SCOPE_{{scope}}"))
            .oauth2ResourceServer(server -> server.jwt(jwt -> {}))
            .build();
    }
}

import { auth, requiredScopes } from "express-oauth2-jwt-bearer";

/** Goes before the handlers of an Express application. Answers 401 and 403 by itself. */
export const guard = [
    auth({
        issuer: "{{issuer}}",
        jwksUri: "{{jwks}}",
        audience: "{{audience}}",
        tokenSigningAlg: "{{alg}}",
        strict: true,
        clockTolerance: {{leeway}},
        cacheMaxAge: {{cache}} * 1000,
        cooldownDuration: {{cooldown}} * 1000,
        validators: { stt: (stt) => stt === 1 },
    }),
    requiredScopes("{{scope}}"),
];

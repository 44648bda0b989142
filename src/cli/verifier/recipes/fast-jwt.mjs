import { createVerifier } from "fast-jwt";
import { JwksClient } from "jwks-rsa";

const keys = new JwksClient({
    jwksUri: "{{jwks}}",
    cacheMaxAge: {{cache}} * 1000,
    rateLimit: true,
    jwksRequestsPerMinute: 10,
});

const claimsOf = createVerifier({
    key: async ({ header }) => (await keys.getSigningKey(header.kid)).getPublicKey(),
    algorithms: ["{{alg}}"],
    checkTyp: "at+jwt",
    allowedIss: "{{issuer}}",
    allowedAud: "{{audience}}",
    clockTolerance: {{leeway}} * 1000,
    requiredClaims: ["sub", "aud", "iss", "iat", "exp", "jti", "scp", "stt"],
});

/** The claims of a token that may do this here. Throws for any other. */
export async function verify(token) {
    const claims = await claimsOf(token);
    if (claims.stt !== 1) throw new Error("not a token of a service");
    if (!claims.scp.includes("{{scope}}")) throw new Error("insufficient_scope");
    return claims;
}

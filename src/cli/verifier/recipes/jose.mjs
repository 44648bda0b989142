import * as jose from "jose";

const keys = jose.createRemoteJWKSet(new URL("{{jwks}}"), {
    cacheMaxAge: {{cache}} * 1000,
    cooldownDuration: {{cooldown}} * 1000,
});

/** The claims of a token that may do this here. Throws for any other. */
export async function verify(token) {
    const { payload } = await jose.jwtVerify(token, keys, {
        algorithms: ["{{alg}}"],
        typ: "at+jwt",
        issuer: "{{issuer}}",
        audience: "{{audience}}",
        clockTolerance: {{leeway}},
        requiredClaims: ["sub", "client_id", "iat", "exp", "jti", "scp", "stt"],
    });
    if (payload.stt !== 1) throw new Error("not a token of a service");
    if (!payload.scp.includes("{{scope}}")) throw new Error("insufficient_scope");
    return payload;
}

import jwt from "jsonwebtoken";
import { JwksClient } from "jwks-rsa";

const keys = new JwksClient({
    jwksUri: "{{jwks}}",
    cacheMaxAge: {{cache}} * 1000,
    rateLimit: true,
    jwksRequestsPerMinute: 10,
});

function keyOf(header, done) {
    if (header.alg !== "{{alg}}" || header.typ !== "at+jwt" || header.crit) return done(new Error("another kind of token"));
    keys.getSigningKey(header.kid).then((key) => done(null, key.getPublicKey()), done);
}

/** The claims of a token that may do this here. Throws for any other. */
export function verify(token) {
    return new Promise((resolve, reject) => {
        const rules = {
            algorithms: ["{{alg}}"],
            issuer: "{{issuer}}",
            audience: "{{audience}}",
            clockTolerance: {{leeway}},
        };
        jwt.verify(token, keyOf, rules, (error, claims) => {
            if (error) return reject(error);
            if (claims.stt !== 1 || !claims.exp) return reject(new Error("not a token of a service"));
            if (!claims.scp?.includes("{{scope}}")) return reject(new Error("insufficient_scope"));
            resolve(claims);
        });
    });
}

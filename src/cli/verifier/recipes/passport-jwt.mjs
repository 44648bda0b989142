import { passportJwtSecret } from "jwks-rsa";
import { ExtractJwt, Strategy } from "passport-jwt";

const keyOf = passportJwtSecret({
    jwksUri: "{{jwks}}",
    cache: true,
    cacheMaxAge: {{cache}} * 1000,
    rateLimit: true,
    jwksRequestsPerMinute: 10,
});

function keyOfAccessToken(request, token, done) {
    const { typ, crit } = JSON.parse(Buffer.from(token.split(".")[0], "base64url"));
    if (typ !== "at+jwt" || crit) return done(new Error("another kind of token"));
    keyOf(request, token, done);
}

/** For `passport.use(strategy)`, and before a handler `passport.authenticate("jwt", { session: false })`. */
export const strategy = new Strategy(
    {
        jwtFromRequest: ExtractJwt.fromAuthHeaderAsBearerToken(),
        secretOrKeyProvider: keyOfAccessToken,
        algorithms: ["{{alg}}"],
        issuer: "{{issuer}}",
        audience: "{{audience}}",
        jsonWebTokenOptions: { clockTolerance: {{leeway}} },
    },
    (claims, done) => {
        const allowed = claims.stt === 1 && claims.exp && claims.scp?.includes("{{scope}}");
        done(null, allowed ? claims : false);
    },
);

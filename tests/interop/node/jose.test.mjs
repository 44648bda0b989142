// jose, as the documentation's last chapter uses it.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, test } from "node:test";

import * as jose from "jose";

import { admin, documentedToken, startServer, taskService } from "./server.mjs";

let server, client, keys;

before(async () => {
    server = await startServer({
        M2MINT_ROTATION__PROPAGATION: "1s",
        M2MINT_ROTATION__EVERY: "never",
    });
    client = await taskService(server);
    keys = jose.createRemoteJWKSet(new URL(`${server.url}/auth/jwt/jwks.json`), { cooldownDuration: 0 });
});
after(() => server.stop());

async function validateClientCredentialsToken(jwt, requiredScope, audience) {
    const { payload } = await jose.jwtVerify(jwt, keys, { audience, requiredClaims: ["stt", "scp"] });
    return payload.stt === 1 && payload.scp.includes(requiredScope);
}

test("the documented check passes a documented token", async () => {
    const { status, accessToken, expiresIn } = await documentedToken(server, client);
    assert.equal(status, 200);
    assert.equal(expiresIn, 3600);
    assert.equal(await validateClientCredentialsToken(accessToken, "event.create", "event"), true);
    assert.equal(await validateClientCredentialsToken(accessToken, "event.delete", "event"), false);
});

test("a token for another service is refused", async () => {
    const { accessToken } = await documentedToken(server, client, ["file.view"], "file");
    await assert.rejects(validateClientCredentialsToken(accessToken, "file.view", "event"), { code: "ERR_JWT_CLAIM_VALIDATION_FAILED" });
});

test("a changed token is refused", async () => {
    const { accessToken } = await documentedToken(server, client);
    const [header, payload, signature] = accessToken.split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url"));
    const forged = Buffer.from(JSON.stringify({ ...claims, scp: ["event.delete"] })).toString("base64url");
    await assert.rejects(validateClientCredentialsToken(`${header}.${forged}.${signature}`, "event.delete", "event"), {
        code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
    });
});

test("strict options hold: issuer, type, algorithm, no clock tolerance", async () => {
    const { accessToken } = await documentedToken(server, client);
    const { protectedHeader } = await jose.jwtVerify(accessToken, keys, {
        issuer: `${server.url}/auth`,
        audience: "event",
        typ: "at+jwt",
        algorithms: ["EdDSA"],
        clockTolerance: 0,
        requiredClaims: ["iss", "sub", "aud", "client_id", "iat", "exp", "jti", "scope", "scp", "stt"],
    });
    assert.equal(protectedHeader.alg, "EdDSA");
});

test("tokens from before and after a rotation pass", async () => {
    const { accessToken: before } = await documentedToken(server, client);
    const active = async () => (await (await fetch(`${server.url}/auth/jwt/jwks.json`)).json()).keys[0].kid;
    const old = await active();
    server.signal("SIGUSR1");
    while ((await active()) === old) await sleep(20);
    const { accessToken: later } = await documentedToken(server, client);
    assert.notEqual(jose.decodeProtectedHeader(before).kid, jose.decodeProtectedHeader(later).kid);
    for (const token of [before, later]) {
        assert.equal(await validateClientCredentialsToken(token, "event.create", "event"), true);
    }
});

test("the kid is the thumbprint of the key", async () => {
    const { keys } = await (await fetch(`${server.url}/.well-known/jwks.json`)).json();
    for (const key of keys) assert.equal(await jose.calculateJwkThumbprint(key), key.kid);
    assert.equal((await admin(server, "GET", "/recipe/jwt/jwks")).keys.length, keys.length);
});

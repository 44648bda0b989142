// express-oauth2-jwt-bearer, as a called service uses it, with its own cache of the key set, across a rotation.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, test } from "node:test";

import express from "express";
import { auth, requiredScopes } from "express-oauth2-jwt-bearer";

import { documentedToken, startServer, taskService } from "./server.mjs";

let server, client, service;

before(async () => {
    server = await startServer({ M2MINT_ROTATION__PROPAGATION: "1s", M2MINT_ROTATION__EVERY: "never" });
    client = await taskService(server);
    const app = express();
    app.use(auth({
        issuer: `${server.url}/auth`,
        jwksUri: `${server.url}/auth/jwt/jwks.json`,
        audience: "event",
        tokenSigningAlg: "EdDSA",
        strict: true,
        validators: { stt: (value) => value === 1 },
    }));
    app.post("/events", requiredScopes("event.create"), (_, response) => response.status(201).end());
    app.use((error, _request, response, _next) => response.status(error.status ?? 500).end());
    service = await new Promise((resolve) => {
        const listening = app.listen(0, "127.0.0.1", () => resolve(listening));
    });
});
after(async () => {
    service.closeAllConnections();
    service.close();
    await server.stop();
});

async function createEvent(token) {
    const response = await fetch(`http://127.0.0.1:${service.address().port}/events`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}` },
    });
    return response.status;
}

test("another audience, another scope and a changed token are refused", async () => {
    const { accessToken } = await documentedToken(server, client);
    const file = await documentedToken(server, client, ["file.view"], "file");
    const view = await documentedToken(server, client, ["event.view"]);
    const [header, payload, signature] = accessToken.split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url"));
    const changed = Buffer.from(JSON.stringify({ ...claims, sub: "another" })).toString("base64url");
    assert.equal(await createEvent(accessToken), 201);
    assert.equal(await createEvent(file.accessToken), 401);
    assert.equal(await createEvent(view.accessToken), 403);
    assert.equal(await createEvent(`${header}.${changed}.${signature}`), 401);
});

test("tokens from before and after a rotation pass", async () => {
    const active = async () => (await (await fetch(`${server.url}/auth/jwt/jwks.json`)).json()).keys[0].kid;
    const { accessToken: earlier } = await documentedToken(server, client);
    assert.equal(await createEvent(earlier), 201);
    const old = await active();
    server.signal("SIGUSR1");
    while ((await active()) === old) await sleep(20);
    const { accessToken: later } = await documentedToken(server, client);
    assert.equal(await createEvent(earlier), 201);
    assert.equal(await createEvent(later), 201);
});

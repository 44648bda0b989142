// An Express app with SuperTokens' own endpoints in front of m2mint.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import express from "express";
import * as jose from "jose";
import supertokens from "supertokens-node";
import { errorHandler, middleware } from "supertokens-node/framework/express/index.js";
import OAuth2Provider from "supertokens-node/recipe/oauth2provider/index.js";
import Session from "supertokens-node/recipe/session/index.js";

import { ADMIN_KEY, startServer, taskService } from "./server.mjs";

let server, app, url, client;

before(async () => {
    server = await startServer();
    client = await taskService(server);
    const handler = express();
    app = createServer(handler);
    await new Promise((resolve) => app.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${app.address().port}`;
    supertokens.init({
        framework: "express",
        supertokens: { connectionURI: server.url, apiKey: ADMIN_KEY },
        appInfo: { appName: "m2mint", apiDomain: url, websiteDomain: "http://127.0.0.1:3000" },
        recipeList: [OAuth2Provider.init(), Session.init()],
    });
    handler.use(middleware());
    handler.use(errorHandler());
});
after(async () => {
    app.closeAllConnections();
    await new Promise((resolve) => app.close(resolve));
    await server.stop();
});

async function post(path, body, headers = {}) {
    const response = await fetch(url + path, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(body),
    });
    return { status: response.status, body: await response.json() };
}

const ask = (more = {}) => ({
    client_id: client.clientId,
    client_secret: client.clientSecret,
    grant_type: "client_credentials",
    scope: "event.view event.create",
    audience: "event",
    ...more,
});

test("its token endpoint issues tokens that its own JWKS verifies", async () => {
    const { status, body } = await post("/auth/oauth/token", ask());
    assert.equal(status, 200, JSON.stringify(body));
    const keys = jose.createRemoteJWKSet(new URL(`${url}/auth/jwt/jwks.json`));
    const { payload } = await jose.jwtVerify(body.access_token, keys, { issuer: `${url}/auth`, audience: "event" });
    assert.deepEqual([payload.stt, payload.scp, payload.client_id], [1, ["event.view", "event.create"], client.clientId]);
});

test("its token endpoint takes HTTP Basic", async () => {
    const { client_id: id, client_secret: secret, ...rest } = ask();
    const authorization = `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}`;
    const { status, body } = await post("/auth/oauth/token", rest, { authorization });
    assert.equal(status, 200, JSON.stringify(body));
});

test("its token endpoint passes errors on", async () => {
    const wrong = await post("/auth/oauth/token", ask({ client_secret: "wrong" }));
    assert.deepEqual([wrong.status, wrong.body.error], [401, "invalid_client"]);
    const scope = await post("/auth/oauth/token", ask({ scope: "event.edit" }));
    assert.deepEqual([scope.status, scope.body.error], [400, "invalid_scope"]);
});

test("its introspection tells active from inactive", async () => {
    const { body } = await post("/auth/oauth/token", ask());
    const active = await post("/auth/oauth/introspect", { token: body.access_token });
    assert.equal(active.status, 200);
    assert.equal(active.body.active, true);
    const inactive = await post("/auth/oauth/introspect", { token: "nonsense" });
    assert.equal(inactive.body.active, false);
});

test("its revocation revokes", async () => {
    const { body } = await post("/auth/oauth/token", ask());
    const { status } = await post("/auth/oauth/revoke", {
        token: body.access_token,
        client_id: client.clientId,
        client_secret: client.clientSecret,
    });
    assert.equal(status, 200);
    const told = await post("/auth/oauth/introspect", { token: body.access_token });
    assert.equal(told.body.active, false);
});

// The unmodified supertokens-node, which takes m2mint for its core.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import supertokens from "supertokens-node";
import OAuth2Provider from "supertokens-node/recipe/oauth2provider/index.js";
import Session from "supertokens-node/recipe/session/index.js";

import { ADMIN_KEY, startServer } from "./server.mjs";

let server;

before(async () => {
    server = await startServer();
    supertokens.init({
        supertokens: { connectionURI: server.url, apiKey: ADMIN_KEY },
        appInfo: { appName: "m2mint", apiDomain: "http://127.0.0.1:3001", websiteDomain: "http://127.0.0.1:3000" },
        recipeList: [OAuth2Provider.init(), Session.init()],
    });
});
after(() => server.stop());

async function create(input = {}) {
    const made = await OAuth2Provider.createOAuth2Client(input);
    assert.equal(made.status, "OK", JSON.stringify(made));
    return made.client;
}

const TASK_SERVICE = {
    clientName: "Task Service",
    grantTypes: ["client_credentials"],
    scope: "event.view event.create file.view",
    audience: ["event", "file"],
};

async function token(client, scope = ["event.create"], audience = "event") {
    const answer = await OAuth2Provider.createTokenForClientCredentials(client.clientId, client.clientSecret, scope, audience);
    assert.equal(answer.status, "OK", JSON.stringify(answer));
    return answer.access_token;
}

test("a client made with empty input", async () => {
    const client = await create({});
    assert.match(client.clientId, /^stcl_/);
    assert.ok(client.clientSecret);
    assert.equal(client.scope, "offline_access offline openid");
    assert.deepEqual(client.metadata, {});
});

test("a client made with custom input", async () => {
    const client = await create({
        clientId: "chosen_client_id",
        clientSecret: "chosen_client_secret",
        ...TASK_SERVICE,
        redirectUris: ["http://localhost:3000"],
        clientCredentialsGrantAccessTokenLifespan: "15m",
        metadata: { team: "calendar" },
    });
    assert.equal(client.clientId, "chosen_client_id");
    assert.equal(client.clientSecret, "chosen_client_secret");
    assert.deepEqual(client.audience, ["event", "file"]);
    assert.deepEqual(client.redirectUris, ["http://localhost:3000"]);
    assert.equal(client.clientCredentialsGrantAccessTokenLifespan, "15m");
    assert.ok(!Number.isNaN(Date.parse(client.createdAt)));
    const again = await OAuth2Provider.createOAuth2Client({ clientId: "chosen_client_id" });
    assert.equal(again.status, "ERROR");
    assert.match(again.errorDescription, /exists already/);
});

test("get a client, without its secret", async () => {
    const { clientId } = await create(TASK_SERVICE);
    const got = await OAuth2Provider.getOAuth2Client(clientId);
    assert.equal(got.status, "OK");
    assert.equal(got.client.clientName, "Task Service");
    assert.equal(got.client.clientSecret, undefined);
    const unknown = await OAuth2Provider.getOAuth2Client("nobody");
    assert.deepEqual([unknown.status, unknown.error], ["ERROR", "invalid_request"]);
});

test("list clients in pages, and by name", async () => {
    const name = "in pages";
    const made = [];
    for (let count = 0; count < 10; count++) made.push((await create({ clientName: name })).clientId);
    const seen = [];
    let paginationToken;
    do {
        const page = await OAuth2Provider.getOAuth2Clients({ pageSize: 3, clientName: name, paginationToken });
        assert.equal(page.status, "OK");
        assert.equal(page.clients.length, Math.min(3, 10 - seen.length));
        seen.push(...page.clients.map((client) => client.clientId));
        paginationToken = page.nextPaginationToken;
    } while (paginationToken);
    assert.deepEqual(seen, made);
    const all = await OAuth2Provider.getOAuth2Clients({});
    assert.ok(all.clients.length >= 10);
});

test("update a client, nulls included", async () => {
    const client = await create({ scope: "offline_access offline", redirectUris: ["http://localhost:3000"] });
    const updated = await OAuth2Provider.updateOAuth2Client({
        clientId: client.clientId,
        clientSecret: "new_client_secret",
        scope: "offline_access",
        redirectUris: null,
        metadata: { a: 1, b: 2 },
    });
    assert.equal(updated.status, "OK");
    assert.equal(updated.client.clientSecret, "new_client_secret");
    assert.equal(updated.client.scope, "offline_access");
    assert.equal(updated.client.redirectUris, null);
    assert.deepEqual(updated.client.metadata, { a: 1, b: 2 });
});

test("delete a client", async () => {
    const { clientId } = await create(TASK_SERVICE);
    assert.deepEqual(await OAuth2Provider.deleteOAuth2Client({ clientId }), { status: "OK" });
    assert.equal((await OAuth2Provider.getOAuth2Client(clientId)).status, "ERROR");
});

test("createTokenForClientCredentials, and its errors", async () => {
    const client = await create(TASK_SERVICE);
    const answer = await OAuth2Provider.createTokenForClientCredentials(client.clientId, client.clientSecret, ["event.view", "event.create"], "event");
    assert.deepEqual(Object.keys(answer).sort(), ["access_token", "expires_in", "scope", "status", "token_type"]);
    assert.equal(answer.scope, "event.view event.create");
    const refuse = async (secret, scope, audience) => {
        const refused = await OAuth2Provider.createTokenForClientCredentials(client.clientId, secret, scope, audience);
        assert.equal(refused.status, "ERROR");
        assert.ok(refused.errorDescription);
        return [refused.statusCode, refused.error];
    };
    assert.deepEqual(await refuse("wrong", ["event.view"], "event"), [401, "invalid_client"]);
    assert.deepEqual(await refuse(client.clientSecret, ["event.edit"], "event"), [400, "invalid_scope"]);
    assert.deepEqual(await refuse(client.clientSecret, ["event.view"], "mail"), [400, "invalid_target"]);
});

test("validateOAuth2AccessToken, with and without the database", async () => {
    const client = await create(TASK_SERVICE);
    const jwt = await token(client);
    const { clientId } = client;
    for (const checkDatabase of [false, true]) {
        for (const requirements of [undefined, {}, { clientId }, { scopes: ["event.create"] }, { audience: "event" }, { clientId, scopes: ["event.create"], audience: "event" }]) {
            const { status, payload } = await OAuth2Provider.validateOAuth2AccessToken(jwt, requirements, checkDatabase);
            assert.equal(status, "OK");
            assert.equal(payload.client_id, clientId);
            assert.deepEqual(payload.scp, ["event.create"]);
        }
        for (const requirements of [{ clientId: "another" }, { scopes: ["event.view"] }, { audience: "file" }]) {
            await assert.rejects(OAuth2Provider.validateOAuth2AccessToken(jwt, requirements, checkDatabase));
        }
    }
    // The issuer is the caller's own: it holds the admin key.
    const { payload } = await OAuth2Provider.validateOAuth2AccessToken(jwt);
    assert.equal(payload.iss, "http://127.0.0.1:3001/auth");
});

test("revokeToken", async () => {
    for (const tokenEndpointAuthMethod of ["client_secret_post", "client_secret_basic"]) {
        const client = await create({ ...TASK_SERVICE, tokenEndpointAuthMethod });
        const [revoked, kept] = [await token(client), await token(client)];
        assert.deepEqual(await OAuth2Provider.revokeToken(revoked, client.clientId, client.clientSecret), { status: "OK" });
        await OAuth2Provider.validateOAuth2AccessToken(revoked, {}, false);
        await assert.rejects(OAuth2Provider.validateOAuth2AccessToken(revoked, {}, true), /revoked/);
        await OAuth2Provider.validateOAuth2AccessToken(kept, {}, true);
        const wrong = await OAuth2Provider.revokeToken(kept, client.clientId, "wrong");
        assert.deepEqual([wrong.status, wrong.error], ["ERROR", "invalid_client"]);
    }
});

test("revokeTokensByClientId", async () => {
    const [client, other] = [await create(TASK_SERVICE), await create(TASK_SERVICE)];
    const tokens = [await token(client), await token(client)];
    const ofOther = await token(other);
    assert.deepEqual(await OAuth2Provider.revokeTokensByClientId(client.clientId), { status: "OK" });
    for (const jwt of tokens) await assert.rejects(OAuth2Provider.validateOAuth2AccessToken(jwt, {}, true), /revoked/);
    await OAuth2Provider.validateOAuth2AccessToken(ofOther, {}, true);
    await OAuth2Provider.validateOAuth2AccessToken(await token(client), {}, true);
});

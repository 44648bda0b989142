// openid-client, which is told the issuer and nothing else.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import * as client from "openid-client";

import { startServer, taskService } from "./server.mjs";

let server, task;

before(async () => {
    server = await startServer();
    task = await taskService(server);
});
after(() => server.stop());

const METHODS = { client_secret_basic: client.ClientSecretBasic, client_secret_post: client.ClientSecretPost };

async function discover(method, secret = task.clientSecret, algorithm = "oidc") {
    return client.discovery(new URL(`${server.url}/auth`), task.clientId, undefined, METHODS[method](secret), {
        execute: [client.allowInsecureRequests],
        algorithm,
    });
}

for (const method of Object.keys(METHODS)) {
    test(`a token by discovery alone, with ${method}`, async () => {
        for (const algorithm of ["oidc", "oauth2"]) {
            const config = await discover(method, task.clientSecret, algorithm);
            const tokens = await client.clientCredentialsGrant(config, { scope: "event.view event.create", audience: "event" });
            assert.equal(tokens.token_type, "bearer");
            assert.equal(tokens.scope, "event.view event.create");
            assert.equal(tokens.expires_in, 3600);
        }
    });

    test(`introspection and revocation, with ${method}`, async () => {
        const config = await discover(method);
        const { access_token: token } = await client.clientCredentialsGrant(config, { resource: "event", scope: "event.view" });
        const told = await client.tokenIntrospection(config, token);
        assert.equal(told.active, true);
        assert.equal(told.client_id, task.clientId);
        await client.tokenRevocation(config, token);
        assert.deepEqual(await client.tokenIntrospection(config, token), { active: false });
    });

    test(`errors arrive as RFC 6749 says, with ${method}`, async () => {
        const wrong = await discover(method, "wrong");
        await assert.rejects(client.clientCredentialsGrant(wrong, { audience: "event" }), (error) => {
            // With HTTP Basic the challenge is what the library reports.
            return error.status === 401 && (error.error === "invalid_client" || error.cause?.[0]?.scheme === "basic");
        });
        const config = await discover(method);
        await assert.rejects(client.clientCredentialsGrant(config, { audience: "mail" }), { error: "invalid_target", status: 400 });
        await assert.rejects(client.clientCredentialsGrant(config, { audience: "event", scope: "event.edit" }), {
            error: "invalid_scope",
            status: 400,
        });
    });
}

// The documentation's curl calls, word for word but for the placeholders.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { ADMIN_KEY, startServer } from "./server.mjs";

const run = promisify(execFile);
let server;

before(async () => {
    server = await startServer();
});
after(() => server.stop());

async function shell(command) {
    const { stdout } = await run("sh", ["-c", command]);
    return JSON.parse(stdout);
}

test("create a client, trailing comma and all, and get a token for it", async () => {
    const client = await shell(`
curl --silent --location --request POST '${server.url}/recipe/oauth/clients' \\
--header 'api-key: ${ADMIN_KEY}' \\
--header 'Content-Type: application/json; charset=utf-8' \\
--data '
{
"clientName": "Task Service",
"grantTypes": ["client_credentials"],
"scope": "event.view event.create event.edit event.delete file.view file.create file.edit file.delete",
"audience": ["event", "file"],
}
'`);
    assert.equal(client.status, "OK");
    const token = await shell(`
curl --silent -X POST ${server.url}/auth/oauth/token \\
-H "Content-Type: application/json" \\
-d '{
"clientId": "${client.clientId}",
"clientSecret": "${client.clientSecret}",
"grantType": "client_credentials",
"scope": ["event.create"],
"audience": "event"
}'`);
    assert.deepEqual(Object.keys(token).sort(), ["accessToken", "expiresIn", "scope", "tokenType"]);
    assert.equal(token.expiresIn, 3600);
});

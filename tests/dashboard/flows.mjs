// What people do in the dashboard. Each flow is whole without a script, and so each is played twice.

import assert from "node:assert/strict";

import { ADMIN_KEY, admin, openWindow, signIn, test, token } from "./support.mjs";

const heading = (page, name) => page.getByRole("heading", { level: 1, name }).waitFor();
const secretOf = async (page) => (await page.locator("#new-secret").textContent()).trim();

export async function flows(browser, server, javaScriptEnabled) {
    const how = javaScriptEnabled ? "" : ", without a script";
    const id = javaScriptEnabled ? "task-service" : "file-service";
    const audience = javaScriptEnabled ? "printer" : "plotter";
    const open = (options) => openWindow(browser, server, { javaScriptEnabled, ...options });
    // Types something else first, which does not do.
    const confirm = async (page, button, label, right, refused) => {
        const sent = page.getByRole("button", { name: button });
        const typed = page.getByLabel(label);
        await typed.fill("something");
        if (javaScriptEnabled) {
            assert.ok(await sent.isDisabled());
        } else {
            await sent.click();
            await page.getByRole("alert").filter({ hasText: refused }).waitFor();
        }
        await typed.fill(right);
        await sent.click();
    };
    const flow = (name, body) => test(name + how, async () => {
        const { context, page, wrong } = await open();
        try {
            await signIn(page);
            await body(page, context);
            assert.deepEqual(wrong, [], "the console, or another host");
        } finally {
            await context.close();
        }
    });

    await test(`a wrong key is refused in words, a right one leads back to the page that was asked for${how}`, async () => {
        const { context, page, wrong } = await open();
        await page.goto("/admin/keys");
        await page.getByLabel("Admin key").fill("not-the-key");
        await page.getByRole("button", { name: "Sign in" }).click();
        await page.getByRole("alert").filter({ hasText: "not accepted" }).waitFor();
        assert.equal(new URL(page.url()).pathname, "/admin/sign-in");
        await page.getByLabel("Admin key").fill(ADMIN_KEY);
        await page.getByRole("button", { name: "Sign in" }).click();
        await heading(page, "Signing keys");
        assert.equal(new URL(page.url()).pathname, "/admin/keys");
        const [cookie] = (await context.cookies()).filter((one) => one.name === "m2mint_session");
        assert.ok(cookie.httpOnly && cookie.sameSite === "Strict", JSON.stringify(cookie));
        await page.getByRole("button", { name: "Sign out" }).click();
        await heading(page, "Sign in");
        await page.goto("/admin/clients");
        await heading(page, "Sign in");
        assert.deepEqual(wrong, []);
        await context.close();
    });

    await flow("a client is made, and its secret is shown once and buys a token", async (page) => {
        await page.getByRole("link", { name: "Clients", exact: true }).click();
        await page.getByRole("link", { name: "New client" }).click();
        await page.getByLabel("Name").fill(`The ${id}`);
        await page.getByLabel("Client id").fill(id);
        await page.getByLabel("Audiences").fill("event\nfile");
        await page.getByLabel("Scopes", { exact: true }).fill("event.view\nevent.create\nfile.*");
        await page.getByRole("button", { name: "Make the client" }).click();
        await heading(page, `The ${id}`);
        const secret = await secretOf(page);
        assert.match(secret, /^m2s_/);
        assert.ok(await token(server, id, secret, "event", "event.create"));
        await page.reload();
        assert.equal(await page.locator("#new-secret").count(), 0, "shown again");
        assert.ok(!(await page.content()).includes(secret));
    });

    await flow("what is filled in wrong is told, and nothing that was filled in is lost", async (page) => {
        await page.goto(`/admin/client/edit?id=${id}`);
        await page.getByLabel("Tokens live").fill("a while");
        await page.getByLabel("Name").fill("Another name");
        await page.getByRole("button", { name: "Save" }).click();
        await page.getByRole("alert").waitFor();
        assert.equal(await page.getByLabel("Name").inputValue(), "Another name");
        await page.getByLabel("Tokens live").fill("15m");
        await page.getByLabel("Tokens a minute").fill("600");
        await page.getByRole("button", { name: "Save" }).click();
        await page.getByRole("status").filter({ hasText: "Saved" }).waitFor();
        const client = await admin(server, "GET", `/recipe/oauth/clients?clientId=${id}`);
        assert.equal(client.clientName, "Another name");
        assert.equal(client.clientCredentialsGrantAccessTokenLifespan, "15m");
        assert.equal(client.tokensPerMinute, 600);
    });

    await flow("a client is found by what it may do, and not by what it may not", async (page) => {
        await page.goto("/admin/clients");
        const search = page.getByRole("searchbox");
        await search.fill("EVENT.CREATE");
        await page.getByRole("button", { name: "Search" }).click();
        await page.getByRole("link", { name: "Another name" }).first().waitFor();
        await search.fill("nothing of the kind");
        await page.getByRole("button", { name: "Search" }).click();
        await page.getByText("No client has").waitFor();
    });

    await flow("a secret is rotated with a time of grace, and an old one is removed", async (page) => {
        await page.goto(`/admin/client?id=${id}`);
        await page.getByLabel("Add a secret that expires in").fill("30d");
        await page.getByRole("button", { name: "Add", exact: true }).click();
        const added = await secretOf(page);
        await page.getByRole("link", { name: "Rotate" }).click();
        await page.getByText("Nothing stops meanwhile").waitFor();
        await page.getByLabel("Accept the others for").fill("never");
        await page.getByRole("button", { name: "Make the new secret" }).click();
        await page.getByRole("alert").waitFor();
        await page.getByLabel("Accept the others for").fill("2h");
        await page.getByRole("button", { name: "Make the new secret" }).click();
        const rotated = await secretOf(page);
        assert.notEqual(rotated, added);
        for (const secret of [added, rotated]) assert.ok(await token(server, id, secret, "event", "event.view"));
        await page.getByText("expiring").first().waitFor();
        await page.getByRole("link", { name: "Remove secret 2" }).click();
        await page.getByRole("button", { name: "Remove the secret" }).click();
        await page.getByRole("status").filter({ hasText: "removed" }).waitFor();
        assert.equal(await token(server, id, added, "event", "event.view"), null);
        assert.ok(await token(server, id, rotated, "event", "event.view"));
    });

    await flow("a token is inspected, and its client is disabled, enabled, and its tokens revoked", async (page) => {
        await page.goto(`/admin/client?id=${id}`);
        await page.getByRole("button", { name: "Add", exact: true }).click();
        const secret = await secretOf(page);
        const bought = await token(server, id, secret, "event", "event.create");
        const inspect = async (audience) => {
            await page.goto("/admin/inspect");
            await page.getByLabel("Access token").fill(bought);
            await page.getByLabel("Audience").fill(audience);
            await page.getByRole("button", { name: "Inspect" }).click();
            return page.getByRole("status").textContent();
        };
        assert.match(await inspect("event"), /Accepted at event/);
        assert.match(await inspect("file"), /Refused/);
        await page.getByRole("rowheader", { name: "client_id" }).waitFor();
        await page.goto(`/admin/client?id=${id}`);
        await page.getByRole("button", { name: "Disable" }).click();
        await page.getByText("Disabled: it gets no token").waitFor();
        assert.equal(await token(server, id, secret, "event", "event.create"), null);
        assert.match(await inspect("event"), /disabled/);
        await page.goto(`/admin/client?id=${id}`);
        await page.getByRole("button", { name: "Enable" }).click();
        await page.getByText("Enabled").first().waitFor();
        assert.match(await inspect("event"), /Accepted/);
        await page.goto(`/admin/client?id=${id}`);
        await page.getByRole("link", { name: "Revoke its tokens" }).click();
        await page.getByRole("button", { name: "Revoke its tokens" }).click();
        await page.getByText("is revoked").waitFor();
        assert.match(await inspect("event"), /revoked/);
    });

    await flow("a rotation is told beforehand, done, and then queued", async (page) => {
        await page.goto("/admin/keys/rotate");
        await page.getByRole("heading", { name: "What will happen" }).waitFor();
        const signs = (await page.locator(".preview ol li").first().textContent()).includes("at once");
        await page.getByRole("button", { name: "Rotate" }).click();
        const told = await page.getByRole("status").first().textContent();
        assert.match(told, signs ? /^Rotated/ : /^Queued/);
        await page.getByRole("link", { name: "Rotate" }).click();
        await page.getByText("The rotation is queued").first().waitFor();
        await page.getByRole("button", { name: "Rotate" }).click();
        await page.getByRole("status").filter({ hasText: "Queued" }).waitFor();
        const picture = page.getByRole("img", { name: /Timeline of the EdDSA keys/ });
        await picture.waitFor();
        assert.equal(await picture.locator(".queued-name").count(), 1);
        await page.getByText("The timeline as a table").click();
        await page.getByRole("cell", { name: "signs", exact: true }).first().waitFor();
    });

    await flow("a key is revoked only when its name is typed", async (page) => {
        await page.goto("/admin/keys");
        const row = page.getByRole("row").filter({ has: page.locator(".tag.standby") });
        const kid = (await row.locator(".kid").textContent()).trim();
        await row.getByRole("link", { name: "Revoke" }).click();
        await page.getByText("It has signed nothing").waitFor();
        const button = page.getByRole("button", { name: "Revoke the key now" });
        const typed = page.getByLabel(/Type the first/);
        await typed.fill("zzzzzz");
        if (javaScriptEnabled) {
            assert.ok(await button.isDisabled());
        } else {
            await button.click();
            await page.getByRole("alert").filter({ hasText: "Nothing was changed" }).waitFor();
        }
        await typed.fill(kid.slice(0, 6));
        await button.click();
        await page.getByRole("status").filter({ hasText: "Revoked" }).waitFor();
        const { keys } = await (await fetch(`${server.url}/auth/jwt/jwks.json`)).json();
        assert.ok(keys.length > 0 && keys.every((key) => key.kid !== kid));
    });

    await flow("the audit log is filtered and verified", async (page) => {
        await page.getByRole("link", { name: "Audit log", exact: true }).click();
        await page.getByLabel("What", { exact: true }).selectOption({ label: "Dashboard sessions" });
        await page.getByRole("button", { name: "Filter" }).click();
        const actions = await page.locator("table.audit .tag").allTextContents();
        assert.ok(actions.length > 0 && actions.every((action) => action.startsWith("session.")), actions.join());
        await page.getByRole("button", { name: "Verify the log" }).click();
        await page.getByText("The log is whole").waitFor();
    });

    await flow("settings say where each value came from, and hide secrets", async (page) => {
        await page.getByRole("link", { name: "Settings" }).click();
        const row = page.getByRole("row").filter({ hasText: /^\s*listen/ }).first();
        await row.getByText("M2MINT_LISTEN").waitFor();
        assert.ok(!(await page.content()).includes(ADMIN_KEY));
    });

    await flow("light and dark are chosen, and kept, and the page stays", async (page) => {
        const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        for (const theme of ["dark", "light"]) {
            await page.goto(`/admin/client?id=${id}`);
            await page.getByRole("button", { name: theme }).click();
            await heading(page, "Another name");
            await page.goto("/admin/keys");
            assert.equal(await page.locator("html").getAttribute("data-theme"), theme);
            if (javaScriptEnabled) assert.equal(await ground(), theme === "dark" ? "rgb(14, 21, 18)" : "rgb(244, 246, 242)");
        }
    });

    await flow("a service is registered, and what was filled in wrong is told and kept", async (page) => {
        await page.getByRole("link", { name: "Services", exact: true }).click();
        await page.getByRole("link", { name: "New service" }).click();
        await page.getByLabel("Audience").fill(audience);
        await page.getByLabel("Description").fill("What prints");
        await page.getByLabel("Actions").fill(`${audience}.run = Prints a page\n${audience}.*`);
        await page.getByRole("button", { name: "Register the service" }).click();
        await page.getByRole("alert").filter({ hasText: "is a wildcard" }).waitFor();
        assert.equal(await page.getByLabel("Description").inputValue(), "What prints");
        await page.getByLabel("Actions").fill(`${audience}.run = Prints a page\n${audience}.stop`);
        await page.getByRole("button", { name: "Register the service" }).click();
        await heading(page, audience);
        await page.getByRole("status").filter({ hasText: "Registered" }).waitFor();
        await page.getByText("No client names it").waitFor();
        const made = await admin(server, "GET", `/admin/v1/services/${audience}`);
        assert.equal(made.description, "What prints");
        assert.deepEqual(made.actions, [{ name: `${audience}.run`, description: "Prints a page" }, { name: `${audience}.stop`, description: "" }]);
    });

    await flow("a service is described, and gets and loses an action", async (page) => {
        await page.goto(`/admin/service?audience=${audience}`);
        await page.getByRole("link", { name: "Edit the description" }).click();
        await page.getByLabel("Description").fill("x".repeat(501));
        await page.getByRole("button", { name: "Save" }).click();
        await page.getByRole("alert").filter({ hasText: "at most 500 characters" }).waitFor();
        await page.getByLabel("Description").fill("What prints, and stops");
        await page.getByRole("button", { name: "Save" }).click();
        await page.getByText("What prints, and stops").waitFor();
        await page.getByLabel("New action").fill(`${audience}.stop`);
        await page.getByLabel("What it does").fill("Counts the pages");
        await page.getByRole("button", { name: "Add", exact: true }).click();
        await page.getByRole("alert").filter({ hasText: `${audience}.stop is an action` }).waitFor();
        if (javaScriptEnabled) assert.equal(await page.evaluate(() => document.activeElement.id), "name", "far below, and not shown");
        assert.equal(await page.getByLabel("What it does").inputValue(), "Counts the pages");
        await page.getByLabel("New action").fill(`${audience}.count`);
        await page.getByRole("button", { name: "Add", exact: true }).click();
        await page.getByRole("listitem").filter({ hasText: `${audience}.count` }).getByText("Counts the pages").waitFor();
        await page.getByRole("link", { name: `Remove ${audience}.stop` }).click();
        await page.getByText("No client may ask for it").waitFor();
        await page.getByRole("button", { name: "Remove the action" }).click();
        await page.getByRole("status").filter({ hasText: "Removed" }).waitFor();
        const now = await admin(server, "GET", `/admin/v1/services/${audience}`);
        assert.equal(now.description, "What prints, and stops");
        assert.deepEqual(now.actions.map((action) => action.name), [`${audience}.count`, `${audience}.run`]);
    });

    await flow("an action gets another name, and the former one works for a while", async (page) => {
        const asks = { clientId: `runs-${audience}`, clientName: `Runs ${audience}`, audience: [audience], scope: `${audience}.run` };
        const { clientSecret } = await admin(server, "POST", "/recipe/oauth/clients", asks);
        await page.goto(`/admin/service?audience=${audience}`);
        await page.getByRole("link", { name: `Rename ${audience}.run` }).click();
        await page.locator(".preview").getByRole("link", { name: `Runs ${audience}` }).waitFor();
        await page.getByLabel("New name").fill(`${audience}.print`);
        await page.getByLabel("Understand the former name for").fill("a while");
        await page.getByRole("button", { name: "Rename the action" }).click();
        await page.getByRole("alert").waitFor();
        assert.equal(await page.getByLabel("New name").inputValue(), `${audience}.print`);
        await page.getByLabel("Understand the former name for").fill("30d");
        await page.getByRole("button", { name: "Rename the action" }).click();
        await page.getByRole("status").filter({ hasText: "Renamed" }).waitFor();
        for (const name of ["run", "print"]) assert.ok(await token(server, asks.clientId, clientSecret, audience, `${audience}.${name}`), name);
        await page.getByRole("link", { name: `Take the former name ${audience}.run away` }).click();
        await page.getByText("1 client has the action by this name alone").waitFor();
        await page.getByRole("button", { name: "Take the name away" }).click();
        await page.getByRole("status").filter({ hasText: "Removed" }).waitFor();
        assert.equal(await token(server, asks.clientId, clientSecret, audience, `${audience}.print`), null);
    });

    await flow("what somebody else changed meanwhile is not overwritten", async (page) => {
        await page.goto(`/admin/service/edit?audience=${audience}`);
        await server.verb("services", "update", audience, "--description", "From elsewhere");
        await page.getByLabel("Description").fill("From here");
        await page.getByRole("button", { name: "Save" }).click();
        await page.getByRole("alert").filter({ hasText: "Somebody else" }).waitFor();
        await page.getByText("From elsewhere").waitFor();
        assert.equal(await page.getByLabel("Description").inputValue(), "From here");
        assert.equal((await admin(server, "GET", `/admin/v1/services/${audience}`)).description, "From elsewhere");
    });

    await flow("a service is removed only when its audience is typed", async (page) => {
        await admin(server, "POST", "/recipe/oauth/clients", { clientId: `asks-${audience}`, clientName: `Asks ${audience}`, audience: [audience], scope: `${audience}.print` });
        await page.goto("/admin/services");
        await page.getByRole("link", { name: audience, exact: true }).click();
        await page.getByRole("link", { name: "Remove the service" }).click();
        await page.locator(".preview").getByRole("link", { name: `Asks ${audience}` }).waitFor();
        await confirm(page, "Remove the service", /Type the audience/, audience, "Nothing was removed");
        await page.getByRole("status").filter({ hasText: "Removed" }).waitFor();
        const { services } = await admin(server, "GET", "/admin/v1/services");
        assert.ok(services.every((one) => one.audience !== audience), JSON.stringify(services));
    });

    await flow("a client is deleted only when its id is typed", async (page) => {
        await page.goto(`/admin/client?id=${id}`);
        await page.getByRole("link", { name: "Delete the client" }).click();
        await confirm(page, "Delete the client", /Type the id/, id, "Nothing was deleted");
        await page.getByRole("status").filter({ hasText: "Deleted" }).waitFor();
        assert.equal((await admin(server, "GET", `/recipe/oauth/clients?clientId=${id}`)).status, "CLIENT_NOT_FOUND_ERROR");
    });

    await test(`a key that may only read sees no button that changes anything${how}`, async () => {
        const name = javaScriptEnabled ? "watcher" : "watcher-2";
        const made = JSON.parse(await server.verb("admin-keys", "add", name, "--role", "read", "--json"));
        const { context, page, wrong } = await open();
        const accepted = async () => {
            await page.goto("/admin/sign-in");
            await page.getByLabel("Admin key").fill(made.key);
            await page.getByRole("button", { name: "Sign in" }).click();
            await page.waitForLoadState();
            return new URL(page.url()).pathname === "/admin/";
        };
        // The server notices a new key within a second.
        for (let tries = 0; !(await accepted()); tries += 1) assert.ok(tries < 20, "the key is not accepted");
        for (const path of ["/admin/clients", "/admin/keys", "/admin/services", "/admin/services/new", "/admin/service?audience=mail", "/admin/service/edit?audience=mail",
            "/admin/service/actions/rename?audience=mail&action=mail.read", "/admin/service/actions/remove?audience=mail&action=mail.read", "/admin/service/remove?audience=mail", "/admin/settings"]) {
            await page.goto(path);
            const buttons = await page.locator("main button, main a.button").allTextContents();
            assert.ok(buttons.every((text) => ["Search", "Next page", "Copy"].includes(text.trim())), buttons.join());
        }
        assert.equal(await page.getByRole("link", { name: "Admin keys" }).count(), 0);
        assert.deepEqual(wrong, []);
        await context.close();
    });
}

// The dashboard, as people use it.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { AxeBuilder } from "@axe-core/playwright";

import { flows } from "./flows.mjs";
import { admin, openWindow, signIn, startBrowser, startServer, summary, test, token } from "./support.mjs";

const PAGES = {
    "overview": "/admin/",
    "clients": "/admin/clients",
    "clients-none": "/admin/clients?q=nothing",
    "client": "/admin/client?id=calendar",
    "client-new": "/admin/clients/new",
    "client-edit": "/admin/client/edit?id=calendar",
    "secret-rotate": "/admin/client/secrets/rotate?id=calendar",
    "secret-remove": "/admin/client/secrets/remove?id=calendar&secret=1",
    "tokens-revoke": "/admin/client/revoke-tokens?id=calendar",
    "client-remove": "/admin/client/remove?id=calendar",
    "services": "/admin/services",
    "service": "/admin/service?audience=mail",
    "service-new": "/admin/services/new",
    "service-edit": "/admin/service/edit?audience=mail",
    "action-rename": "/admin/service/actions/rename?audience=mail&action=mail.write",
    "action-remove": "/admin/service/actions/remove?audience=mail&action=mail.write",
    "former-name-remove": "/admin/service/actions/remove?audience=mail&action=mail.send",
    "service-remove": "/admin/service/remove?audience=mail",
    "keys": "/admin/keys",
    "keys-rotate": "/admin/keys/rotate",
    "inspector": "/admin/inspect",
    "audit": "/admin/audit",
    "admin-keys": "/admin/admin-keys",
    "settings": "/admin/settings",
};
const WIDTHS = [390, 1024, 1920];
const MOST_BYTES = 150 * 1024;

async function fill(server) {
    const calendar = { clientId: "calendar", clientName: "Calendar", scope: "event.view event.create mail.send", audience: ["event", "mail"] };
    const { clientSecret } = await admin(server, "POST", "/recipe/oauth/clients", calendar);
    for (let n = 0; n < 30; n += 1) await token(server, "calendar", clientSecret, "event", "event.view");
    await token(server, "calendar", "wrong", "event", "event.view");
    for (let n = 1; n <= 55; n += 1) {
        await admin(server, "POST", "/recipe/oauth/clients", { clientName: `Worker ${n}`, scope: "queue.take", audience: ["queue"] });
    }
    await server.verb("services", "add", "mail", "--action", "mail.send=Send a message", "--action", "mail.read=Read messages", "--description", "Mail Service");
    await server.verb("services", "rename", "mail", "mail.send", "mail.write", "--alias-for", "30d");
    return clientSecret;
}

async function violations(page) {
    const found = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]).analyze();
    return found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" ")}`);
}

async function everyPage(browser, server, secret) {
    const shots = process.env.SHOTS;
    if (shots) await mkdir(shots, { recursive: true });
    for (const colorScheme of ["light", "dark"]) {
        const { context, page, wrong } = await openWindow(browser, server, { colorScheme, reducedMotion: "reduce" });
        await test(`axe finds nothing on the sign-in page, ${colorScheme}`, async () => {
            await page.goto("/admin/sign-in");
            assert.deepEqual(await violations(page), []);
            if (shots) await page.screenshot({ path: join(shots, `sign-in-${colorScheme}.png`) });
        });
        await signIn(page);
        for (const [name, path] of Object.entries(PAGES)) {
            await test(`axe finds nothing on ${name}, ${colorScheme}; it fits every width`, async () => {
                for (const width of WIDTHS) {
                    await page.setViewportSize({ width, height: 900 });
                    await page.goto(path);
                    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
                    assert.ok(sideways <= 0, `${width} wide, the page scrolls sideways by ${sideways}`);
                    if (shots) await page.screenshot({ path: join(shots, `${name}-${width}-${colorScheme}.png`), fullPage: true });
                    // The widest differs from the one before by nothing but room.
                    if (width < 1920) assert.deepEqual(await violations(page), [], `${width} wide`);
                }
                assert.deepEqual(wrong, []);
            });
        }
        await test(`axe finds nothing on an explained token and on a new secret, ${colorScheme}`, async () => {
            await page.goto("/admin/inspect");
            await page.getByLabel("Access token").fill(await token(server, "calendar", secret, "event", "event.view"));
            await page.getByRole("button", { name: "Inspect" }).click();
            await page.getByText("Accepted").waitFor();
            assert.deepEqual(await violations(page), []);
            await page.goto("/admin/client?id=calendar");
            await page.getByRole("button", { name: "Add", exact: true }).click();
            await page.locator("#new-secret").waitFor();
            assert.deepEqual(await violations(page), []);
            if (shots) await page.screenshot({ path: join(shots, `secret-${colorScheme}.png`), fullPage: true });
        });
        await context.close();
    }
}

async function keyboardAndScript(browser, server) {
    const { context, page, wrong } = await openWindow(browser, server);
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    await signIn(page);
    await test("the first step of the keyboard skips to the content", async () => {
        await page.goto("/admin/clients");
        await page.keyboard.press("Tab");
        assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
        await page.keyboard.press("Enter");
        assert.equal(await page.evaluate(() => document.activeElement.id), "main");
    });
    await test("every place that the keyboard reaches shows that it is there", async () => {
        await page.goto("/admin/client?id=calendar");
        const seen = new Set();
        for (let step = 0; step < 60; step += 1) {
            await page.keyboard.press("Tab");
            const told = await page.evaluate(() => {
                const it = document.activeElement;
                const style = getComputedStyle(it);
                return { name: it.outerHTML.slice(0, 80), shown: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2, out: it === document.body };
            });
            if (told.out) break;
            assert.ok(told.shown, told.name);
            seen.add(told.name);
        }
        assert.ok(seen.size > 12, `${seen.size}`);
    });
    await test("a secret is copied", async () => {
        await page.goto("/admin/client?id=calendar");
        await page.getByRole("button", { name: "Copy the client id" }).click();
        await page.getByText("Copied").waitFor();
        assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "calendar");
    });
    await test("the overview keeps itself fresh", async () => {
        await page.clock.install();
        await page.goto("/admin/");
        const clients = page.locator(".figure-value").nth(3);
        const before = await clients.textContent();
        await admin(server, "POST", "/recipe/oauth/clients", { clientName: "One more" });
        await page.clock.runFor(6000);
        await page.waitForFunction((text) => document.querySelectorAll(".figure-value")[3].textContent !== text, before);
    });
    await test("neither the console nor another host was needed", () => assert.deepEqual(wrong, []));
    await context.close();
}

async function weight(browser, server) {
    const { context, page } = await openWindow(browser, server);
    await signIn(page);
    await test(`no page weighs more than ${MOST_BYTES / 1024} KiB, all told`, async () => {
        for (const path of Object.values(PAGES)) {
            await page.goto(path, { waitUntil: "networkidle" });
            // What was in the browser's cache counts all the same.
            const sizes = await page.evaluate(() =>
                [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].map((one) => one.encodedBodySize));
            const bytes = sizes.reduce((sum, size) => sum + size, 0);
            assert.ok(sizes.length >= 3 && sizes.every((size) => size > 0) && bytes <= MOST_BYTES, `${path}: ${sizes}`);
            console.log(`         ${path}: ${(bytes / 1024).toFixed(0)} KiB`);
        }
    });
    const paints = [];
    for (let n = 0; n < 5; n += 1) {
        await page.goto("/admin/");
        const paint = await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
        paints.push(await paint.jsonValue());
    }
    console.log(`         first paint of the overview, in ms: ${paints.map((paint) => paint.toFixed(0)).join(", ")}`);
    await context.close();
}

const server = await startServer();
const browser = await startBrowser();
try {
    const secret = await fill(server);
    await flows(browser, server, true);
    await flows(browser, server, false);
    await everyPage(browser, server, secret);
    await keyboardAndScript(browser, server);
    await weight(browser, server);
} finally {
    await browser.close();
    await server.stop();
}
process.exitCode = summary() ? 0 : 1;

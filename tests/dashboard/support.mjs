// The real binary and a real browser, and how their tests are counted.

import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

import { chromium } from "playwright-core";

export const ADMIN_KEY = "admin-key-of-the-tests-0123456789";

let passed = 0;
let failed = 0;

/** One test: whatever it throws is its failure. */
export async function test(name, body) {
    try {
        await body();
        passed += 1;
        console.log(`ok       ${name}`);
    } catch (error) {
        failed += 1;
        console.log(`FAILED   ${name}\n${error.stack ?? error}`);
    }
}

/** Prints how many there were, and answers whether all passed. */
export function summary() {
    console.log(`${passed} passed, ${failed} failed`);
    return failed === 0 && passed > 0;
}

/** The server, on a port of its own, in a folder of its own. */
export async function startServer() {
    const directory = await mkdtemp(join(tmpdir(), "m2mint-dashboard-"));
    const environment = { PATH: process.env.PATH, M2MINT_LISTEN: "127.0.0.1:0", M2MINT_API_KEY: ADMIN_KEY, M2MINT_LOG: "warn" };
    const child = spawn(process.env.M2MINT_BIN, ["serve"], { cwd: directory, env: environment, stdio: ["ignore", "pipe", "inherit"] });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const first = await new Promise((resolve, reject) => {
        createInterface(child.stdout).once("line", resolve);
        child.once("error", reject);
        child.once("exit", (code) => reject(new Error(`m2mint ended with ${code}`)));
    });
    const run = promisify(execFile);
    return {
        url: first.trim().split(" ").at(-1),
        /** A verb on the same file. */
        verb: async (...words) => (await run(process.env.M2MINT_BIN, words, { cwd: directory, env: { PATH: process.env.PATH } })).stdout,
        stop: async () => {
            child.kill("SIGTERM");
            await ended;
            await rm(directory, { recursive: true });
        },
    };
}

/** A call of the admin API. */
export async function admin(server, method, path, body) {
    const headers = { "api-key": ADMIN_KEY, "content-type": "application/json" };
    const answer = await fetch(server.url + path, { method, headers, body: body && JSON.stringify(body) });
    return answer.json();
}

/** A token, or null. */
export async function token(server, id, secret, audience, scope) {
    const body = new URLSearchParams({ grant_type: "client_credentials", client_id: id, client_secret: secret, audience, scope });
    const answer = await fetch(`${server.url}/auth/oauth/token`, { method: "POST", body });
    return answer.ok ? (await answer.json()).access_token : null;
}

export function startBrowser() {
    const flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"];
    return chromium.launch({ executablePath: process.env.CHROMIUM, args: flags });
}

/** A window that notes what should never happen: errors in the console, and requests to another host. */
export async function openWindow(browser, server, options = {}) {
    const context = await browser.newContext({ baseURL: server.url, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(15_000);
    const wrong = [];
    // Chromium says of each page with such a status that it failed: a form that is shown once more, with what is wrong.
    const isRefusal = (text) => /status of (401|422) /.test(text);
    page.on("console", (message) => message.type() === "error" && !isRefusal(message.text()) && wrong.push(message.text()));
    page.on("pageerror", (error) => wrong.push(error.message));
    context.on("request", (request) => {
        const url = new URL(request.url());
        if (url.protocol !== "data:" && url.origin !== server.url) wrong.push(`a request to ${url.origin}`);
    });
    return { context, page, wrong };
}

export async function signIn(page, key = ADMIN_KEY, path = "/admin/") {
    await page.goto(path);
    await page.getByLabel("Admin key").fill(key);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("button", { name: "Sign out" }).waitFor();
}

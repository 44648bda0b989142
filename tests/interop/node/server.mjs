// The real binary on a port of its own, in a directory of its own.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const ADMIN_KEY = "admin-key-of-the-tests-0123456789";

export async function startServer(environment = {}) {
    const directory = await mkdtemp(join(tmpdir(), "m2mint-"));
    const child = spawn(process.env.M2MINT_BIN, {
        cwd: directory,
        env: {
            PATH: process.env.PATH,
            M2MINT_LISTEN: "127.0.0.1:0",
            M2MINT_API_KEY: ADMIN_KEY,
            M2MINT_LOG: "warn",
            ...environment,
        },
        stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const first = await new Promise((resolve, reject) => {
        createInterface(child.stdout).once("line", resolve);
        child.once("error", reject);
        child.once("exit", (code) => reject(new Error(`m2mint ended with ${code}`)));
    });
    return {
        url: first.split(" ").at(-1),
        signal: (name) => child.kill(name),
        stop: async () => {
            child.kill("SIGTERM");
            await ended;
            await rm(directory, { recursive: true });
        },
    };
}

/** A call of the admin API. */
export async function admin(server, method, path, body) {
    const response = await fetch(server.url + path, {
        method,
        headers: { "api-key": ADMIN_KEY, "content-type": "application/json" },
        body: body && JSON.stringify(body),
    });
    return response.json();
}

/** The Task Service of the documented story. */
export async function taskService(server) {
    return admin(server, "POST", "/recipe/oauth/clients", {
        clientName: "Task Service",
        grantTypes: ["client_credentials"],
        scope: "event.view event.create event.update event.delete file.*",
        audience: ["event", "file"],
    });
}

/** A token as the documentation asks for it. */
export async function documentedToken(server, client, scope = ["event.create"], audience = "event") {
    const response = await fetch(`${server.url}/auth/oauth/token`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({
            clientId: client.clientId,
            clientSecret: client.clientSecret,
            grantType: "client_credentials",
            scope,
            audience,
        }),
    });
    return { status: response.status, ...(await response.json()) };
}

// Reads tokens, a line each, and says of each whether the recipe lets it in.

import { createInterface } from "node:readline";

const recipe = await import("./recipe.mjs");

/** What a service behind a middleware says of a request. */
async function served(middleware) {
    const { default: express } = await import("express");
    const app = express();
    app.post("/events", ...middleware, (request, response) => response.json((request.auth?.payload ?? request.user).client_id));
    app.use((error, _request, response, _next) => response.status(error.status ?? 500).json(String(error)));
    const listening = await new Promise((resolve) => {
        const server = app.listen(0, "127.0.0.1", () => resolve(server));
    });
    const url = `http://127.0.0.1:${listening.address().port}/events`;
    return async (token) => {
        const response = await fetch(url, { method: "POST", headers: { authorization: `Bearer ${token}` } });
        const text = await response.text();
        if (response.status !== 200) throw new Error(`${response.status} ${text}`);
        return { client_id: JSON.parse(text) };
    };
}

async function checker() {
    if (recipe.verify) return recipe.verify;
    if (recipe.guard) return served(recipe.guard);
    const { default: passport } = await import("passport");
    passport.use(recipe.strategy);
    return served([passport.authenticate("jwt", { session: false })]);
}

const verify = await checker();
for await (const token of createInterface({ input: process.stdin })) {
    try {
        console.log(`ok ${(await verify(token)).client_id}`);
    } catch (error) {
        console.log(`no ${String(error).replaceAll("\n", " ")}`);
    }
}
process.exit(0);

// Comfort only: every page works without this file.
"use strict";

// Buttons that copy.
for (const button of document.querySelectorAll("[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    if (!source) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
        const selection = getSelection();
        selection.selectAllChildren(source);
        let done = false;
        try {
            await navigator.clipboard.writeText(source.textContent);
            done = true;
        } catch {
            // Without TLS, browsers keep the clipboard to themselves; the selection stays, to be copied by hand.
            done = document.execCommand("copy");
        }
        if (done) selection.removeAllRanges();
        button.textContent = done ? "Copied" : "Press Ctrl+C";
        setTimeout(() => { button.textContent = "Copy"; }, 2500);
    });
}

// Buttons of what cannot be taken back wait until what has to be typed is typed. The server looks too.
for (const input of document.querySelectorAll("[data-confirms]")) {
    const button = input.form.querySelector("button[type=submit]");
    const look = () => { button.disabled = input.value.trim() !== input.dataset.confirms; };
    input.addEventListener("input", look);
    look();
}

// A form is sent once.
for (const form of document.querySelectorAll("form[method=post]")) {
    let sent = false;
    form.addEventListener("submit", (event) => {
        if (sent) event.preventDefault();
        sent = true;
    });
    addEventListener("pageshow", () => { sent = false; });
}

// The local time, beside what is told in UTC.
for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.valueOf())) time.title = at.toLocaleString();
}

// Figures that keep themselves fresh. That is no use of the session: it ends all the same.
const live = document.querySelector("[data-live]");
if (live) {
    const refresh = async () => {
        const busy = document.hidden || live.contains(document.activeElement) || !getSelection().isCollapsed;
        if (!busy) {
            try {
                const answer = await fetch(location.href, { headers: { "x-live": "1" }, redirect: "manual" });
                if (answer.type === "opaqueredirect") { location.reload(); return; }
                if (answer.ok) {
                    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
                    live.replaceChildren(...page.querySelector("[data-live]").childNodes);
                }
            } catch {
                // The server is away; the next look will tell.
            }
        }
        setTimeout(refresh, 5000);
    };
    setTimeout(refresh, 5000);
}

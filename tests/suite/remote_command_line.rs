//! The command line on a server elsewhere, beside the same on the file.

use std::process::Output;

use serde_json::Value;

use crate::support::process::command;
use crate::support::tls::TlsServer;
use crate::support::{ADMIN_KEY, Process};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a verb on the server, from a folder in which there is no file of it.
fn there(server: &Process, arguments: &[&str]) -> Output {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = command(elsewhere.path());
    command.env("M2MINT_ADMIN_KEY", ADMIN_KEY).args(arguments).args(["--url", &server.url]);
    command.output().unwrap()
}

/// What a verb prints there.
#[track_caller]
fn shown(server: &Process, arguments: &[&str]) -> String {
    let output = there(server, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn json(server: &Process, arguments: &[&str]) -> Value {
    let all: Vec<_> = arguments.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&shown(server, &all)).unwrap()
}

/// That both say the same, in words and in JSON.
#[track_caller]
fn assert_same(server: &Process, verb: &[&str]) {
    let as_json: Vec<_> = verb.iter().copied().chain(["--json"]).collect();
    for arguments in [verb, &as_json] {
        let (mut here, mut elsewhere) = (String::new(), String::new());
        // Waiting times are told to the second, and one may pass between the two.
        let same = (0..5).any(|_| {
            here = server.verb(arguments);
            elsewhere = shown(server, arguments);
            is_same(&here, &elsewhere)
        });
        assert!(same, "{arguments:?}\n{here}\n{elsewhere}");
    }
}

/// Whether both are the same. When something will happen is reckoned by either's own clock, and may be told as the one or
/// the other of two seconds.
fn is_same(here: &str, elsewhere: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| c.is_whitespace() || "\",()".contains(c)).map(str::to_owned).collect()
    };
    let seconds = |word: &str| -> Option<i64> {
        if let Ok(number) = word.parse() {
            return Some(number).filter(|number| *number > 1000);
        }
        let (date, time) = word.split_once('T').unwrap_or(("1970-01-01", word));
        let moment = humantime::parse_rfc3339(&format!("{date}T{}Z", time.trim_end_matches('Z'))).ok()?;
        i64::try_from(moment.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()).ok()
    };
    let is_near = |here: &str, elsewhere: &str| {
        let both = seconds(here).zip(seconds(elsewhere));
        here == elsewhere || both.is_some_and(|(here, elsewhere)| here.abs_diff(elsewhere) <= 1)
    };
    let (here, elsewhere) = (words(here), words(elsewhere));
    here.len() == elsewhere.len() && here.iter().zip(&elsewhere).all(|(here, there)| is_near(here, there))
}

#[test]
fn a_second_more_or_less_is_the_same_and_a_minute_is_not() {
    let shown = |time: &str| format!("gKQ3  active  {time} (in 1d 1h)");
    assert!(is_same(&shown("2026-11-27 20:31:06"), &shown("2026-11-27 20:31:07")));
    assert!(is_same(&shown("2026-11-27T20:31:59Z"), &shown("2026-11-27T20:32:00Z")));
    assert!(!is_same(&shown("2026-11-27 20:31:06"), &shown("2026-11-27 20:32:06")));
    assert!(!is_same(&shown("2026-11-27T20:31:06Z"), &shown("2026-11-28T20:31:06Z")));
    assert!(is_same("in 90000", "in 89999") && !is_same("count 3", "count 4"));
    assert!(!is_same("active", "standby"));
}

#[test]
fn what_is_there_is_shown_as_on_the_file() {
    let server = Process::start();
    for client in [
        &[
            "--id",
            "a/b c%".split(' ').next().unwrap(),
            "--name",
            "A",
            "--audience",
            "event",
            "--scope",
            "event.view",
        ][..],
        &[
            "--id",
            "limited",
            "--network",
            "192.0.2.0/24",
            "--not-after",
            "2099-01-01T00:00:00Z",
            "--tokens-a-minute",
            "60",
        ],
        &["--id", "off", "--enabled", "false", "--lifetime", "15m"],
        &["--id", "on", "--enabled", "true"],
    ] {
        let all: Vec<_> = ["clients", "create"].iter().chain(client).copied().collect();
        server.verb(&all);
    }
    let core = serde_json::json!({"clientId": "core", "metadata": {"a": [1]}, "logoUri": "x", "redirectUris": null,
                                  "clientCredentialsGrantAccessTokenLifespan": "0h15m0s"});
    assert_eq!(server.admin("POST", "/recipe/oauth/clients", &core).json()["status"], "OK");
    server.verb(&["secrets", "add", "on", "--expires-in", "90d"]);
    server.verb(&["admin-keys", "add", "reader", "--role", "read,keys", "--expires", "90d"]);
    server.verb(&["audiences", "set", "billing", "--alg", "ES256"]);
    server.verb(&["services", "add", "mail", "--description", "Mail", "--action", "mail.send=Sends a mail"]);
    server.verb(&["services", "add", "a/b", "--action", "x.edit", "--action", "x.view"]);
    server.verb(&["services", "rename", "a/b", "x.edit", "x.update", "--alias-for", "1h"]);
    for verb in [
        &["clients", "list"][..],
        &["clients", "show", "a/b"],
        &["clients", "show", "limited"],
        &["clients", "show", "core"],
        &["clients", "show", "off"],
        &["secrets", "list", "on"],
        &["keys"],
        &["keys", "list"],
        &["keys", "plan"],
        &["keys", "plan", "--rotations", "3"],
        &["keys", "verifiers"],
        &["audiences"],
        &["services"],
        &["services", "list"],
        &["services", "show", "a/b"],
        &["services", "show", "mail"],
        &["services", "check"],
        &["admin-keys", "list"],
        &["audit"],
        &["audit", "--client", "limited"],
        &["audit", "list", "--action", "client", "--limit", "2"],
        &["audit", "head"],
    ] {
        if verb.starts_with(&["keys", "plan"]) {
            // Its first words are the time of the one and of the other.
            let (here, elsewhere) =
                (server.verb_json(&["keys", "plan", "--json"]), json(&server, &["keys", "plan"]));
            assert_eq!(here["rings"][0]["past"], elsewhere["rings"][0]["past"]);
            assert_eq!(
                here["rings"][1]["signal_now"]["reason"],
                elsewhere["rings"][1]["signal_now"]["reason"]
            );
            assert_eq!(shown(&server, verb).lines().count(), server.verb(verb).lines().count());
            continue;
        }
        assert_same(&server, verb);
    }
    assert!(shown(&server, &["audit", "verify"]).contains("each follows from the one before it"));
    assert_eq!(json(&server, &["audit", "verify"])["newest_head"]["key_proven"], true);
}

#[test]
fn what_is_done_there_is_done() {
    let server = Process::start();
    let made =
        json(&server, &["clients", "create", "--id", "task", "--audience", "event", "--scope", "event.view"]);
    let secret = made["clientSecret"].as_str().unwrap();
    assert!(secret.starts_with("m2s_"), "{made}");
    let token = || {
        crate::support::post_form(
            &server.endpoint("/auth/oauth/token"),
            &[("grant_type", "client_credentials"), ("client_id", "task"), ("client_secret", secret)],
        )
    };
    assert_eq!(token().status, 200);
    // What was not said stays, and each thing can be taken away again.
    shown(&server, &["clients", "update", "task", "--network", "192.0.2.0/24", "--lifetime", "15m"]);
    let changed = server.verb_json(&["clients", "show", "task", "--json"]);
    assert_eq!(
        (&changed["scope"], &changed["sourceNetworks"][0]),
        (&"event.view".into(), &"192.0.2.0/24".into())
    );
    assert_eq!(token().status, 401);
    shown(&server, &["clients", "update", "task", "--network", "none"]);
    assert_eq!(token().status, 200);
    let rotated = json(&server, &["secrets", "rotate", "task", "--grace", "1h"]);
    assert_eq!((&rotated["id"], &rotated["retiring"][0]["id"]), (&2.into(), &1.into()));
    shown(&server, &["secrets", "remove", "task", "1", "--yes"]);
    assert_eq!(token().status, 401);

    let set = crate::support::get(&server.endpoint("/auth/jwt/jwks.json")).json();
    let kid = |at: usize| set["keys"][at]["kid"].as_str().unwrap().to_owned();
    let (active, standby) = (kid(0), kid(1));
    let told = shown(&server, &["keys", "rotate"]);
    assert_eq!(told.trim(), format!("rotated: {standby} signs from now on"));
    assert!(shown(&server, &["keys", "rotate"]).starts_with("queued: the next rotation comes in"));
    let told = shown(&server, &["keys", "revoke", &active, "--yes"]);
    assert_eq!(told.trim(), format!("revoked: {active}\n{standby} goes on signing"));

    let told = shown(&server, &["audiences", "set", "billing", "--alg", "ES256", "--at-once"]);
    assert_eq!(told.trim(), "tokens for billing are signed with ES256 from now on");
    let key =
        json(&server, &["admin-keys", "add", "ops", "--role", "read"])["key"].as_str().unwrap().to_owned();
    let with_it =
        || crate::support::call("GET", &server.endpoint("/admin/v1/keys"), &[("api-key", &*key)], b"").status;
    assert_eq!(with_it(), 200);
    shown(&server, &["admin-keys", "remove", "ops", "--yes"]);
    assert_eq!(with_it(), 401);
    shown(&server, &["clients", "remove", "task", "--yes"]);
    assert_eq!(server.verb_json(&["clients", "list", "--json"]), serde_json::json!([]));
}

#[test]
fn services_are_registered_and_changed_there_as_on_the_file() {
    let server = Process::start();
    server.verb(&["clients", "create", "--id", "old", "--audience", "event,file", "--scope", "event.edti"]);
    let elsewhere = Process::start();
    elsewhere.verb(&[
        "clients",
        "create",
        "--id",
        "old",
        "--audience",
        "event,file",
        "--scope",
        "event.edti",
    ]);
    // The same verbs: on the file of the one, and from outside on the other.
    for verb in [
        &["services"][..],
        &["services", "check"],
        &["services", "add", "file", "--action", "file.view"],
        &["services", "add", "event", "--action", "event.view=Shows an event", "--action", "event.edit"],
        &["services", "add", "event"],
        &["services", "add", "e vent"],
        &["services", "add", "twice", "--action", "a.b", "--action", "a.b"],
        &["services", "check"],
        &["services", "update", "event", "--description", "Calendar", "--add-action", "event.print"],
        &["services", "update", "event", "--remove-action", "event.print", "--remove-action", "event.veiw"],
        &["services", "update", "evnt"],
        &["services", "rename", "event", "event.veiw", "event.see"],
        &["services", "rename", "event", "event.view", "event.see", "--alias-for", "soon"],
        &["services", "rename", "event", "event.view", "event.see", "--alias-for", "0s"],
        &["services", "show", "evnt"],
        &["services", "remove", "event"],
        &["services", "remove", "evnt", "--yes"],
        &["services", "update", "event", "--remove-action", "event.print"],
        &["services", "remove", "file", "--yes"],
        &["services", "list"],
        &["services", "check"],
    ] {
        for json in [&[][..], &["--json"]] {
            let verb: Vec<_> = verb.iter().chain(json).copied().collect();
            let here = server.run(&verb);
            let there = there(&elsewhere, &verb);
            assert_eq!(there.status.code(), here.status.code(), "{verb:?} {there:?}");
            assert_eq!(text(&there.stderr), text(&here.stderr), "{verb:?}");
            assert_eq!(text(&there.stdout), text(&here.stdout), "{verb:?}");
        }
    }
    let renamed =
        json(&elsewhere, &["services", "rename", "event", "event.view", "event.see", "--alias-for", "1h"]);
    assert_eq!(renamed["aliases"][0]["name"], "event.view");
    assert_eq!(elsewhere.verb_json(&["services", "show", "event", "--json"])["aliases"], renamed["aliases"]);
    assert!(shown(&elsewhere, &["services", "show", "event"]).contains("event.view (until "));
    // All pages of it.
    for number in 0..101 {
        let service = serde_json::json!({"audience": format!("s{number:03}")});
        let headers = [("api-key", ADMIN_KEY), ("content-type", "application/json")];
        let url = elsewhere.endpoint("/admin/v1/services");
        assert_eq!(crate::support::call("POST", &url, &headers, service.to_string().as_bytes()).status, 201);
    }
    assert_eq!(json(&elsewhere, &["services"]).as_array().unwrap().len(), 102);
}

#[test]
fn what_clients_do_not_use_is_told_there_as_on_the_file() {
    let server = Process::start();
    for number in 0..101 {
        let client =
            serde_json::json!({"clientId": format!("c{number:03}"), "scope": "a.view", "audience": ["a"]});
        assert_eq!(server.admin("POST", "/recipe/oauth/clients", &client).json()["status"], "OK");
    }
    let odd = serde_json::json!({"clientId": "odd", "audienceScopes": {"a": ["a.*"]}, "metadata": {"a": [1]},
                                 "clientCredentialsGrantAccessTokenLifespan": "0h15m0s"});
    assert_eq!(server.admin("POST", "/recipe/oauth/clients", &odd).json()["status"], "OK");
    assert_same(&server, &["clients", "unused"]);
    // The next moment, all of them are older than none.
    let unused = |verb: &mut dyn FnMut(&[&str]) -> Value| {
        let mut told = verb(&["clients", "unused", "--for", "0s", "--json"]);
        assert!(told.as_object_mut().unwrap().remove("usedBefore").unwrap().is_string());
        told
    };
    let here = unused(&mut |verb| server.verb_json(verb));
    assert_eq!(unused(&mut |verb| serde_json::from_str(&shown(&server, verb)).unwrap()), here);
    assert_eq!(here["unused"].as_array().unwrap().len(), 102);

    let elsewhere = tempfile::tempdir().unwrap();
    server.verb(&["clients", "unused", "--for", "0s", "--trim", "here.toml"]);
    let place = elsewhere.path().join("there.toml");
    shown(&server, &["clients", "unused", "--for", "0s", "--trim", place.to_str().unwrap()]);
    // All but the moment in the first line.
    let body = |path: &std::path::Path| {
        std::fs::read_to_string(path).unwrap().split_once('\n').unwrap().1.to_owned()
    };
    assert_eq!(body(&place), body(&server.path("here.toml")));
    assert!(body(&place).contains("[clients.odd]"));
    server.verb(&["apply", place.to_str().unwrap()]);
    assert_eq!(json(&server, &["clients", "show", "odd"])["enabled"], false);
}

#[test]
fn what_files_declare_is_applied_and_exported_there_as_on_the_file() {
    let (here, elsewhere) = (Process::start(), Process::start());
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| {
        for place in [here.directory.path(), folder.path()] {
            std::fs::write(place.join("a.toml"), text).unwrap();
        }
    };
    let there = |arguments: &[&str]| {
        let mut command = command(folder.path());
        command.env("M2MINT_ADMIN_KEY", ADMIN_KEY).args(arguments).args(["--url", &elsewhere.url]);
        command.output().unwrap()
    };
    const FIRST: &str = "[services.event]\nactions = [\"event.create\"]\n[clients.\"a/b\"]\ngrants.event = [\"event.create\"]\n\
                         [clients.hashed]\nsecret_sha256 = [\"0000000000000000000000000000000000000000000000000000000000000000\"]\n";
    let changed = FIRST.replace("event.create", "event.see");
    let wrong = FIRST.replace("grants.event = [\"event.create\"]", "grants.event = [\"event.craete\"]");
    for (text, arguments) in [
        (FIRST, &["--dry-run", "--detailed-exitcode"][..]),
        (FIRST, &[]),
        ("[clients.a]\nlifetme = 1\n", &[]),
        (&wrong, &["--secrets-dir", "secrets"]),
        (FIRST, &["--secrets-dir", "secrets", "--detailed-exitcode"]),
        (FIRST, &["--secrets-dir", "secrets", "--detailed-exitcode"]),
        (&changed, &["--dry-run", "--json"]),
        (&changed, &["--json"]),
        ("[clients.hashed]\n", &["--prune"]),
        ("[clients.other]\n", &["--prune", "--yes"]),
        ("[clients.hashed]\n", &["--prune", "--yes"]),
    ] {
        write(text);
        let arguments: Vec<_> = ["apply", "a.toml"].iter().chain(arguments).copied().collect();
        let (local, remote) = (here.run(&arguments), there(&arguments));
        assert_eq!(remote.status.code(), local.status.code(), "{arguments:?} {remote:?}");
        assert_eq!(text_of(&remote), text_of(&local), "{arguments:?}");
        let (local, remote) = (here.run(&["export"]), there(&["export"]));
        assert_eq!(text_of(&remote), text_of(&local), "after {arguments:?}");
    }
    assert_eq!(text_of(&there(&["export", "--json"])), text_of(&here.run(&["export", "--json"])));
    // The secret that was written down is the one that the server takes.
    write(FIRST);
    std::fs::remove_dir_all(folder.path().join("secrets")).unwrap();
    assert!(there(&["apply", "a.toml", "--secrets-dir", "secrets"]).status.success());
    let secret = std::fs::read_to_string(folder.path().join("secrets/a%2Fb")).unwrap().trim().to_owned();
    elsewhere.token(&crate::support::Client { id: "a/b".into(), secret });
}

fn text_of(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn a_secret_goes_where_it_belongs_from_there_too() {
    let server = Process::start();
    let elsewhere = tempfile::tempdir().unwrap();
    for (arguments, name) in [
        (&["clients", "create", "--id", "a"][..], "client"),
        (&["secrets", "add", "a"], "added"),
        (&["admin-keys", "add", "b", "--role", "read"], "admin"),
    ] {
        let mut command = command(elsewhere.path());
        let place = elsewhere.path().join(name);
        command.args(arguments).args(["--url", &server.url, "--to-file"]).arg(&place);
        let output = command.env("M2MINT_ADMIN_KEY", ADMIN_KEY).output().unwrap();
        assert!(output.status.success(), "{arguments:?} {output:?}");
        let kept = std::fs::read_to_string(&place).unwrap();
        assert!(kept.starts_with("m2") && !text(&output.stdout).contains(kept.trim()), "{output:?}");
    }
}

#[test]
fn refusals_have_the_exit_codes_of_the_same_on_the_file() {
    let server = Process::start();
    server.verb(&["clients", "create", "--id", "task"]);
    server.verb(&["secrets", "list", "task"]);
    for arguments in [
        &["clients", "show", "tusk"][..],
        &["clients", "create", "--id", "task"],
        &["clients", "create", "--id", "a b"],
        &["clients", "create", "--lifetime", "90d"],
        &["clients", "create", "--lifetime", "soon"],
        &["clients", "update", "task", "--network", "x"],
        &["clients", "unused", "--for", "soon"],
        &["clients", "remove", "task"],
        &["secrets", "list", "tusk"],
        &["secrets", "remove", "task", "7", "--yes"],
        &["keys", "revoke", "nonsense", "--yes"],
        &["keys", "rotate", "--alg", "ES256"],
        &["admin-keys", "remove", "nobody", "--yes"],
        &["audit", "--since", "yesterday"],
    ] {
        let here = command(server.directory.path()).args(arguments).output().unwrap();
        let elsewhere = there(&server, arguments);
        assert_eq!(elsewhere.status.code(), here.status.code(), "{arguments:?} {elsewhere:?}");
        assert_eq!(text(&elsewhere.stderr), text(&here.stderr), "{arguments:?}");
    }
    for (arguments, code) in [
        (&["keys", "canary", "--audience", "event"][..], 2),
        (&["keys", "recover"], 2),
        (&["export", "--with-secret-hashes"], 2),
        (&["backup", "x.db"], 2),
        (&["config", "show"], 2),
    ] {
        assert_eq!(there(&server, arguments).status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn the_admin_key_is_needed_and_never_shown() {
    let server = Process::start();
    let elsewhere = tempfile::tempdir().unwrap();
    let run = |key: Option<&str>, arguments: &[&str]| {
        let mut command = command(elsewhere.path());
        command.args(["keys"]).args(arguments);
        command.envs(key.map(|key| ("M2MINT_ADMIN_KEY", key)));
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert!(!said.contains(ADMIN_KEY) && !said.contains("wrong-key"), "{said}");
        (output.status.code(), said)
    };
    let (code, said) = run(None, &["--url", &server.url]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--admin-key-file"), "{said}");
    let (code, said) = run(Some("wrong-key-0123456789"), &["--url", &server.url]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the admin key is not accepted"), "{said}");
    // A file goes before the variable.
    let file = elsewhere.path().join("key");
    std::fs::write(&file, format!("{ADMIN_KEY}\n")).unwrap();
    let with_file = ["--url", &server.url, "--admin-key-file", file.to_str().unwrap()];
    assert_eq!(run(Some("wrong-key-0123456789"), &with_file).0, Some(0));
    let (code, said) = run(Some(ADMIN_KEY), &["--url", "http://192.0.2.1:1"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("in the clear"), "{said}");
    for (url, code) in [("https://user:x@localhost", 2), ("localhost:1", 2), ("http://127.0.0.1:1", 1)] {
        assert_eq!(run(Some(ADMIN_KEY), &["--url", url]).0, Some(code), "{url}");
    }
}

#[test]
fn a_private_authority_is_trusted_where_it_is_named() {
    let server = TlsServer::with(&[]);
    let run = |more: &[&str]| {
        let mut command = command(server.process.directory.path());
        command
            .env("M2MINT_ADMIN_KEY", ADMIN_KEY)
            .args(["keys", "list", "--url", &server.process.url])
            .args(more);
        command.output().unwrap()
    };
    let output = run(&["--ca", "ca.pem"]);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).contains("active"));
    assert_eq!(run(&[]).status.code(), Some(1));
}

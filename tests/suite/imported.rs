//! `m2mint import supertokens`, from a stand-in for the core: it answers in the shapes that `supertokens-node` 23 reads
//! (`/recipe/oauth/clients/list` with `nextPaginationToken`, `/recipe/oauth/clients?clientId=`), as they were recorded from
//! its types and from the core's sources. No core runs here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::audit::entries;
use crate::support::process::command;
use crate::support::{Client, Process};

const CORE_KEY: &str = "key-of-the-old-core-0123456789";

/// A server that lists clients, two at a time, to whoever has the key.
struct Core {
    url: String,
    address: std::net::SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Core {
    fn with(clients: Vec<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                answer(stream.unwrap(), &clients);
            }
        });
        Self { url: format!("http://{address}"), address, stop, thread: Some(thread) }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the thread up.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

fn answer(mut stream: TcpStream, clients: &[Value]) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    // All of them: what is not read would reset the connection.
    let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let has_key = headers.iter().any(|line| line.to_lowercase() == format!("api-key: {CORE_KEY}"));
    let target = first.split(' ').nth(1).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query: std::collections::HashMap<String, String> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let (status, body) = match path {
        _ if !has_key => ("401 Unauthorized", "Invalid API key".to_owned()),
        "/recipe/oauth/clients/list" => {
            let begin: usize = query.get("pageToken").map_or(0, |token| token.parse().unwrap());
            let end = clients.len().min(begin + 2);
            let mut page = json!({"status": "OK", "clients": clients[begin..end]});
            for client in page["clients"].as_array_mut().unwrap() {
                client.as_object_mut().unwrap().remove("clientSecret");
            }
            if end < clients.len() {
                page["nextPaginationToken"] = json!(end.to_string());
            }
            ("200 OK", page.to_string())
        }
        "/recipe/oauth/clients" => {
            let found = clients.iter().find(|client| client["clientId"] == query["clientId"]);
            let mut found = found.unwrap().clone();
            found["status"] = json!("OK");
            ("200 OK", found.to_string())
        }
        _ => ("404 Not Found", String::new()),
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
    let _ = stream.shutdown(Shutdown::Write);
}

/// A client as the core tells it, with all of its fields.
fn client(id: &str, other: Value) -> Value {
    let mut client = json!({
        "clientId": id, "clientName": "Task Service", "scope": "event.view event.create",
        "redirectUris": null, "postLogoutRedirectUris": [], "enableRefreshTokenRotation": false,
        "authorizationCodeGrantAccessTokenLifespan": null, "authorizationCodeGrantIdTokenLifespan": null,
        "authorizationCodeGrantRefreshTokenLifespan": null,
        "clientCredentialsGrantAccessTokenLifespan": "4h0m0s", "implicitGrantAccessTokenLifespan": null,
        "implicitGrantIdTokenLifespan": null, "refreshTokenGrantAccessTokenLifespan": null,
        "refreshTokenGrantIdTokenLifespan": null, "refreshTokenGrantRefreshTokenLifespan": null,
        "tokenEndpointAuthMethod": "client_secret_post", "clientUri": "", "allowedCorsOrigins": [],
        "audience": ["event"], "grantTypes": ["client_credentials"], "responseTypes": null, "logoUri": "",
        "policyUri": "", "tosUri": "", "createdAt": "2025-01-02T03:04:05Z", "updatedAt": "2025-01-02T03:04:05Z",
        "metadata": {"team": "calendar"}, "owner": "public", "skipConsent": true, "subjectType": "public",
        "jwks": {}, "contacts": null,
    });
    client.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    client
}

fn import(process: &Process, core: &Core, more: &[&str]) -> Output {
    let mut command = command(process.directory.path());
    command.args(["import", "supertokens", "--url", &core.url, "--json"]).args(more);
    command.env("SUPERTOKENS_API_KEY", CORE_KEY).output().unwrap()
}

/// Id, what it became, and what was not carried over.
fn told(output: &Output) -> Vec<(String, String, String)> {
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let clients = json["clients"].as_array().unwrap().iter();
    clients
        .map(|client| {
            let lost: Vec<_> = client["notCarriedOver"].as_array().unwrap().iter().map(text).collect();
            (text(&client["clientId"]), text(&client["became"]), lost.join("; "))
        })
        .collect()
}

fn owned(rows: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    rows.iter().map(|(id, became, lost)| ((*id).into(), (*became).into(), (*lost).into())).collect()
}

#[test]
fn clients_come_over_with_ids_settings_and_secrets_and_the_rest_is_named() {
    let core = Core::with(vec![
        client("a", json!({"clientSecret": "a secret that the core gives"})),
        client("b", json!({})),
        client(
            "c",
            json!({"grantTypes": ["authorization_code", "client_credentials"], "tokenEndpointAuthMethod": "none", "jwksUri": "https://x"}),
        ),
        client("d", json!({"grantTypes": ["authorization_code"]})),
        client("e", json!({"clientCredentialsGrantAccessTokenLifespan": "99h0m0s"})),
    ]);
    let process = Process::start();
    std::fs::create_dir(process.path("old-secrets")).unwrap();
    std::fs::write(process.path("old-secrets/b"), "a secret that somebody has\n").unwrap();
    let expected = owned(&[
        ("a", "added", ""),
        ("b", "added", ""),
        (
            "c",
            "added",
            "grant types authorization_code; tokenEndpointAuthMethod none: it has to show a secret here; jwksUri; its secret: m2mint secrets add c",
        ),
        ("d", "left out", "it may not use client_credentials, and there is nothing else here"),
        ("e", "left out", "the lifetime 99h is longer than token.max_lifetime = 24h"),
    ]);
    let dry = import(&process, &core, &["--secrets-dir", "old-secrets", "--dry-run"]);
    assert_eq!((dry.status.code(), told(&dry)), (Some(3), expected.clone()));
    assert_eq!(process.verb_json(&["clients", "list", "--json"]), json!([]));
    let first = import(&process, &core, &["--secrets-dir", "old-secrets"]);
    assert_eq!((first.status.code(), told(&first)), (Some(3), expected));
    for (id, secret) in [("a", "a secret that the core gives"), ("b", "a secret that somebody has")] {
        let client = Client { id: id.into(), secret: secret.into() };
        process.wait_until("no service has to change", || process.try_token(&client).is_ok());
        let everything = [&first.stdout[..], &first.stderr, process.log.lock().as_bytes()].concat();
        assert!(!String::from_utf8_lossy(&everything).contains(secret));
    }
    let shown = process.admin("GET", "/recipe/oauth/clients?clientId=a", &Value::Null).json();
    for (name, value) in client("a", json!({})).as_object().unwrap() {
        let is_other = ["createdAt", "updatedAt", "owner", "skipConsent", "subjectType", "jwks", "contacts"];
        if !is_other.contains(&name.as_str()) {
            assert_eq!(&shown[name], value, "{name}");
        }
    }
    let entry =
        entries(&process.path("m2mint.db")).into_iter().find(|entry| entry["subject"] == "a").unwrap();
    assert_eq!(
        (&entry["action"], &entry["changed"]["imported_from"]),
        (&json!("client.create"), &json!(core.url))
    );
}

#[test]
fn an_import_can_be_run_again_and_leaves_alone_what_was_added_here() {
    let secret = json!({"clientSecret": "a secret that the core gives"});
    let process = Process::start();
    let core = Core::with(vec![client("a", secret.clone()), client("b", json!({})), client("c", json!({}))]);
    assert_eq!(import(&process, &core, &[]).status.code(), Some(0));
    process.verb(&["clients", "update", "a", "--network", "127.0.0.0/8"]);
    process.verb(&["secrets", "add", "b"]);
    let unchanged = owned(&[("a", "unchanged", ""), ("b", "unchanged", ""), ("c", "unchanged", "")]);
    assert_eq!(told(&import(&process, &core, &[])), unchanged);
    let mut changed = secret;
    changed["scope"] = json!("event.view");
    let core = Core::with(vec![client("a", changed), client("b", json!({}))]);
    let expected = owned(&[("a", "changed", ""), ("b", "unchanged", "")]);
    assert_eq!(told(&import(&process, &core, &[])), expected);
    let shown = process.verb_json(&["clients", "show", "a", "--json"]);
    assert_eq!((&shown["scope"], &shown["sourceNetworks"]), (&json!("event.view"), &json!(["127.0.0.0/8"])));
    assert_eq!(process.verb_json(&["secrets", "list", "a", "--json"]).as_array().unwrap().len(), 1);
    process.verb(&["clients", "show", "c"]);
}

#[test]
fn another_m2mint_is_a_core_too() {
    let (old, new) = (Process::start(), Process::start());
    let fields =
        json!({"clientId": "x", "audienceScopes": {"event": ["event.view"]}, "metadata": {"a": [1]}});
    old.admin("POST", "/recipe/oauth/clients", &fields);
    std::fs::write(new.path("key"), format!("{}\n", crate::support::ADMIN_KEY)).unwrap();
    let arguments = ["import", "supertokens", "--url", &old.url, "--api-key-file", "key"];
    let said = new.verb(&arguments);
    assert!(said.contains("m2mint secrets add x"), "{said}");
    let show = |process: &Process| {
        let mut shown = process.verb_json(&["clients", "show", "x", "--json"]);
        shown.as_object_mut().unwrap().retain(|name, _| name != "createdAt" && name != "updatedAt");
        shown
    };
    assert_eq!(show(&new)["audienceScopes"], show(&old)["audienceScopes"]);
    assert_eq!(show(&new)["metadata"], show(&old)["metadata"]);
}

#[test]
fn a_core_that_cannot_be_read_is_said_and_its_key_goes_nowhere_in_the_clear() {
    let process = Process::start();
    let core = Core::with(vec![]);
    let run = |arguments: &[&str]| {
        let mut all = vec!["import", "supertokens", "--url"];
        all.extend(arguments);
        let output = process.run(&all);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&[&core.url]);
    assert!(code == Some(1) && said.contains("SUPERTOKENS_API_KEY"), "{said}");
    let (code, said) = run(&["http://core.example:3567"]);
    assert!(code == Some(3) && said.contains("not https"), "{said}");
    let (code, said) = run(&[&format!("{}/nowhere", core.url)]);
    assert!(code == Some(1) && said.contains("cannot be read"), "{said}");
    assert!(String::from_utf8(import(&process, &core, &[]).stdout).unwrap().contains("\"clients\": []"));
}

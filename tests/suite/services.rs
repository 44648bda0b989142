//! Registered services: what clients may be granted there, and actions that are called by another name.

use m2mint::administration::services;
use m2mint::model::audit::Origin;
use m2mint::model::{Audience, Scope, Service};
use m2mint::store::Store;
use m2mint_keys::time::UnixTime;
use serde_json::{Value, json};

use crate::audit::entries;
use crate::support::http::post_form;
use crate::support::in_process::START;
use crate::support::token::claims;
use crate::support::{Answer, Client, Process, Server};

const CALENDAR: [&str; 4] = ["event.view", "event.create", "event.update", "event.delete"];

fn register(process: &Process, audience: &str, actions: &[&str]) -> Value {
    let mut arguments = vec!["services", "add", audience, "--json"];
    for action in actions {
        arguments.extend(["--action", action]);
    }
    process.verb_json(&arguments)
}

fn refusal(process: &Process, arguments: &[&str]) -> String {
    let output = process.run(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{arguments:?}: {said}");
    said
}

#[test]
fn a_client_is_granted_only_what_a_registered_service_understands() {
    let process = Process::start();
    register(&process, "event", &CALENDAR);
    let create = |scope: &'static str| ["clients", "create", "--audience", "event", "--scope", scope];
    let said = refusal(&process, &create("event.view event.edit"));
    assert!(said.contains("event.edit is no action of event; did you mean event.update?"), "{said}");
    let said = refusal(&process, &create("evnt.*"));
    assert!(said.contains("did you mean event.*?"), "{said}");
    process.verb(&create("event.*"));
    let fields = json!({"clientName": "x", "scope": "event.edit", "audience": ["event"]});
    let answer = process.admin("POST", "/recipe/oauth/clients", &fields).json();
    assert_eq!(
        (&answer["status"], &answer["error"]),
        (&json!("OAUTH_ERROR"), &json!("invalid_client_metadata"))
    );
    assert!(answer["errorDescription"].as_str().unwrap().contains("did you mean event.update?"), "{answer}");
    let fields = json!({"clientName": "x", "scope": "mail.send", "audience": ["event", "mail"]});
    let answer = process.admin("POST", "/recipe/oauth/clients", &fields).json();
    assert_eq!(answer["status"], "OK", "mail is not registered, and may understand it: {answer}");
}

#[test]
fn registering_a_service_breaks_no_client_and_tells_which_do_not_fit() {
    let process = Process::start();
    let fields = json!({"clientId": "old", "scope": "event.create event.edit", "audience": ["event"]});
    let made = process.admin("POST", "/recipe/oauth/clients", &fields).json();
    let client = Client { id: "old".into(), secret: made["clientSecret"].as_str().unwrap().into() };
    assert!(process.verb(&["services", "check"]).contains("every client"));
    let registered = register(&process, "event", &CALENDAR);
    let unfit =
        json!([{"clientId": "old", "scope": "event.edit", "audience": ["event"], "meant": "event.update"}]);
    assert_eq!(registered["unfit"], unfit);
    let output = process.run(&["services", "check", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), unfit);
    process.token(&client);
    let shown = process.admin("GET", "/recipe/oauth/clients?clientId=old", &Value::Null).json();
    assert_eq!((&shown["scope"], &shown["audience"]), (&made["scope"], &made["audience"]));
    process.verb(&["clients", "update", "old", "--name", "Old"]);
    let said = refusal(&process, &["clients", "update", "old", "--scope", "event.edit event.read"]);
    assert!(said.contains("event.read") && !said.contains("event.edit"), "only what is new: {said}");
    process.verb(&["clients", "update", "old", "--scope", "event.create"]);
    process.verb(&["services", "check"]);
    process.verb(&["services", "remove", "event", "--yes"]);
    process.verb(&["clients", "update", "old", "--scope", "anything"]);
}

#[test]
fn services_are_shown_changed_and_audited() {
    let process = Process::start();
    register(&process, "event", &["event.view=Shows an event"]);
    assert!(refusal(&process, &["services", "add", "event"]).contains("registered already"));
    assert!(refusal(&process, &["services", "show", "evnt"]).contains("did you mean event?"));
    let change = ["services", "update", "event", "--description", "Calendar", "--add-action", "event.create"];
    process.verb(&change);
    process.verb(&change[..5]);
    let shown = process.verb_json(&["services", "show", "event", "--json"]);
    let actions = json!([
        {"name": "event.create", "description": ""},
        {"name": "event.view", "description": "Shows an event"},
    ]);
    assert_eq!((&shown["description"], &shown["actions"]), (&json!("Calendar"), &actions));
    let said = refusal(&process, &["services", "update", "event", "--remove-action", "event.veiw"]);
    assert!(said.contains("did you mean event.view?"), "{said}");
    assert!(
        refusal(&process, &["services", "update", "event", "--add-action", "event.*"]).contains("wildcard")
    );
    assert!(process.verb(&["services"]).contains("event.create event.view"));
    process.verb(&["services", "remove", "event", "--yes"]);
    let acts: Vec<_> = entries(&process.path("m2mint.db"))
        .into_iter()
        .filter(|entry| entry["subject"] == "event")
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        acts,
        ["service.create", "service.update", "service.remove"],
        "nothing changed the second time"
    );
}

fn calendar(server: &Server) -> Store {
    let store = Store::open(&server.database(), None).unwrap();
    let mut service = Service::new(Audience::parse("event").unwrap());
    for action in ["event.view", "event.edit"] {
        service.add_action(Scope::parse(action).unwrap(), String::new()).unwrap();
    }
    services::add_service(&store, &service, START, &Origin::of("test")).unwrap();
    store
}

/// Calls `event.edit` by its new name from now on, and by the old one for an hour.
fn rename(server: &Server, store: &Store) {
    services::update_service(store, "event", START, &Origin::of("test"), |service| {
        let ends_at = UnixTime::from_secs(START.secs() + 3600);
        Ok(service.rename_action("event.edit", Scope::parse("event.update").unwrap(), ends_at)?)
    })
    .unwrap();
    server.settle();
}

fn ask(server: &Server, client: &Client, scope: Option<&str>) -> Answer {
    let mut fields = vec![
        ("grant_type", "client_credentials"),
        ("client_id", &*client.id),
        ("client_secret", &*client.secret),
    ];
    fields.extend(scope.map(|scope| ("scope", scope)));
    post_form(&server.token_url(), &fields)
}

/// The scope of a token, which the answer has to name as well.
#[track_caller]
fn granted(server: &Server, client: &Client, scope: Option<&str>) -> String {
    let answer = ask(server, client, scope);
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    let claims = claims(body["access_token"].as_str().unwrap());
    assert_eq!(claims["scope"], body["scope"]);
    assert_eq!(claims["scp"], json!(body["scope"].as_str().unwrap().split(' ').collect::<Vec<_>>()));
    body["scope"].as_str().unwrap().to_owned()
}

#[test]
fn a_token_for_a_renamed_action_carries_both_names_until_the_alias_ends() {
    let server = Server::start();
    let store = calendar(&server);
    let client = |scope: &str| server.client(&json!({"scope": scope, "audience": ["event"]}));
    let (old, any) = (client("event.view event.edit"), client("event.*"));
    assert_eq!(granted(&server, &old, Some("event.edit")), "event.edit");
    rename(&server, &store);
    let new = client("event.update");
    for client in [&old, &new, &any] {
        assert_eq!(granted(&server, client, Some("event.edit")), "event.edit event.update");
        assert_eq!(granted(&server, client, Some("event.update")), "event.update event.edit");
    }
    assert_eq!(
        granted(&server, &old, Some("event.view event.edit event.update")),
        "event.view event.edit event.update"
    );
    assert_eq!(granted(&server, &old, Some("event.view")), "event.view");

    server.pass(3600);
    for client in [&old, &new, &any] {
        assert_eq!(granted(&server, client, Some("event.update")), "event.update");
        let answer = ask(&server, client, Some("event.edit"));
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_scope")));
        assert!(answer.body.contains("is called event.update at event"), "{answer:?}");
    }
}

#[test]
fn a_renamed_action_is_nobodys_who_was_not_granted_it() {
    let server = Server::with(&[("token.default_scope", "all")]);
    let store = calendar(&server);
    let viewer = server.client(&json!({"scope": "event.view", "audience": ["event"]}));
    let elsewhere = server.client(&json!({
        "audienceScopes": {"event": ["event.view"], "file": ["event.edit"]},
    }));
    let editor = server.client(&json!({"scope": "event.edit", "audience": ["event"]}));
    rename(&server, &store);
    for scope in ["event.edit", "event.update"] {
        assert_eq!(ask(&server, &viewer, Some(scope)).status, 400);
        let answer = post_form(
            &server.token_url(),
            &[
                ("grant_type", "client_credentials"),
                ("client_id", &elsewhere.id),
                ("client_secret", &elsewhere.secret),
                ("audience", "event"),
                ("scope", scope),
            ],
        );
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_scope")), "{answer:?}");
    }
    assert_eq!(granted(&server, &viewer, None), "event.view");
    assert_eq!(granted(&server, &editor, None), "event.edit event.update");
    server.pass(3600);
    assert_eq!(granted(&server, &editor, None), "event.update");
}

#[test]
fn a_wildcard_gives_a_renamed_action_only_by_the_names_that_it_covers() {
    let server = Server::start();
    let store = Store::open(&server.database(), None).unwrap();
    let mut service = Service::new(Audience::parse("event").unwrap());
    for action in ["event.view", "admin.purge"] {
        service.add_action(Scope::parse(action).unwrap(), String::new()).unwrap();
    }
    services::add_service(&store, &service, START, &Origin::of("test")).unwrap();
    let client = |scope: &str| server.client(&json!({"scope": scope, "audience": ["event"]}));
    let (named, admin, event) = (client("admin.purge"), client("admin.*"), client("event.*"));
    let call_it = |from: &str, to: &str| {
        let ends_at = UnixTime::from_secs(START.secs() + 3600);
        services::update_service(&store, "event", START, &Origin::of("test"), |service| {
            Ok(service.rename_action(from, Scope::parse(to).unwrap(), ends_at)?)
        })
        .unwrap();
        server.settle();
    };
    let only_its_own = || {
        assert_eq!(granted(&server, &named, Some("admin.purge")), "admin.purge event.purge");
        for (client, its, not) in
            [(&admin, "admin.purge", "event.purge"), (&event, "event.purge", "admin.purge")]
        {
            assert_eq!(granted(&server, client, Some(its)), its);
            let answer = ask(&server, client, Some(not));
            assert_eq!(
                (answer.status, &answer.json()["error"]),
                (400, &json!("invalid_scope")),
                "{answer:?}"
            );
        }
    };
    call_it("admin.purge", "event.purge");
    only_its_own();
    call_it("event.purge", "admin.purge");
    only_its_own();
}

#[test]
fn no_door_calls_an_action_as_a_scope_that_every_client_has() {
    let process = Process::start();
    let said = refusal(&process, &["services", "add", "pay", "--action", "openid"]);
    assert!(said.contains("openid is no name for an action"), "{said}");
    register(&process, "pay", &["admin.purge"]);
    refusal(&process, &["services", "update", "pay", "--add-action", "offline"]);
    refusal(&process, &["services", "rename", "pay", "admin.purge", "offline_access", "--alias-for", "1d"]);
    std::fs::write(process.path("pay.toml"), "[services.pay.actions]\n\"openid\" = \"\"\n").unwrap();
    let applied = process.run(&["apply", "pay.toml"]);
    let said = String::from_utf8(applied.stderr).unwrap();
    assert!(!applied.status.success() && said.contains("openid is no name for an action"), "{said}");
    let shown = process.verb_json(&["services", "show", "pay", "--json"]);
    assert_eq!(shown["actions"].as_array().map(Vec::len), Some(1), "{shown}");
}

#[test]
fn renaming_on_the_command_line_counts_on_a_running_server() {
    let process = Process::start();
    register(&process, "event", &["event.edit"]);
    process.verb(&[
        "clients",
        "create",
        "--id",
        "x",
        "--audience",
        "event",
        "--scope",
        "event.edit",
        "--to-file",
        "s",
    ]);
    let said = refusal(&process, &["services", "rename", "event", "event.edti", "event.update"]);
    assert!(said.contains("did you mean event.edit?"), "{said}");
    process.verb(&["services", "rename", "event", "event.edit", "event.update", "--alias-for", "1h"]);
    assert!(process.verb(&["services", "show", "event"]).contains("event.edit (until "));
    let secret = std::fs::read_to_string(process.path("s")).unwrap();
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", "x"),
        ("client_secret", secret.trim()),
        ("scope", "event.update"),
    ];
    process.wait_until("the server knows of it", || {
        post_form(&process.endpoint("/auth/oauth/token"), &fields).status == 200
    });
    process.verb(&["services", "check"]);
}

//! What clients are granted and do not use.

use m2mint::administration::unused::{self, Report, What};
use m2mint::administration::{self, services};
use m2mint::model::audit::Origin;
use m2mint::model::{Audience, ClientSecret, Scope, ScopePattern, Service, Settings, Span};
use m2mint::store::Store;
use m2mint_keys::time::UnixTime;
use serde_json::json;

use crate::support::http::post_form;
use crate::support::in_process::START;
use crate::support::{Client, Process, Server};

const DAY: i64 = 86_400;

fn at(seconds: i64) -> UnixTime {
    UnixTime::from_secs(START.secs() + seconds)
}

fn ask(server: &Server, client: &Client, audience: &str, scope: &str) {
    let answer = post_form(
        &server.token_url(),
        &[
            ("grant_type", "client_credentials"),
            ("client_id", &client.id),
            ("client_secret", &client.secret),
            ("audience", audience),
            ("scope", scope),
        ],
    );
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// What 30 days say at this moment, after everything that was used is written down.
fn report(server: &Server, seconds: i64) -> Report {
    server.settle();
    let store = Store::open(&server.database(), None).unwrap();
    unused::report(&store, Span::parse("30d").unwrap(), at(seconds)).unwrap()
}

fn what(report: &Report, client: &Client) -> Vec<What> {
    let found = report.unused.iter().filter(|unused| unused.client.id.as_str() == client.id);
    found.flat_map(|unused| &unused.what).map(|(what, _)| what.clone()).collect()
}

fn pattern(text: &str) -> ScopePattern {
    ScopePattern::parse(text).unwrap()
}

fn audience(text: &str) -> Audience {
    Audience::parse(text).unwrap()
}

#[test]
fn what_nobody_used_for_thirty_days_is_told_and_what_was_used_is_kept() {
    let server = Server::start();
    let tied = server.client(&json!({
        "audienceScopes": {"event": ["event.*", "mail.send"], "file": ["file.view"], "mail": ["mail.send"]},
    }));
    let flat =
        server.client(&json!({"scope": "openid event.view event.create", "audience": ["event", "file"]}));
    let idle = server.client(&json!({"scope": "event.view", "audience": ["event"]}));
    let store = Store::open(&server.database(), None).unwrap();
    let second = ClientSecret::generate().unwrap();
    administration::add_secret(&store, &tied.id, &second, START, None, &Origin::of("test")).unwrap();
    drop(store);
    for client in [&tied, &flat] {
        ask(&server, client, "event", "event.view");
    }
    ask(&server, &tied, "file", "file.view");
    server.pass(20 * DAY);
    ask(&server, &tied, "event", "event.view event.create");
    ask(&server, &tied, "mail", "");
    ask(&server, &flat, "event", "event.view");
    server.pass(20 * DAY);
    let young = server.client(&json!({"scope": "event.view", "audience": ["event"]}));
    let report = report(&server, 40 * DAY);
    assert_eq!(report.since, Some(START));
    let event = Some(audience("event"));
    let used = vec![pattern("event.create"), pattern("event.view")];
    assert_eq!(
        what(&report, &tied),
        [
            What::Secret(2),
            What::Audience(audience("file")),
            What::Wildcard(pattern("event.*"), event.clone(), used),
            What::Scope(pattern("mail.send"), event),
            What::Scope(pattern("mail.send"), Some(audience("mail"))),
        ]
    );
    let last = report.unused.iter().find(|unused| unused.client.id.as_str() == tied.id).unwrap();
    let file = last.what.iter().find(|(what, _)| *what == What::Audience(audience("file"))).unwrap();
    assert_eq!(file.1, Some(START));
    assert_eq!(
        what(&report, &flat),
        [What::Audience(audience("file")), What::Scope(pattern("event.create"), None)]
    );
    assert_eq!(what(&report, &idle), [What::Client]);
    assert_eq!(what(&report, &young), []);

    let narrower = |client: &Client| -> Settings {
        report.unused.iter().find(|unused| unused.client.id.as_str() == client.id).unwrap().narrower.clone()
    };
    let settings = narrower(&tied);
    assert_eq!(settings.audience, [audience("event"), audience("mail")]);
    assert_eq!(settings.scope, [pattern("event.create"), pattern("event.view")]);
    let map = settings.audience_scopes.unwrap();
    assert_eq!(map.get("event").unwrap(), &[pattern("event.create"), pattern("event.view")]);
    assert_eq!(map.get("mail").unwrap(), &[]);
    let settings = narrower(&flat);
    assert_eq!(
        (settings.scope, settings.audience),
        (vec![pattern("openid"), pattern("event.view")], vec![audience("event")])
    );
    assert_eq!(narrower(&idle).enabled, Some(false));
}

#[test]
fn of_what_was_not_watched_for_so_long_nothing_is_said() {
    let server = Server::start();
    let client = server.client(&json!({"scope": "event.view event.create", "audience": ["event"]}));
    server.pass(20 * DAY);
    ask(&server, &client, "event", "event.view");
    server.pass(20 * DAY);
    let early = report(&server, 40 * DAY);
    assert_eq!((early.since, what(&early, &client)), (Some(at(20 * DAY)), vec![]));
    server.pass(9 * DAY);
    ask(&server, &client, "event", "event.view");
    server.pass(2 * DAY);
    let unused = vec![What::Scope(pattern("event.create"), None)];
    assert_eq!(what(&report(&server, 51 * DAY), &client), unused);
    let change = json!({"clientId": client.id, "scope": "event.view event.create event.delete"});
    server.admin("PUT", "/recipe/oauth/clients", &change);
    let changed = report(&server, 52 * DAY);
    assert_eq!((changed.changed_since, what(&changed, &client)), (1, vec![]));
}

#[test]
fn an_action_that_was_used_by_its_new_name_was_used() {
    let server = Server::start();
    let store = Store::open(&server.database(), None).unwrap();
    let mut service = Service::new(audience("event"));
    service.add_action(Scope::parse("event.edit").unwrap(), String::new()).unwrap();
    services::add_service(&store, &service, START, &Origin::of("test")).unwrap();
    let client = server.client(&json!({"scope": "event.edit", "audience": ["event"]}));
    services::update_service(&store, "event", START, &Origin::of("test"), |service| {
        Ok(service.rename_action("event.edit", Scope::parse("event.update").unwrap(), at(60))?)
    })
    .unwrap();
    ask(&server, &client, "event", "");
    server.pass(31 * DAY);
    ask(&server, &client, "event", "event.update");
    server.pass(DAY);
    assert_eq!(what(&report(&server, 32 * DAY), &client), []);
}

#[test]
fn a_client_whose_secret_was_changed_since_its_last_use_is_not_called_unused() {
    let server = Server::start();
    let used = server.client(&json!({"scope": "event.view", "audience": ["event"]}));
    let renewed = server.client(&json!({"scope": "event.view", "audience": ["event"]}));
    let store = Store::open(&server.database(), None).unwrap();
    let origin = Origin::of("test");
    let add = |client: &Client, day: i64| {
        let secret = ClientSecret::generate().unwrap();
        administration::add_secret(&store, &client.id, &secret, at(day * DAY), None, &origin).unwrap();
    };
    let remove = |client: &Client, day: i64| {
        administration::remove_secret(&store, &client.id, 1, at(day * DAY), &origin).unwrap();
    };
    add(&used, 1);
    server.pass(20 * DAY);
    ask(&server, &used, "event", "event.view");
    server.settle();
    remove(&used, 20);
    add(&renewed, 20);
    remove(&renewed, 20);

    server.pass(20 * DAY);
    let soon = report(&server, 40 * DAY);
    assert_eq!(what(&soon, &used), [What::Secret(2)], "the removed one was used");
    assert_eq!(what(&soon, &renewed), [], "the new one is young");
    server.pass(15 * DAY);
    let later = report(&server, 55 * DAY);
    assert_eq!((what(&later, &used), what(&later, &renewed)), (vec![What::Client], vec![What::Client]));
    let last = later.unused.iter().find(|unused| unused.client.id.as_str() == used.id).unwrap().what[0].1;
    assert_eq!(last, Some(at(20 * DAY)));
}

#[test]
fn the_narrower_file_can_be_applied() {
    let process = Process::start();
    process.verb(&["clients", "create", "--id", "idle", "--audience", "event", "--scope", "event.view"]);
    let said = process.verb(&["clients", "unused", "--for", "0s", "--trim", "narrower.toml"]);
    assert!(said.contains("the client") && said.contains("nothing is known"), "{said}");
    let again = process.run(&["clients", "unused", "--trim", "narrower.toml"]);
    assert_eq!(again.status.code(), Some(1), "no file is overwritten");
    let json = process.verb_json(&["clients", "unused", "--for", "0s", "--json"]);
    assert_eq!(
        (&json["unused"][0]["clientId"], &json["unused"][0]["kind"]),
        (&json!("idle"), &json!("client"))
    );
    process.verb(&["apply", "narrower.toml"]);
    assert_eq!(process.verb_json(&["clients", "show", "idle", "--json"])["enabled"], false);
    assert_eq!(process.verb_json(&["clients", "unused", "--json"])["unused"], json!([]));
}

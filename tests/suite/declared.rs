//! Services and clients that files declare: `m2mint apply` and `m2mint export`.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use m2mint::administration::{self, NewClient, services};
use m2mint::model::audit::Origin;
use m2mint::model::grants::AudienceScopes;
use m2mint::model::{
    Audience, ClientId, Network, Restrictions, Scope, ScopePattern, Service, Settings, Span,
};
use m2mint::store::Store;
use m2mint_keys::time::UnixTime;
use serde_json::{Value, json};

use crate::audit::entries;
use crate::support::{Client, Process};

const STORY: &str = r#"
[services.event]
description = "Calendar Service"
actions = ["event.view", "event.create", "event.update", "event.delete"]
[services.file.actions]
"file.create" = "Makes a file"
"file.view" = ""
[clients.task-service]
name = "Task Service"
lifetime = "15m"
grants.event = ["event.create", "event.view"]
grants.file = ["file.*"]
[clients.nightly]
scope = "event.view"
audience = ["event"]
networks = ["127.0.0.0/8"]
not_after = 2099-01-01T00:00:00Z
"#;

fn apply(process: &Process, text: &str, arguments: &[&str]) -> Output {
    std::fs::write(process.path("declared.toml"), text).unwrap();
    let mut all = vec!["apply", "declared.toml"];
    all.extend(arguments);
    process.run(&all)
}

#[track_caller]
fn told(output: &Output, code: i32) -> String {
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

#[test]
fn a_file_makes_services_and_clients_and_a_second_time_there_is_nothing_to_do() {
    let process = Process::start();
    let arguments = ["--secrets-dir", "secrets", "--detailed-exitcode"];
    let said = told(&apply(&process, STORY, &[&["--dry-run"], &arguments[..]].concat()), 4);
    assert!(said.contains("+ client task-service") && said.contains("4 to add, 0 to change"), "{said}");
    assert!(!process.path("secrets").exists());
    assert_eq!(process.verb_json(&["clients", "list", "--json"]), json!([]));
    let said = told(&apply(&process, STORY, &arguments), 4);
    assert!(said.contains("secret of task-service: secrets/task-service"), "{said}");
    let place = process.path("secrets/task-service");
    assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = std::fs::read_to_string(place).unwrap();
    assert!(!said.contains(&secret), "a secret is not shown");
    let said = told(&apply(&process, STORY, &arguments), 0);
    assert!(said.contains("nothing to change"), "{said}");
    let shown = process.verb_json(&["clients", "show", "task-service", "--json"]);
    assert_eq!(shown["audienceScopes"], json!({"event": ["event.create", "event.view"], "file": ["file.*"]}));
    assert_eq!(
        (&shown["scope"], &shown["audience"]),
        (&json!("event.create event.view file.*"), &json!(["event", "file"]))
    );
    let nightly = Client {
        id: "nightly".into(),
        secret: std::fs::read_to_string(process.path("secrets/nightly")).unwrap().trim().into(),
    };
    process.wait_until("the server knows the client", || {
        process.try_token(&nightly).is_err_and(|error| error.contains("invalid_scope"))
    });
    let acts: Vec<_> = entries(&process.path("m2mint.db"))
        .into_iter()
        .map(|entry| {
            format!("{} {}", entry["action"].as_str().unwrap(), entry["subject"].as_str().unwrap_or_default())
        })
        .filter(|act| act.starts_with("client") || act.starts_with("service"))
        .collect();
    assert_eq!(
        acts,
        [
            "service.create event",
            "service.create file",
            "client.create nightly",
            "client.create task-service"
        ]
    );
}

#[test]
fn a_change_is_shown_field_by_field_and_what_is_not_declared_stays() {
    let process = Process::start();
    told(&apply(&process, STORY, &["--secrets-dir", "secrets"]), 0);
    process.verb(&["clients", "create", "--id", "by-hand"]);
    let changed = STORY.replace("\"15m\"", "\"30m\"").replace("name = \"Task Service\"\n", "");
    let output = apply(&process, &changed, &["--json", "--detailed-exitcode"]);
    told(&output, 4);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        json,
        json!({
            "changes": [{"action": "change", "kind": "client", "name": "task-service", "fields": [
                {"field": "lifetime", "from": "\"15m\"", "to": "\"30m\""},
                {"field": "name", "from": "\"Task Service\"", "to": null},
            ]}],
            "applied": true,
            "secretsWrittenTo": {},
        })
    );
    process.verb(&["clients", "show", "by-hand"]);
}

#[test]
fn pruning_removes_what_is_not_declared_asks_first_and_never_drops_every_client() {
    let process = Process::start();
    told(&apply(&process, STORY, &["--secrets-dir", "secrets"]), 0);
    process.verb(&["clients", "create", "--id", "by-hand"]);
    let said = told(&apply(&process, STORY, &["--prune"]), 3);
    assert!(said.contains("- client by-hand") && said.contains("add --yes"), "{said}");
    process.verb(&["clients", "show", "by-hand"]);
    for empty in ["", "[clients.other]\n"] {
        let said = told(&apply(&process, empty, &["--prune", "--yes", "--secrets-dir", "secrets"]), 3);
        assert!(said.contains("every one of them would be removed"), "{said}");
    }
    let fewer = STORY.split("[clients.nightly]").next().unwrap();
    let fewer = fewer
        .replace("[services.file.actions]\n\"file.create\" = \"Makes a file\"\n\"file.view\" = \"\"\n", "");
    let said = told(&apply(&process, &fewer, &["--prune", "--yes"]), 0);
    for line in ["- client by-hand", "- client nightly", "- service file"] {
        assert!(said.contains(line), "{said}");
    }
    assert_eq!(process.run(&["clients", "show", "by-hand"]).status.code(), Some(3));
}

#[test]
fn a_file_with_a_mistake_changes_nothing() {
    let process = Process::start();
    let wrong = STORY.replace("event.update", "event.change").replace("\"event.view\"]", "\"event.edit\"]");
    let refused = [
        (
            STORY.replace("\nlifetime", "\nlifetmie"),
            1,
            "declared.toml:10: unknown key clients.task-service.lifetmie; did you mean lifetime?",
        ),
        (wrong, 3, "client task-service: event.edit is no action of event; did you mean event.change?"),
        (STORY.replace("\"15m\"", "\"90d\""), 3, "client task-service: the lifetime 90d is longer than"),
        (format!("{STORY}supertokens = '{{\"scope\": \"a\"}}'\n"), 1, "what has a key of its own"),
        (format!("{STORY}supertokens = '{{\"nothing\": 1}}'\n"), 1, "nothing"),
    ];
    for (text, code, reason) in refused {
        let said = told(&apply(&process, &text, &["--secrets-dir", "secrets"]), code);
        assert!(said.contains(reason), "{reason} in {said}");
    }
    let said = told(&apply(&process, STORY, &[]), 3);
    assert!(said.contains("--secrets-dir"), "{said}");
    assert_eq!(process.verb_json(&["clients", "list", "--json"]), json!([]));
    assert_eq!(process.verb_json(&["services", "list", "--json"]), json!([]));
    assert!(!process.path("secrets").exists());
}

#[test]
fn the_hash_of_a_secret_is_enough_to_move_a_client() {
    let process = Process::start();
    let client = process.client();
    let exported = process.verb(&["export", "--with-secret-hashes"]);
    assert!(!exported.contains(&client.secret));
    let other = Process::start();
    told(&apply(&other, &exported, &[]), 0);
    other.wait_until("the secret counts there", || other.try_token(&client).is_ok());
    told(&apply(&other, &exported, &["--detailed-exitcode"]), 0);
    let added = process.verb_json(&["secrets", "add", &client.id, "--json"]);
    let exported = process.verb(&["export", "--with-secret-hashes"]);
    told(&apply(&other, &exported, &["--detailed-exitcode"]), 4);
    let client = Client { secret: added["clientSecret"].as_str().unwrap().into(), ..client };
    other.wait_until("the second one does", || other.try_token(&client).is_ok());
    other.verb(&["secrets", "remove", &client.id, "2", "--yes"]);
    let plan = told(&apply(&other, &exported, &["--dry-run"]), 0);
    assert!(plan.contains("secrets = 1 more accepted"), "a removed one comes back, and that is said: {plan}");
}

#[test]
fn a_folder_counts_as_one_file() {
    let process = Process::start();
    let folder = process.path("declared");
    std::fs::create_dir(&folder).unwrap();
    let (services, clients) = STORY.split_once("[clients.task-service]").unwrap();
    std::fs::write(folder.join("1.toml"), services).unwrap();
    std::fs::write(folder.join("2.toml"), format!("[clients.task-service]{clients}")).unwrap();
    std::fs::write(folder.join("notes.txt"), "not TOML").unwrap();
    process.verb(&["apply", "declared", "--secrets-dir", "secrets"]);
    assert_eq!(process.verb_json(&["services", "--json"]).as_array().unwrap().len(), 2);
}

/// A small generator of its own: what fails is found again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn one<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn some<'a>(&mut self, all: &[&'a str]) -> Vec<&'a str> {
        all.iter().copied().filter(|_| self.below(2) == 0).collect()
    }
}

const AUDIENCES: [&str; 4] = ["event", "file", "https://api.example/v1?a='b'", "a.b"];
const NAMES: [&str; 5] = ["", "Task Service", "quotes ' and \u{e9}\u{1f511}", "a = [1]", "# no comment"];
const SCOPES: [&str; 6] = ["event.view", "event.*", "*", "a'b", "file/create", "https://x/y"];
const EXTRA: [&str; 4] = [
    "{}",
    r#"{"metadata":{"a":[null,1.5,"\u0007\u007f'''\"\\"]},"logoUri":null}"#,
    r#"{"clientCredentialsGrantAccessTokenLifespan":"4h0m0s","redirectUris":["https://a"]}"#,
    r#"{"clientCredentialsGrantAccessTokenLifespan":null}"#,
];

fn patterns(texts: &[&str]) -> Vec<ScopePattern> {
    texts.iter().map(|text| ScopePattern::parse(text).unwrap()).collect()
}

fn random_settings(random: &mut Random) -> Settings {
    let names = random.some(&AUDIENCES);
    let audience: Vec<_> = names.iter().map(|name| Audience::parse(name).unwrap()).collect();
    let mut scope = patterns(&random.some(&SCOPES));
    let audience_scopes = (random.below(3) > 0).then(|| {
        let mut map = AudienceScopes::new();
        for audience in &audience {
            if random.below(4) > 0 {
                let held = scope.iter().filter(|_| random.below(2) == 0).cloned().collect();
                map.insert(audience.clone(), held);
            }
        }
        map
    });
    if random.below(3) == 0 {
        scope.reverse();
    }
    let extra = serde_json::from_str::<serde_json::Map<_, _>>(random.one(&EXTRA)).unwrap();
    let lifetime = extra.get("clientCredentialsGrantAccessTokenLifespan").and_then(Value::as_str);
    let lifetime = lifetime.map(str::to_owned).or_else(|| {
        let is_null = extra.contains_key("clientCredentialsGrantAccessTokenLifespan");
        (!is_null && random.below(2) == 0).then(|| random.one(&["15m", "90s", "1s 500ms", "4h"]).to_owned())
    });
    Settings {
        name: random.one(&NAMES).to_owned(),
        enabled: [None, Some(true), Some(false)][random.below(3)],
        scope,
        audience,
        audience_scopes,
        token_lifetime: lifetime.map(|text| Span::parse(&text).unwrap()),
        restrictions: Restrictions {
            networks: random
                .some(&["192.0.2.0/24", "2001:db8::/32"])
                .iter()
                .map(|text| Network::parse(text).unwrap())
                .collect(),
            not_before: (random.below(3) == 0)
                .then(|| UnixTime::from_millis(1_700_000_000_000 + random.below(10_000) as i64)),
            not_after: (random.below(3) == 0).then(|| UnixTime::from_secs(4_000_000_000)),
            tokens_a_minute: (random.below(2) == 0).then(|| 1 + random.below(6000) as u32),
        },
        extra,
    }
}

fn random_service(random: &mut Random, audience: &str) -> Service {
    let mut service = Service::new(Audience::parse(audience).unwrap());
    service.description = random.one(&NAMES).to_owned();
    for action in SCOPES.iter().filter(|scope| !scope.ends_with(".*")) {
        if random.below(2) == 0 {
            service.add_action(Scope::parse(action).unwrap(), random.one(&NAMES).to_owned()).unwrap();
        }
    }
    if let Some(action) = service.actions.keys().next().cloned() {
        let ends_at = UnixTime::from_millis(1_900_000_000_000 + random.below(2000) as i64);
        service.rename_action(action.as_str(), Scope::parse("new-name").unwrap(), ends_at).unwrap();
    }
    service
}

#[test]
fn an_export_that_is_applied_changes_nothing_and_makes_the_same_elsewhere() {
    let now = UnixTime::from_secs(1_790_000_000);
    let origin = Origin::of("test");
    let process = Process::start();
    let store = Store::open(&process.path("m2mint.db"), None).unwrap();
    for seed in 0..12 {
        let mut random = Random(seed);
        for client in 0..8 {
            let id = format!("client {seed}/{client}").replace(' ', ["-", "'", ".", "\\"][random.below(4)]);
            let id = Some(ClientId::parse(&id).unwrap());
            let new = NewClient {
                id,
                secret: None,
                secret_expires_at: None,
                settings: random_settings(&mut random),
            };
            administration::create_client(&store, new, now, Span::parse("24h").unwrap(), &origin).unwrap();
        }
    }
    // Registered after the clients, so that some of them do not fit.
    for (seed, audience) in AUDIENCES.iter().enumerate().skip(1) {
        let service = random_service(&mut Random(seed as u64), audience);
        services::add_service(&store, &service, now, &origin).unwrap();
    }
    drop(store);
    let exported = process.verb(&["export"]);
    let said = told(&apply(&process, &exported, &["--prune", "--yes", "--detailed-exitcode"]), 0);
    assert!(said.contains("nothing to change"), "{said}");
    assert_eq!(process.verb_json(&["export", "--json"])["toml"], exported);
    // Elsewhere, clients first: what does not fit stays as it is there too.
    let other = Process::start();
    let (services, clients) = exported.split_at(exported.find("[clients").unwrap());
    told(&apply(&other, clients, &["--secrets-dir", "secrets"]), 0);
    told(&apply(&other, services, &[]), 0);
    let sorted = |text: &str| {
        let mut tables: Vec<_> = text.split("\n\n").map(|table| table.trim().to_owned()).collect();
        tables.sort();
        tables
    };
    assert_eq!(sorted(&other.verb(&["export"])), sorted(&exported));
}

//! Secrets that will not be accepted much longer, and who still uses them.

use m2mint::administration;
use m2mint::model::ClientSecret;
use m2mint::model::audit::Origin;
use m2mint::store::Store;
use m2mint_keys::time::UnixTime;
use serde_json::json;

use crate::support::http::{KeptAlive, form};
use crate::support::in_process::START;
use crate::support::{Answer, Client, Process, Server};

const DAY: i64 = 86_400;
/// `START` and a day, as HTTP writes it.
const TOMORROW: &str = "Sat, 16 Jan 2027 08:00:00 GMT";

fn buy(server: &Server, client: &Client, from: &str) -> Answer {
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", &*client.id),
        ("client_secret", &*client.secret),
    ];
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("x-forwarded-for", from)];
    let answer = KeptAlive::new().call("POST", &server.token_url(), &headers, form(&fields).as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// Rotates the secret: the old one is accepted for a day.
fn rotate(server: &Server, client: &Client) -> Client {
    let store = Store::open(&server.database(), None).unwrap();
    let secret = ClientSecret::generate().unwrap();
    let until = UnixTime::from_secs(START.secs() + DAY);
    administration::rotate_secrets(&store, &client.id, &secret, START, until, &Origin::of("test")).unwrap();
    server.settle();
    Client { secret: secret.expose().into(), ..client.clone() }
}

fn metric(server: &Server, name: &str) -> Vec<String> {
    let text = server.admin("GET", "/metrics", &json!(null)).body;
    text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
}

#[test]
fn a_token_that_was_bought_with_a_secret_that_ends_says_when() {
    let server = Server::start();
    let old = server.client(&json!({"audience": ["event"]}));
    assert_eq!(buy(&server, &old, "192.0.2.1").header("sunset"), None);
    let new = rotate(&server, &old);
    assert_eq!(buy(&server, &old, "192.0.2.1").header("sunset"), Some(TOMORROW));
    assert_eq!(buy(&server, &new, "192.0.2.1").header("sunset"), None);
    let input = json!({
        "iss": "https://api.example",
        "inputBody": {
            "grant_type": "client_credentials", "client_id": old.id, "client_secret": old.secret,
        },
    });
    let answer = server.admin("POST", "/recipe/oauth/token", &input);
    assert_eq!((answer.status, answer.header("sunset")), (200, Some(TOMORROW)), "{answer:?}");
}

#[test]
fn who_still_uses_an_old_secret_is_seen_in_metrics_and_in_the_list() {
    let server = Server::start();
    let old = server.client(&json!({"clientId": "task", "audience": ["event"]}));
    let new = rotate(&server, &old);
    assert_eq!(metric(&server, "m2mint_retiring_secret_uses_total"), ["m2mint_retiring_secret_uses_total 0"]);
    buy(&server, &new, "192.0.2.9");
    assert_eq!(metric(&server, "m2mint_retiring_secret_uses_total"), ["m2mint_retiring_secret_uses_total 0"]);
    buy(&server, &old, "192.0.2.1");
    server.pass(120);
    buy(&server, &old, "192.0.2.2");
    server.pass(120);
    assert_eq!(metric(&server, "m2mint_retiring_secret_uses_total"), ["m2mint_retiring_secret_uses_total 2"]);
    assert_eq!(
        metric(&server, "m2mint_retiring_secret_end_seconds{"),
        ["m2mint_retiring_secret_end_seconds{client=\"task\",secret=\"1\"} 86160"]
    );
    assert_eq!(
        metric(&server, "m2mint_retiring_secret_addresses{"),
        ["m2mint_retiring_secret_addresses{client=\"task\",secret=\"1\"} 2"]
    );
    let store = Store::open(&server.database(), None).unwrap();
    let secrets = administration::secrets(&store, "task").unwrap();
    let from: Vec<_> = secrets.iter().map(|secret| secret.last_used_from.unwrap().to_string()).collect();
    assert_eq!(from, ["192.0.2.2", "192.0.2.9"]);
    server.pass(DAY);
    assert_eq!(metric(&server, "m2mint_retiring_secret_end_seconds{"), [""; 0]);
}

#[test]
fn the_log_says_from_where_an_old_secret_is_still_used() {
    let process = Process::start();
    let old = process.client();
    process.token(&old);
    process.verb(&["secrets", "rotate", &old.id, "--grace", "1h", "--to-file", "new-secret"]);
    let said = "a secret that will soon not be accepted any more is still used";
    assert!(!process.log.lock().contains(said));
    let new = std::fs::read_to_string(process.path("new-secret")).unwrap();
    let new = Client { secret: new.trim().into(), ..old.clone() };
    process.wait_until("the new secret counts", || process.try_token(&new).is_ok());
    process.wait_until("the old one is noticed", || {
        process.token(&old);
        process.log.lock().contains(said)
    });
    let log = process.log.lock().clone();
    let line = log.lines().find(|line| line.contains(said)).unwrap();
    assert!(line.contains(&old.id) && line.contains("127.0.0.1"), "{line}");
    assert!(!log.contains(&old.secret) && !log.contains(&new.secret));
}

//! Who has the next key: which verifiers fetched the key set, and rotations that wait for them.

use m2mint::model::verifier::{Agent, Verifier, Who};
use m2mint::rotation::verifiers::{MOST, MOST_AT_ONE_PLACE, Reach};
use m2mint::store::keys::KeyRequest;
use m2mint::store::{Store, keys};
use m2mint_keys::jwk::Kid;
use serde_json::Value;

use crate::support::{Process, Server, call, get, process};

const HOUR: i64 = 3600;
const A: i64 = 25 * HOUR;

/// Fetches the key set as the verifier `agent` does.
#[track_caller]
fn fetch(server: &Server, agent: &str) {
    fetch_from(server, agent, "10.0.0.7");
}

/// The same, behind a proxy, from `address`.
#[track_caller]
fn fetch_from(server: &Server, agent: &str, address: &str) {
    let headers = [("user-agent", agent), ("x-forwarded-for", address)];
    assert_eq!(call("GET", &server.endpoint("/auth/jwt/jwks.json"), &headers, b"").status, 200);
}

/// A verifier that fetches the key set, and again two minutes later.
#[track_caller]
fn becomes_known(server: &Server, agent: &str) {
    fetch(server, agent);
    server.pass(120);
    fetch(server, agent);
}

/// Rotates, asks for the next rotation at once, and answers which key that one waits for.
fn asked_too_early(server: &Server) -> String {
    server.rotate();
    let standby = server.kids()[1].clone();
    server.rotate();
    standby
}

fn reach(server: &Server) -> Reach {
    let ring = Store::open(&server.database(), None).unwrap().read(keys::rings).unwrap().remove(0);
    let keeper = server.keeper();
    keeper.verifiers().reach(&ring, &keeper.settings().policy, keeper.moment().wall)
}

/// What a verb says of the file of `server`, beside it.
#[track_caller]
fn verb(server: &Server, arguments: &[&str]) -> String {
    let database = server.database();
    let mut command = process::command(database.parent().unwrap());
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn agents(verifiers: &[Verifier]) -> Vec<&str> {
    verifiers.iter().map(|verifier| verifier.who.agent.as_str()).collect()
}

#[test]
fn who_fetched_the_key_set_since_the_standby_is_in_it_has_it() {
    let server = Server::start();
    becomes_known(&server, "calendar");
    becomes_known(&server, "file");
    assert_eq!(reach(&server).lacking, []);
    server.rotate();
    assert_eq!(agents(&reach(&server).lacking), ["calendar", "file"]);
    fetch(&server, "calendar");
    let reach = reach(&server);
    assert_eq!((agents(&reach.having), agents(&reach.lacking)), (vec!["calendar"], vec!["file"]));
    assert_eq!(reach.lacking[0].who.place(), "10.0.0.7");
}

#[test]
fn whoever_only_looks_whether_the_key_set_can_be_had_is_no_verifier() {
    let server = Server::start();
    becomes_known(&server, m2mint::outgoing::AGENT);
    assert_eq!(reach(&server).known(), 0);
    becomes_known(&server, "m2mint-keys/0.1.0");
    assert_eq!(reach(&server).known(), 1);
}

#[test]
fn who_is_told_that_nothing_changed_has_it_as_well() {
    let server = Server::start();
    becomes_known(&server, "calendar");
    server.rotate();
    let url = server.endpoint("/auth/jwt/jwks.json");
    let etag = get(&url).header("etag").unwrap().to_owned();
    let headers = [("user-agent", "calendar"), ("x-forwarded-for", "10.0.0.7"), ("if-none-match", &*etag)];
    assert_eq!(call("GET", &url, &headers, b"").status, 304);
    let reach = reach(&server);
    assert_eq!((agents(&reach.having), reach.lacking.len()), (vec!["calendar"], 0));
    assert_eq!(reach.having[0].held.etag, etag);
}

#[test]
fn verifiers_of_one_algorithm_count_in_its_ring_only() {
    let server = Server::with(&[("audiences", "event ES256")]);
    let url = server.endpoint("/auth/jwt/jwks.json?alg=ES256");
    let headers = [("user-agent", "haproxy")];
    assert_eq!(call("GET", &url, &headers, b"").status, 200);
    server.pass(120);
    assert_eq!(call("GET", &url, &headers, b"").status, 200);
    let rings = Store::open(&server.database(), None).unwrap().read(keys::rings).unwrap();
    let keeper = server.keeper();
    let known = |at: usize| {
        let (having, lacking) =
            keeper.verifiers().count(&rings[at], &keeper.settings().policy, keeper.moment().wall);
        (rings[at].algorithm().name(), having, lacking)
    };
    let mut all = [known(0), known(1)];
    all.sort_unstable();
    assert_eq!(all, [("ES256", 1, 0), ("EdDSA", 0, 0)]);
}

#[test]
fn a_rotation_waits_for_a_known_verifier_that_lacks_the_standby_and_no_longer() {
    let server = Server::with(&[("rotation.wait_for_verifiers", "3d")]);
    becomes_known(&server, "calendar");
    let standby = asked_too_early(&server);
    server.pass(A);
    assert_ne!(server.kids()[0], standby, "the verifier has not fetched it");
    let status = server.keeper().status();
    assert!(status.contains("rotation queued, in 3d: a known verifier has not fetched"), "{status}");
    server.pass(26 * HOUR);
    fetch(&server, "calendar");
    server.settle();
    assert_eq!(server.kids()[0], standby, "it has it now");
}

#[test]
fn a_verifier_that_never_comes_again_holds_up_a_rotation_for_so_long_and_no_longer() {
    let server = Server::with(&[("rotation.wait_for_verifiers", "3d")]);
    becomes_known(&server, "calendar");
    let standby = asked_too_early(&server);
    server.pass(A + 72 * HOUR - 1);
    assert_ne!(server.kids()[0], standby);
    server.pass(1);
    assert_eq!(server.kids()[0], standby);
}

#[test]
fn a_stranger_who_fetches_once_holds_up_nothing() {
    let server = Server::with(&[("rotation.wait_for_verifiers", "3d")]);
    fetch(&server, "stranger");
    fetch(&server, "stranger");
    let standby = asked_too_early(&server);
    server.pass(A);
    assert_eq!(server.kids()[0], standby);
}

#[test]
fn who_waits_for_nobody_rotates_as_soon_as_the_rule_allows() {
    let server = Server::start();
    becomes_known(&server, "calendar");
    let standby = asked_too_early(&server);
    server.pass(A);
    assert_eq!(server.kids()[0], standby);
}

#[test]
fn a_revocation_waits_for_nobody() {
    let server = Server::with(&[("rotation.wait_for_verifiers", "3d")]);
    becomes_known(&server, "calendar");
    server.rotate();
    let kids = server.kids();
    let request = KeyRequest::Revoke(Kid::parse(&kids[0]).unwrap());
    let store = Store::open(&server.database(), None).unwrap();
    store.write(|db| keys::ask(db, &request, server.keeper().moment().wall)).unwrap();
    server.settle();
    assert_eq!(server.kids()[0], kids[1]);
}

#[test]
fn verifiers_are_known_across_restarts() {
    let mut server = Server::with(&[("rotation.wait_for_verifiers", "3d")]);
    becomes_known(&server, "calendar");
    fetch(&server, "stranger");
    server.rotate();
    server.rotate();
    server.restart();
    assert_eq!(agents(&reach(&server).lacking), ["calendar"]);
    let signing = server.kids()[0].clone();
    server.pass(A);
    assert_eq!(server.kids()[0], signing, "it is still waited for");
}

#[test]
fn a_verifier_that_is_gone_for_long_counts_no_more() {
    let server = Server::start();
    becomes_known(&server, "calendar");
    server.pass(7 * 24 * HOUR);
    assert_eq!(reach(&server).known(), 1);
    server.pass(60);
    assert_eq!(reach(&server).known(), 0);
    let store = Store::open(&server.database(), None).unwrap();
    assert_eq!(store.read(m2mint::store::verifiers::all).unwrap(), []);
}

#[test]
fn strangers_do_not_displace_verifiers_and_take_no_more_room_than_there_is() {
    let server = Server::start();
    becomes_known(&server, "calendar");
    let store = Store::open(&server.database(), None).unwrap();
    for number in 0..MOST + 50 {
        let who = Who {
            // Each in a /64 of its own.
            address: Some(std::net::Ipv6Addr::from((number as u128) << 64).into()),
            agent: Agent::of("stranger"),
            alg: None,
        };
        let held = std::sync::Arc::clone(&server.keeper().published().all.held);
        server.keeper().verifiers().note(who, &held, server.keeper().moment().wall);
    }
    server.pass(120);
    assert_eq!(agents(&reach(&server).having), ["calendar"]);
    assert_eq!(server.keeper().verifiers().len(), MOST);
    assert_eq!(store.read(m2mint::store::verifiers::all).unwrap().len(), 1, "strangers are not written down");
}

#[test]
fn one_place_does_not_take_the_room_of_others() {
    let server = Server::start();
    becomes_known(&server, "calendar");
    let visit = || {
        for number in 0..MOST_AT_ONE_PLACE + 50 {
            let who = Who {
                address: Some(std::net::Ipv6Addr::from(number as u128).into()),
                agent: Agent::of(&format!("made up {number}")),
                alg: None,
            };
            let held = std::sync::Arc::clone(&server.keeper().published().all.held);
            server.keeper().verifiers().note(who, &held, server.keeper().moment().wall);
        }
    };
    visit();
    server.pass(120);
    visit();
    assert_eq!(server.keeper().verifiers().len(), MOST_AT_ONE_PLACE + 1);
    assert!(agents(&reach(&server).having).contains(&"calendar"));
}

#[test]
fn keys_tell_who_lacks_the_standby() {
    let server = Process::start();
    let told = server.verb(&["keys", "verifiers"]);
    assert!(told.contains("no verifier is known"), "{told}");

    let server = Server::start();
    becomes_known(&server, "PyJWT/2.15");
    becomes_known(&server, "jose/6");
    server.rotate();
    server.pass(26 * HOUR);
    fetch(&server, "jose/6");
    server.pass(60);
    let shown = verb(&server, &["keys"]);
    assert!(
        shown.contains("1 of 2 known verifiers have the standby; 10.0.0.7 (PyJWT/2.15) does not, last seen "),
        "{shown}"
    );
    let listed: Value = serde_json::from_str(&verb(&server, &["keys", "verifiers", "--json"])).unwrap();
    let verifiers = listed["rings"][0]["verifiers"].as_array().unwrap();
    assert_eq!(
        (&verifiers[0]["user_agent"], &verifiers[0]["has_standby"]),
        (&"PyJWT/2.15".into(), &false.into())
    );
    assert_eq!((&verifiers[1]["user_agent"], &verifiers[1]["has_standby"]), (&"jose/6".into(), &true.into()));
    let mut doctor = process::command(server.database().parent().unwrap());
    let examined = doctor.args(["doctor", "--offline", "--json"]).output().unwrap();
    let examined: Value = serde_json::from_slice(&examined.stdout).unwrap();
    let findings = examined["findings"].as_array().unwrap();
    let verifiers = findings.iter().find(|finding| finding["check"] == "verifiers").unwrap();
    assert_eq!(verifiers["level"], "warning", "{verifiers}");
}

#[test]
fn the_admin_api_tells_who_has_the_next_key() {
    let server = Server::start();
    becomes_known(&server, "calendar");
    becomes_known(&server, "file");
    server.rotate();
    fetch(&server, "file");
    server.pass(60);
    let answer = server.admin("GET", "/admin/v1/keys", &Value::Null);
    let told = &serde_json::from_str::<Value>(&answer.body).unwrap()["verifiers"][0];
    assert_eq!((&told["known"], &told["haveStandby"]), (&2.into(), &1.into()), "{told}");
    assert_eq!(told["verifiers"][0]["userAgent"], "calendar");
    assert_eq!(told["verifiers"][0]["address"], "10.0.0.7");
    assert_eq!(told["verifiers"][0]["hasStandby"], false);
}

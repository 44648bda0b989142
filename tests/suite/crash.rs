//! Killed at random points of rotations: the file is always whole, and every token issued before still verifies.

use std::sync::Arc;
use std::time::Duration;

use m2mint_keys::signing_key::Algorithm;
use rustix::process::Signal;

use crate::support::Process;
use crate::support::token::{claims, now, verify};

const ROUNDS: u32 = 50;

/// Tokens that outlive the test, and keys that may be rotated every second.
const SETTINGS: [(&str, &str); 5] = [
    ("M2MINT_ROTATION__PROPAGATION", "1s"),
    ("M2MINT_ROTATION__CLOCK_SKEW", "0s"),
    ("M2MINT_ROTATION__EVERY", "never"),
    ("M2MINT_TOKEN__LIFETIME", "3s"),
    ("M2MINT_TOKEN__MAX_LIFETIME", "3s"),
];

#[test]
fn killed_in_fifty_rotations_the_file_stays_whole() {
    kill_in_rotations(Algorithm::EdDsa);
}

#[test]
fn killed_in_fifty_rotations_of_two_rings_the_file_stays_whole() {
    kill_in_rotations(Algorithm::Es256);
}

fn kill_in_rotations(alg: Algorithm) {
    let audience = format!("event {}", alg.name());
    let rings = if alg == Algorithm::EdDsa { vec![alg] } else { vec![Algorithm::EdDsa, alg] };
    let settings = [&SETTINGS[..], &[("M2MINT_AUDIENCES", &audience)]].concat();
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let mut tokens: Vec<String> = Vec::new();
    let mut client = None;
    let mut active = std::collections::HashSet::new();
    let mut round = 0;
    // A rotation waits for A and for room: on a quick machine, most rounds meet one that is queued.
    while round < ROUNDS || active.len() <= 3 * rings.len() {
        assert!(round < 20 * ROUNDS, "rotations do not happen: {active:?}");
        let server = Process::again(Arc::clone(&directory), &settings);
        let client = client.get_or_insert_with(|| server.client());
        let keys = server.verb_json(&["keys", "--json"]);
        // The file has a new key a moment before the server tells of it.
        let is_in = |jwks: &str| {
            let published = keys["keys"].as_array().unwrap().iter();
            published
                .filter(|key| key["state"] == "standby")
                .all(|key| jwks.contains(key["kid"].as_str().unwrap()))
        };
        server.wait_until("the standby is published", || is_in(&server.jwks()));
        let jwks = server.jwks();
        for ring in &rings {
            let keys = keys["keys"].as_array().unwrap().iter().filter(|key| key["alg"] == ring.name());
            let in_state = |state: &str| {
                let keys = keys.clone().filter(|key| key["state"] == state);
                keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
            };
            let (signing, next) = (in_state("active"), in_state("standby"));
            assert_eq!((signing.len(), next.len()), (1, 1), "round {round}: {jwks}");
            assert!(jwks.contains(&signing[0]) && jwks.contains(&next[0]), "round {round}: {jwks}");
            assert!(keys.count() <= 4, "round {round}: {jwks}");
            active.extend(signing);
        }
        tokens.retain(|token| claims(token)["exp"].as_i64().unwrap() > now().secs());
        for token in &tokens {
            assert!(
                verify(token, &jwks, now()).is_ok() || claims(token)["exp"].as_i64().unwrap() <= now().secs(),
                "round {round}"
            );
        }
        tokens.extend((0..5).map(|_| server.token(client)));
        server.signal(Signal::USR1);
        // From before the first write to after the last: each round a little later, in no order.
        std::thread::sleep(Duration::from_micros(u64::from(round * 7919 % ROUNDS) * 400));
        server.kill();
        let file = rusqlite::Connection::open(directory.path().join("m2mint.db")).unwrap();
        let check: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok", "round {round}");
        round += 1;
    }
    println!("{}: {round} rounds, {} different keys signed", alg.name(), active.len());
}

//! The rotation rule, seen from outside, by a clock that the test moves. A = 25 h, L = 1 h, s = 60 s.

use std::time::{Duration, Instant};

use m2mint::store::Store;
use m2mint::store::keys::{self, KeyRequest};
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::time::UnixTime;
use serde_json::json;

use crate::support::in_process::START;
use crate::support::token::{kid, verify};
use crate::support::{Server, get};

const HOUR: i64 = 3600;
const A: i64 = 25 * HOUR;

/// Runs every test in the ring of each algorithm.
macro_rules! in_both_rings {
    ($($test:ident,)*) => {
        mod eddsa {
            $(#[test] fn $test() { super::$test(m2mint_keys::signing_key::Algorithm::EdDsa) })*
        }
        mod es256 {
            $(#[test] fn $test() { super::$test(m2mint_keys::signing_key::Algorithm::Es256) })*
        }
    };
}

in_both_rings! {
    a_new_server_signs_with_one_key_and_publishes_the_next_beside_it,
    the_first_standby_may_sign_at_once_because_every_verifier_has_it,
    a_rotation_that_comes_too_early_waits_until_every_verifier_can_know_the_standby,
    a_queued_rotation_survives_a_restart,
    a_token_signed_before_promotion_still_verifies_after_until_it_expires,
    the_timer_rotates,
    a_key_is_kept_as_long_as_the_longest_lifetime_that_it_ever_signed,
    at_most_four_keys_are_published,
    a_clock_that_jumps_neither_promotes_nor_deletes_early_and_locks_nobody_out,
    a_token_signed_by_a_clock_that_ran_ahead_is_not_outlived_by_its_key,
    a_reboot_earns_no_credit,
    time_while_no_server_ran_counts_when_the_machine_did,
}

/// A server whose tokens for `event` are signed with `alg`, and which looks at the keys of that ring.
#[track_caller]
fn server(alg: Algorithm, settings: &[(&str, &str)]) -> Server {
    let audience = format!("event {}", alg.name());
    let mut server = Server::with(&[settings, &[("audiences", &audience)]].concat());
    server.alg = Some(alg);
    server
}

fn jwks(server: &Server) -> String {
    get(&server.endpoint("/auth/jwt/jwks.json")).body
}

fn after(seconds: i64) -> UnixTime {
    UnixTime::from_secs(START.secs() + seconds)
}

fn a_new_server_signs_with_one_key_and_publishes_the_next_beside_it(alg: Algorithm) {
    let server = server(alg, &[]);
    assert_eq!(server.kids().len(), 2);
    assert_eq!(kid(&server.token(&server.task_service())), server.kids()[0]);
}

fn the_first_standby_may_sign_at_once_because_every_verifier_has_it(alg: Algorithm) {
    let server = server(alg, &[]);
    let before = server.kids();
    server.rotate();
    let now = server.kids();
    assert_eq!((&now[0], &now[2], now.len()), (&before[1], &before[0], 3));
    assert!(!before.contains(&now[1]), "a new standby");
}

fn a_rotation_that_comes_too_early_waits_until_every_verifier_can_know_the_standby(alg: Algorithm) {
    let server = server(alg, &[]);
    server.rotate();
    let before = server.kids();
    server.rotate();
    server.pass(A - 1);
    assert_eq!(server.kids()[..2], before[..2]);
    assert!(server.keeper().status().contains("queued"), "{}", server.keeper().status());
    server.pass(1);
    assert_eq!(server.kids()[0], before[1]);
    assert!(!server.keeper().status().contains("queued"));
}

fn a_queued_rotation_survives_a_restart(alg: Algorithm) {
    let mut server = server(alg, &[]);
    server.rotate();
    let before = server.kids();
    server.rotate();
    server.restart();
    server.pass(A);
    assert_eq!(server.kids()[0], before[1]);
}

fn a_token_signed_before_promotion_still_verifies_after_until_it_expires(alg: Algorithm) {
    let server = server(alg, &[]);
    let client = server.task_service();
    let token = server.token(&client);
    server.rotate();
    for half_hour in [0, 1] {
        server.pass(half_hour * HOUR / 2);
        assert!(verify(&token, &jwks(&server), after(half_hour * HOUR / 2)).is_ok());
        assert!(server.is_active(&token));
    }
    server.pass(HOUR / 2 - 1);
    assert!(verify(&token, &jwks(&server), after(HOUR - 1)).is_ok());
    // L + s after its last signature, and a tick's grace for what the file was told ahead of time.
    server.pass(HOUR);
    assert_eq!(server.kids().len(), 2);
}

fn the_timer_rotates(alg: Algorithm) {
    let server = server(alg, &[("rotation.every", "30d")]);
    let before = server.kids();
    server.pass(30 * 86_400 - 1);
    assert_eq!(server.kids(), before);
    server.pass(1);
    assert_eq!(server.kids()[0], before[1]);
}

fn a_key_is_kept_as_long_as_the_longest_lifetime_that_it_ever_signed(alg: Algorithm) {
    let mut server = server(alg, &[]);
    let client = server.client(&json!({"audience": ["event"], "scope": "event.create", "clientCredentialsGrantAccessTokenLifespan": "20h"}));
    let token = server.token(&client);
    // Today's configuration no longer allows what that token has.
    server.admin("POST", "/recipe/oauth/clients/remove", &json!({"clientId": client.id}));
    server.restart_with(&[("token.max_lifetime", "1h"), ("token.lifetime", "10m")]).unwrap();
    server.rotate();
    server.pass(20 * HOUR - 1);
    assert!(verify(&token, &jwks(&server), after(20 * HOUR - 1)).is_ok());
    server.pass(HOUR);
    assert!(verify(&token, &jwks(&server), after(20 * HOUR - 1)).is_err());
}

fn at_most_four_keys_are_published(alg: Algorithm) {
    let server = server(
        alg,
        &[("rotation.propagation", "1s"), ("rotation.every", "never"), ("token.lifetime", "24h")],
    );
    for _ in 0..6 {
        server.rotate();
        server.pass(10);
        assert!(server.kids().len() <= 4, "{:?}", server.kids());
    }
    let held_up = server.kids();
    server.rotate();
    assert_eq!(server.kids(), held_up);
    assert!(server.keeper().status().contains("at most 4"), "{}", server.keeper().status());
    // The oldest goes, and what waited for that happens.
    server.pass(25 * HOUR);
    assert_ne!(server.kids()[0], held_up[0]);
}

fn a_clock_that_jumps_neither_promotes_nor_deletes_early_and_locks_nobody_out(alg: Algorithm) {
    let ten_years = 10 * 365 * 86_400_000;
    for jump in [ten_years, -ten_years, HOUR * 1000, -HOUR * 1000, 1000, -1000] {
        let mut server = server(alg, &[]);
        let client = server.task_service();
        let token = server.token(&client);
        server.rotate();
        server.rotate();
        let before = server.kids();
        server.clock.jump(jump);
        server.settle();
        assert_eq!(server.kids(), before, "{jump}: nothing early");
        server.restart();
        assert_eq!(server.kids(), before, "{jump}: nothing early after a restart");
        server.clock.jump(-jump);
        server.settle();
        assert_eq!(server.kids(), before, "{jump}: nor on the way back");
        assert!(verify(&token, &jwks(&server), START).is_ok());
        assert!(verify(&server.token(&client), &jwks(&server), START).is_ok());
        server.pass(A);
        assert_eq!(server.kids()[0], before[1], "{jump}: and the queue goes on");
    }
}

fn a_token_signed_by_a_clock_that_ran_ahead_is_not_outlived_by_its_key(alg: Algorithm) {
    let server = server(alg, &[]);
    let client = server.task_service();
    let day = 86_400;
    server.clock.jump(day * 1000);
    let token = server.token(&client);
    server.rotate();
    server.clock.jump(-day * 1000);
    // By the clock as it is now, that token lives for a day and an hour.
    server.pass(day);
    assert!(verify(&token, &jwks(&server), after(day)).is_ok());
    server.pass(2 * HOUR);
    assert!(verify(&token, &jwks(&server), after(day)).is_err());
}

fn a_reboot_earns_no_credit(alg: Algorithm) {
    let mut server = server(alg, &[]);
    server.rotate();
    server.rotate();
    let before = server.kids();
    server.stop();
    server.clock.reboot(A * 1000);
    server.restart();
    assert_eq!(server.kids(), before, "the time between has no witness");
    server.pass(A);
    assert_eq!(server.kids()[0], before[1]);
}

fn time_while_no_server_ran_counts_when_the_machine_did(alg: Algorithm) {
    let mut server = server(alg, &[]);
    server.rotate();
    server.rotate();
    let before = server.kids();
    server.stop();
    server.clock.pass(A * 1000);
    server.restart();
    assert_eq!(server.kids()[0], before[1]);
}

#[test]
fn a_configuration_that_breaks_the_rule_is_refused_with_the_numbers() {
    for (settings, numbers) in [
        (&[("rotation.propagation", "0s")][..], &["0s"][..]),
        (&[("rotation.every", "24h")], &["24h", "25h"]),
        (&[("rotation.every", "25h"), ("token.max_lifetime", "90h")], &["25h", "90h"]),
    ] {
        let flags =
            settings.iter().map(|(key, value)| ("--set".into(), (*key).into(), (*value).into())).collect();
        let sources = m2mint::config::Sources { flags, ..m2mint::config::Sources::default() };
        let problems = m2mint::config::load(&sources).unwrap_err().to_string();
        assert!(numbers.iter().all(|number| problems.contains(number)), "{problems}");
    }
}

#[test]
fn the_jwks_has_a_strong_etag_that_changes_with_the_keys() {
    let server = Server::start();
    let url = server.endpoint("/auth/jwt/jwks.json");
    let first = get(&url);
    let etag = first.header("etag").unwrap().to_owned();
    assert!(etag.starts_with('"'), "{etag}");
    assert_eq!(first.header("cache-control"), Some("public, max-age=300"));
    let with = |tags: &str| crate::support::call("GET", &url, &[("if-none-match", tags)], b"");
    for tags in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".into()] {
        let answer = with(&tags);
        assert_eq!((answer.status, &*answer.body, answer.header("etag")), (304, "", Some(&*etag)), "{tags}");
    }
    assert_eq!(with("\"other\"").status, 200);
    server.rotate();
    assert_eq!(with(&etag).status, 200);
    assert_eq!(get(&format!("{url}?kid=whatever")).status, 200);
}

#[test]
fn a_request_that_a_refused_change_comes_across_first_is_met() {
    let server = Server::start();
    server.client(&json!({"clientId": "taken"}));
    let verb = Store::open(&server.database(), None).unwrap();
    for _ in 0..10 {
        verb.write(|db| keys::ask(db, &KeyRequest::Rotate(None), START)).unwrap();
        // It takes in what changed in the file, and then says no.
        let refused = server.admin("POST", "/recipe/oauth/clients", &json!({"clientId": "taken"})).json();
        assert_eq!(refused["status"], "OAUTH_ERROR");
        let given_up = Instant::now() + Duration::from_secs(20);
        while !verb.read(keys::requests).unwrap().is_empty() {
            assert!(Instant::now() < given_up, "the request was forgotten");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

//! Key sets from a real server that is slow, down, lying, rotating, or has nothing new.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use m2mint_keys::remote::{Freshness, RemoteError, RemoteJwks, RemoteRejection, RemoteVerifier, Settings};
use m2mint_keys::verify::{Policy, Rejection};
use support::{Fake, Issuer, NOW, Reply, Steady, eventually, run};

const JWKS: &str = "/auth/jwt/jwks.json";
const METADATA: &str = "/auth/.well-known/openid-configuration";
const HOUR: Duration = Duration::from_secs(3600);

fn quick() -> Settings {
    Settings { timeout: Duration::from_secs(10), ..Settings::default() }
}

/// A server that publishes the keys of `issuer`.
fn serves(issuer: &Issuer) -> impl Fn(&support::Request) -> Reply + Send + Sync + 'static + use<> {
    let jwks = issuer.jwks();
    move |_| Reply::ok(jwks.clone()).with("cache-control", "public, max-age=300")
}

/// A verifier by the set at `JWKS`, and the clock that it goes by.
fn verifier(server: &Fake, settings: Settings) -> (RemoteVerifier, RemoteJwks, Steady) {
    let clock = Steady::new();
    let jwks = RemoteJwks::at_with(&server.url(JWKS), settings).unwrap().with_clock(clock.read());
    let policy = Policy { audience: Some("event".into()), ..Policy::default() };
    (RemoteVerifier::new(jwks.clone(), policy).with_cache(16), jwks, clock)
}

async fn check(verifier: &RemoteVerifier, token: &str) -> Result<(), RemoteRejection> {
    verifier.verify(token, NOW).await.map(drop)
}

fn rejected(rejection: Rejection) -> Result<(), RemoteRejection> {
    Err(RemoteRejection::Rejected(rejection))
}

#[test]
fn a_set_is_fetched_once_and_used_for_as_long_as_the_issuer_says() {
    run(async {
        let issuer = Issuer::new();
        let server = Fake::start(serves(&issuer));
        let (verifier, jwks, clock) = verifier(&server, quick());
        assert_eq!(jwks.status().freshness, Freshness::Never);
        for _ in 0..10 {
            check(&verifier, &issuer.token("any")).await.unwrap();
        }
        clock.pass(Duration::from_secs(224));
        check(&verifier, &issuer.token("any")).await.unwrap();
        assert_eq!(server.count(JWKS), 1);
        assert_eq!((jwks.status().freshness, jwks.status().keys), (Freshness::Fresh, 1));
    });
}

#[test]
fn it_is_refreshed_in_the_background_before_it_gets_stale() {
    run(async {
        let issuer = Issuer::new();
        let server = Fake::start(serves(&issuer));
        let (verifier, _, clock) = verifier(&server, quick());
        check(&verifier, &issuer.token("any")).await.unwrap();
        // The second answer does not come before it is allowed to: nobody waits for it.
        let released = Arc::new(AtomicBool::new(false));
        let slowly = serves(&issuer);
        server.now({
            let released = Arc::clone(&released);
            move |request| slowly(request).held_until(&released)
        });
        clock.pass(Duration::from_secs(250));
        for _ in 0..20 {
            check(&verifier, &issuer.token("any")).await.unwrap();
        }
        eventually("one request in the background", || server.count(JWKS) == 2);
        released.store(true, Ordering::SeqCst);
        clock.pass(Duration::from_secs(40));
        eventually("it is fresh again", || {
            let refreshed = run_nested(&verifier, &issuer);
            refreshed && server.count(JWKS) == 2
        });
    });
}

/// Checks a token from a thread that may wait.
fn run_nested(verifier: &RemoteVerifier, issuer: &Issuer) -> bool {
    let (verifier, token) = (verifier.clone(), issuer.token("any"));
    tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(check(&verifier, &token)).is_ok()
    })
}

#[test]
fn a_stale_set_is_asked_for_before_it_is_used() {
    run(async {
        let (old, new) = (Issuer::new(), Issuer::new());
        let server = Fake::start(serves(&old));
        let (verifier, _, clock) = verifier(&server, quick());
        check(&verifier, &old.token("any")).await.unwrap();
        // The old key was revoked while this verifier slept.
        server.now(serves(&new));
        clock.pass(25 * HOUR);
        assert_eq!(check(&verifier, &old.token("any")).await, rejected(Rejection::UnknownKey));
        check(&verifier, &new.token("any")).await.unwrap();
    });
}

#[test]
fn a_set_that_has_not_changed_is_not_sent_again() {
    run(async {
        let issuer = Issuer::new();
        let set = issuer.jwks();
        let server = Fake::start(move |request| match request.header("if-none-match") {
            "\"v1\"" => Reply::status(304).with("cache-control", "max-age=600"),
            _ => Reply::ok(set.clone()).with("etag", "\"v1\"").with("cache-control", "max-age=60"),
        });
        let (verifier, jwks, clock) = verifier(&server, quick());
        check(&verifier, &issuer.token("any")).await.unwrap();
        clock.pass(Duration::from_secs(61));
        check(&verifier, &issuer.token("any")).await.unwrap();
        assert_eq!(server.requests()[1].header("if-none-match"), "\"v1\"");
        clock.pass(Duration::from_secs(400));
        check(&verifier, &issuer.token("any")).await.unwrap();
        assert_eq!((server.count(JWKS), jwks.status().freshness), (2, Freshness::Fresh));
    });
}

#[test]
fn an_issuer_that_forbids_caching_is_asked_once_in_a_cooldown() {
    run(async {
        let issuer = Issuer::new();
        let set = issuer.jwks();
        let server = Fake::start(move |_| Reply::ok(set.clone()).with("cache-control", "no-store"));
        let (verifier, _, clock) = verifier(&server, quick());
        for _ in 0..10 {
            check(&verifier, &issuer.token("any")).await.unwrap();
        }
        assert_eq!(server.count(JWKS), 1);
        clock.pass(Duration::from_secs(31));
        check(&verifier, &issuer.token("any")).await.unwrap();
        assert_eq!(server.count(JWKS), 2);
    });
}

#[test]
fn a_key_that_is_not_known_is_looked_for_at_once() {
    run(async {
        let (old, new) = (Issuer::new(), Issuer::new());
        let server = Fake::start(serves(&old));
        let (verifier, _, clock) = verifier(&server, quick());
        check(&verifier, &old.token("any")).await.unwrap();
        server.now(serves(&new));
        check(&verifier, &new.token("any")).await.unwrap();
        assert_eq!(server.count(JWKS), 2);
        assert_eq!(check(&verifier, &old.token("any")).await, rejected(Rejection::UnknownKey));
        assert_eq!(server.count(JWKS), 2, "not again within the cooldown");
        clock.pass(Duration::from_secs(31));
        assert_eq!(check(&verifier, &old.token("any")).await, rejected(Rejection::UnknownKey));
        assert_eq!(server.count(JWKS), 3);
    });
}

#[test]
fn a_flood_of_forged_kids_costs_the_issuer_one_request_a_cooldown() {
    run(async {
        let issuer = Issuer::new();
        let server = Fake::start(serves(&issuer));
        let (verifier, _, clock) = verifier(&server, quick());
        check(&verifier, &issuer.token("any")).await.unwrap();
        for round in 1..=3 {
            let forged = (0..1000).map(|_| {
                let verifier = verifier.clone();
                tokio::spawn(async move { check(&verifier, &Issuer::new().token("any")).await })
            });
            for outcome in forged.collect::<Vec<_>>() {
                assert_eq!(outcome.await.unwrap(), rejected(Rejection::UnknownKey));
            }
            assert_eq!(server.count(JWKS), 1 + round);
            clock.pass(Duration::from_secs(31));
        }
        check(&verifier, &issuer.token("any")).await.unwrap();
    });
}

#[test]
fn a_good_token_does_not_wait_while_a_forged_one_is_looked_into() {
    run(async {
        let issuer = Issuer::new();
        let server = Fake::start(serves(&issuer));
        let (verifier, _, _) = verifier(&server, quick());
        check(&verifier, &issuer.token("any")).await.unwrap();
        let released = Arc::new(AtomicBool::new(false));
        let slowly = serves(&issuer);
        server.now({
            let released = Arc::clone(&released);
            move |request| slowly(request).held_until(&released)
        });
        let forged = tokio::spawn({
            let verifier = verifier.clone();
            async move { check(&verifier, &Issuer::new().token("any")).await }
        });
        while server.count(JWKS) < 2 {
            tokio::task::yield_now().await;
        }
        check(&verifier, &issuer.token("any")).await.unwrap();
        assert!(!forged.is_finished());
        released.store(true, Ordering::SeqCst);
        assert_eq!(forged.await.unwrap(), rejected(Rejection::UnknownKey));
    });
}

#[test]
fn what_is_no_token_is_never_looked_into() {
    run(async {
        let issuer = Issuer::new();
        let server = Fake::start(serves(&issuer));
        let (verifier, _, _) = verifier(&server, quick());
        check(&verifier, &issuer.token("any")).await.unwrap();
        for nonsense in ["", "a.b", "a.b.c", "e30.e30.e30"] {
            assert!(check(&verifier, nonsense).await.is_err());
        }
        assert_eq!(server.count(JWKS), 1);
    });
}

#[test]
fn many_first_callers_are_one_flight() {
    run(async {
        let issuer = Arc::new(Issuer::new());
        let server = Fake::start(serves(&issuer));
        let (verifier, _, _) = verifier(&server, quick());
        let callers = (0..100).map(|_| {
            let (verifier, issuer) = (verifier.clone(), Arc::clone(&issuer));
            tokio::spawn(async move { check(&verifier, &issuer.token("any")).await })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap().unwrap();
        }
        assert_eq!(server.count(JWKS), 1);
    });
}

#[test]
fn an_issuer_that_is_down_is_bridged_for_a_bounded_time() {
    run(async {
        let issuer = Issuer::new();
        let server = Fake::start(serves(&issuer));
        let (verifier, jwks, clock) = verifier(&server, quick());
        check(&verifier, &issuer.token("any")).await.unwrap();
        server.now(|_| Reply::status(503));
        clock.pass(HOUR);
        check(&verifier, &issuer.token("any")).await.unwrap();
        let status = jwks.status();
        assert_eq!(status.last_error, Some(RemoteError::Status(503)));
        assert_eq!(status.freshness, Freshness::Stale(HOUR - Duration::from_secs(300)));
        // Every hour of the day that is bridged.
        for _ in 1..24 {
            check(&verifier, &issuer.token("any")).await.unwrap();
            clock.pass(HOUR);
        }
        let down = RemoteRejection::Unavailable(RemoteError::Status(503));
        assert_eq!(check(&verifier, &issuer.token("any")).await, Err(down));
        server.now(serves(&issuer));
        clock.pass(Duration::from_secs(31));
        check(&verifier, &issuer.token("any")).await.unwrap();
        assert_eq!(jwks.status().last_error, None);
    });
}

#[test]
fn an_issuer_that_is_down_from_the_start_is_given_time_to_come_back() {
    run(async {
        let issuer = Issuer::new();
        let server = Fake::start(|_| Reply::hang_up());
        let (verifier, jwks, clock) = verifier(&server, quick());
        for _ in 0..10 {
            let outcome = check(&verifier, &issuer.token("any")).await;
            assert!(
                matches!(outcome, Err(RemoteRejection::Unavailable(RemoteError::Unreachable(_)))),
                "{outcome:?}"
            );
        }
        assert_eq!(server.count(JWKS), 1, "asked once in a cooldown");
        assert!(jwks.prefetch().await.is_err());
        server.now(serves(&issuer));
        clock.pass(Duration::from_secs(31));
        check(&verifier, &issuer.token("any")).await.unwrap();
    });
}

#[test]
fn an_issuer_that_is_too_slow_is_not_waited_for() {
    run(async {
        let released = Arc::new(AtomicBool::new(false));
        let server = Fake::start({
            let released = Arc::clone(&released);
            move |_| Reply::ok("{}").held_until(&released)
        });
        let settings = Settings { timeout: Duration::from_millis(100), ..quick() };
        let (verifier, _, _) = verifier(&server, settings);
        let outcome = check(&verifier, &Issuer::new().token("any")).await;
        assert!(
            matches!(outcome, Err(RemoteRejection::Unavailable(RemoteError::Unreachable(_)))),
            "{outcome:?}"
        );
        released.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_set_that_lies_replaces_no_good_one() {
    run(async {
        let issuer = Issuer::new();
        let server = Fake::start(serves(&issuer));
        let (verifier, jwks, clock) = verifier(&server, quick());
        check(&verifier, &issuer.token("any")).await.unwrap();
        let huge = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(64 * 1024));
        let chunked = format!("11000\r\n{}\r\n0\r\n\r\n", "x".repeat(0x11000));
        type Expected = fn(&RemoteError) -> bool;
        let lies: [(Reply, Expected); 8] = [
            (Reply::ok("<html>login</html>"), |error| matches!(error, RemoteError::Malformed(_))),
            (Reply::ok(r#"{"keys":7}"#), |error| matches!(error, RemoteError::Malformed(_))),
            (Reply::ok(r#"{"keys":[]}"#), |error| *error == RemoteError::NoUsableKey),
            (Reply::ok(r#"{"keys":[{"kty":"oct","kid":"a","k":"AAAA"}]}"#), |error| {
                *error == RemoteError::NoUsableKey
            }),
            (Reply::ok(huge), |error| *error == RemoteError::TooLarge),
            (Reply::ok(chunked).with("transfer-encoding", "chunked"), |error| {
                *error == RemoteError::TooLarge
            }),
            (Reply::status(304), |error| {
                *error == RemoteError::Redirected || *error == RemoteError::Status(304)
            }),
            (Reply::status(404), |error| *error == RemoteError::Status(404)),
        ];
        for (lie, expected) in lies {
            server.now(move |_| lie.clone());
            clock.pass(Duration::from_secs(301));
            check(&verifier, &issuer.token("any")).await.unwrap();
            let error = jwks.status().last_error.unwrap();
            assert!(expected(&error), "{error:?}");
        }
    });
}

#[test]
fn a_redirect_is_followed_within_the_host_only() {
    run(async {
        let issuer = Issuer::new();
        let elsewhere = Fake::start(serves(&issuer));
        let target = elsewhere.url(JWKS);
        let server = Fake::start(move |_| Reply::status(302).with("location", target.clone()));
        let (outside, _, _) = verifier(&server, quick());
        let refused = RemoteRejection::Unavailable(RemoteError::Redirected);
        assert_eq!(check(&outside, &issuer.token("any")).await, Err(refused.clone()));
        assert_eq!(elsewhere.requests().len(), 0);

        let set = issuer.jwks();
        server.now(move |request| match &*request.path {
            JWKS => Reply::status(301).with("location", "/moved"),
            _ => Reply::ok(set.clone()),
        });
        let (inside, _, _) = verifier(&server, quick());
        check(&inside, &issuer.token("any")).await.unwrap();

        server.now(|_| Reply::status(302).with("location", JWKS));
        let (around, _, _) = verifier(&server, quick());
        assert_eq!(check(&around, &issuer.token("any")).await, Err(refused));
    });
}

fn discovers(server: &Fake) -> (RemoteVerifier, String) {
    let issuer = server.url("/auth");
    let policy = Policy::new(&*issuer, "event");
    (RemoteVerifier::new(RemoteJwks::discover(&issuer).unwrap(), policy), issuer)
}

#[test]
fn an_issuer_is_found_by_its_metadata() {
    run(async {
        let keys = Issuer::new();
        let server = Fake::start(|_| Reply::status(404));
        for metadata in [METADATA, "/.well-known/oauth-authorization-server/auth"] {
            let (verifier, issuer) = discovers(&server);
            let set = keys.jwks();
            let document = format!(r#"{{"issuer":"{issuer}","jwks_uri":"{}"}}"#, server.url(JWKS));
            server.now(move |request| match &*request.path {
                JWKS => Reply::ok(set.clone()),
                path if path == metadata => Reply::ok(document.clone()),
                _ => Reply::status(404),
            });
            check(&verifier, &keys.token(&issuer)).await.unwrap();
            check(&verifier, &keys.token(&issuer)).await.unwrap();
        }
        assert_eq!(server.count(JWKS), 2);
    });
}

#[test]
fn metadata_that_lies_is_not_believed() {
    run(async {
        let keys = Issuer::new();
        let server = Fake::start(|_| Reply::status(404));
        let issuer = server.url("/auth");
        let good = server.url(JWKS);
        for (document, expected) in [
            (format!(r#"{{"issuer":"{issuer}/","jwks_uri":"{good}"}}"#), RemoteError::WrongIssuer),
            (
                format!(r#"{{"issuer":"https://evil.example.com","jwks_uri":"{good}"}}"#),
                RemoteError::WrongIssuer,
            ),
            (format!(r#"{{"issuer":"{issuer}"}}"#), RemoteError::NoSuchEndpoint("jwks_uri")),
            (
                format!(r#"{{"issuer":"{issuer}","jwks_uri":"http://192.0.2.1/jwks.json"}}"#),
                RemoteError::NotHttps,
            ),
        ] {
            let set = keys.jwks();
            server.now(move |request| match &*request.path {
                METADATA => Reply::ok(document.clone()),
                JWKS => Reply::ok(set.clone()),
                _ => Reply::status(404),
            });
            let (verifier, issuer) = discovers(&server);
            let outcome = check(&verifier, &keys.token(&issuer)).await;
            assert_eq!(outcome, Err(RemoteRejection::Unavailable(expected)));
        }
        assert_eq!(server.count(JWKS), 0);
    });
}

#[test]
fn a_fixed_set_is_never_fetched() {
    run(async {
        let issuer = Issuer::new();
        let jwks = RemoteJwks::fixed(issuer.set.clone());
        let verifier =
            RemoteVerifier::new(jwks.clone(), Policy { audience: Some("event".into()), ..Policy::default() });
        check(&verifier, &issuer.token("any")).await.unwrap();
        assert_eq!(check(&verifier, &Issuer::new().token("any")).await, rejected(Rejection::UnknownKey));
        assert_eq!(jwks.status().freshness, Freshness::Fresh);
    });
}

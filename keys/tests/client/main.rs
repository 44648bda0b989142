//! Tokens from a real server that is slow, down, refusing, or asks to be left alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod middleware;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use m2mint_keys::client::{Secret, TokenError, TokenSource};
use m2mint_keys::remote::{RemoteError, Settings};
use serde_json::json;
use support::{Fake, Reply, Request, Steady, eventually, run};

const TOKEN: &str = "/auth/oauth/token";
const METADATA: &str = "/auth/.well-known/openid-configuration";
const SECRET: &str = "m2s_not-a-real-one";

/// A server with a token endpoint that answers so; its metadata are in order.
fn issuer(token: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Fake {
    let server = Fake::start(|_| Reply::status(404));
    answers(&server, token);
    server
}

fn answers(server: &Fake, token: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
    let metadata = json!({"issuer": server.url("/auth"), "token_endpoint": server.url(TOKEN)}).to_string();
    server.now(move |request| match &*request.path {
        METADATA => Reply::ok(metadata.clone()),
        TOKEN => token(request),
        _ => Reply::status(404),
    });
}

/// Token 1, token 2, and so on, each good for an hour.
fn counting() -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    let count = AtomicU32::new(0);
    move |_| granted(&format!("token-{}", count.fetch_add(1, Ordering::SeqCst) + 1))
}

fn granted(token: &str) -> Reply {
    Reply::ok(
        json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600, "scope": "x"}).to_string(),
    )
}

fn source_with(server: &Fake, secret: Secret) -> (TokenSource, Steady) {
    let clock = Steady::new();
    let settings = Settings { timeout: Duration::from_secs(10), ..Settings::default() };
    let scopes = ["event.view", "event.create"];
    let source =
        TokenSource::with(&server.url("/auth"), "task", secret, "event", &scopes, &settings).unwrap();
    (source.with_clock(clock.read()), clock)
}

fn source(server: &Fake) -> (TokenSource, Steady) {
    source_with(server, Secret::value(SECRET))
}

async fn token(source: &TokenSource) -> Result<String, TokenError> {
    source.token().await.map(|token| token.expose().to_owned())
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

#[test]
fn a_token_is_asked_for_as_rfc_6749_says() {
    run(async {
        let server = issuer(counting());
        let odd = Secret::value("a:b c+d%é");
        let source =
            TokenSource::new(&server.url("/auth"), "task service", odd, "event", &["event.view", "file.*"]);
        assert_eq!(token(&source.unwrap()).await.unwrap(), "token-1");
        let request = server.requests().into_iter().find(|request| request.path == TOKEN).unwrap();
        assert_eq!(
            (&*request.method, request.header("content-type")),
            ("POST", "application/x-www-form-urlencoded")
        );
        assert_eq!(request.body, "grant_type=client_credentials&audience=event&scope=event.view+file.*");
        // "task+service:a%3Ab+c%2Bd%25%C3%A9" in base64: form-encoded first, RFC 6749 §2.3.1.
        assert_eq!(request.header("authorization"), "Basic dGFzaytzZXJ2aWNlOmElM0FiK2MlMkJkJTI1JUMzJUE5");
    });
}

#[test]
fn a_token_is_kept_and_everybody_gets_it() {
    run(async {
        let server = issuer(counting());
        let (source, clock) = source(&server);
        let callers = (0..100).map(|_| {
            let source = source.clone();
            tokio::spawn(async move { token(&source).await })
        });
        for caller in callers.collect::<Vec<_>>() {
            assert_eq!(caller.await.unwrap().unwrap(), "token-1");
        }
        clock.pass(minutes(41));
        assert_eq!(token(&source).await.unwrap(), "token-1");
        assert_eq!((server.count(TOKEN), server.count(METADATA)), (1, 1));
    });
}

#[test]
fn the_next_one_is_fetched_before_the_old_one_ends_and_nobody_waits() {
    run(async {
        let server = issuer(counting());
        let (source, clock) = source(&server);
        token(&source).await.unwrap();
        let released = Arc::new(AtomicBool::new(false));
        answers(&server, {
            let released = Arc::clone(&released);
            move |_| granted("token-2").held_until(&released)
        });
        clock.pass(minutes(49));
        for _ in 0..20 {
            assert_eq!(token(&source).await.unwrap(), "token-1");
        }
        eventually("one request in the background", || server.count(TOKEN) == 2);
        released.store(true, Ordering::SeqCst);
        while token(&source).await.unwrap() != "token-2" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(server.count(TOKEN), 2);
    });
}

#[test]
fn an_issuer_that_is_down_is_bridged_by_the_token_at_hand() {
    run(async {
        let server = issuer(counting());
        let (source, clock) = source(&server);
        token(&source).await.unwrap();
        answers(&server, |_| Reply::hang_up());
        // Until shortly before its end; asked more and more seldom.
        for minute in 1..=59 {
            clock.pass(minutes(1));
            assert_eq!(token(&source).await.unwrap(), "token-1", "minute {minute}");
        }
        clock.pass(minutes(1));
        let error = loop {
            // The one that is under way in the background may still be.
            match token(&source).await {
                Err(error) => break error,
                Ok(token) => assert_eq!(token, "token-1"),
            }
        };
        assert!(matches!(error, TokenError::Unavailable(RemoteError::Unreachable(_))), "{error:?}");
        let asked = server.requests().len();
        assert_eq!(token(&source).await, Err(error), "told again without asking");
        assert_eq!(server.requests().len(), asked);
        answers(&server, |_| granted("token-2"));
        clock.pass(minutes(1));
        assert_eq!(token(&source).await.unwrap(), "token-2");
    });
}

#[test]
fn an_issuer_that_asks_to_be_left_alone_is() {
    run(async {
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(200));
        for (value, at_least) in [("120".to_owned(), 119), (date, 190)] {
            let server = issuer(move |_| Reply::status(503).with("retry-after", value.clone()));
            let (source, clock) = source(&server);
            let busy = Err(TokenError::Unavailable(RemoteError::Status(503)));
            assert_eq!(token(&source).await, busy);
            clock.pass(Duration::from_secs(at_least));
            assert_eq!(token(&source).await, busy);
            assert_eq!(server.count(TOKEN), 1);
            clock.pass(Duration::from_secs(20));
            answers(&server, counting());
            assert_eq!(token(&source).await.unwrap(), "token-1");
        }
    });
}

#[test]
fn waiting_grows_with_each_failure_and_is_bounded() {
    run(async {
        let server = issuer(|_| Reply::status(500));
        let (source, clock) = source(&server);
        // Longer than any wait between two attempts may be.
        for attempt in 1..=12 {
            assert!(token(&source).await.is_err());
            assert_eq!(server.count(TOKEN), attempt);
            clock.pass(Duration::from_millis(499));
            assert!(token(&source).await.is_err());
            assert_eq!(server.count(TOKEN), attempt, "not before half a second");
            clock.pass(Duration::from_secs(60));
        }
        clock.pass(Duration::from_secs(25));
        assert!(token(&source).await.is_err());
        assert!(token(&source).await.is_err());
        assert_eq!(server.count(TOKEN), 13);
    });
}

#[test]
fn a_refusal_says_what_the_issuer_said_and_not_the_secret() {
    run(async {
        let refusal =
            json!({"error": "invalid_client", "error_description": "unknown client, or wrong secret"});
        let server = issuer(move |_| Reply { body: refusal.to_string().into(), ..Reply::status(401) });
        let (source, _) = source(&server);
        let error = source.token().await.unwrap_err();
        assert!(matches!(&error, TokenError::Refused { error, .. } if error == "invalid_client"));
        let told = format!("{error} {error:?} {source:?} {:?}", Secret::value(SECRET));
        assert!(told.contains("unknown client") && !told.contains(SECRET), "{told}");
    });
}

#[test]
fn a_secret_is_read_again_when_its_file_changes() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        let server = issuer(|request| match request.header("authorization") {
            // task:first and task:second
            "Basic dGFzazpmaXJzdA==" => granted("by-the-first"),
            "Basic dGFzazpzZWNvbmQ=" => granted("by-the-second"),
            _ => Reply { body: br#"{"error":"invalid_client"}"#.to_vec(), ..Reply::status(401) },
        });
        let (source, clock) = source_with(&server, Secret::file(&file));
        assert!(matches!(source.token().await, Err(TokenError::Secret(reason)) if reason.contains("secret")));
        std::fs::write(&file, "first\n").unwrap();
        clock.pass(minutes(1));
        assert_eq!(token(&source).await.unwrap(), "by-the-first");
        std::fs::write(&file, "second\n").unwrap();
        clock.pass(minutes(60));
        assert_eq!(token(&source).await.unwrap(), "by-the-second");
        std::fs::write(&file, " \n").unwrap();
        clock.pass(minutes(60));
        assert!(matches!(source.token().await, Err(TokenError::Secret(reason)) if reason.contains("empty")));
    });
}

#[test]
fn what_is_no_answer_of_a_token_endpoint_is_none() {
    run(async {
        for body in [
            "<html>".to_owned(),
            "{}".to_owned(),
            json!({"access_token": "x", "token_type": "DPoP", "expires_in": 60}).to_string(),
            json!({"access_token": "x\r\ny: z", "token_type": "Bearer", "expires_in": 60}).to_string(),
            json!({"access_token": "", "token_type": "Bearer", "expires_in": 60}).to_string(),
            json!({"access_token": "x", "token_type": "Bearer", "expires_in": 0}).to_string(),
            json!({"access_token": "x", "token_type": "Bearer"}).to_string(),
        ] {
            let answer = body.clone();
            let server = issuer(move |_| Reply::ok(answer.clone()));
            let outcome = token(&source(&server).0).await;
            assert!(matches!(outcome, Err(TokenError::Malformed(_))), "{body}: {outcome:?}");
        }
        let server = issuer(|_| Reply::ok("x".repeat(70_000)));
        assert_eq!(token(&source(&server).0).await, Err(TokenError::Unavailable(RemoteError::TooLarge)));
    });
}

#[test]
fn the_secret_goes_nowhere_else() {
    run(async {
        let elsewhere = Fake::start(counting());
        let target = elsewhere.url(TOKEN);
        let server = issuer(move |_| Reply::status(307).with("location", target.clone()));
        let (source, _) = source(&server);
        assert_eq!(token(&source).await, Err(TokenError::Unavailable(RemoteError::Redirected)));
        assert_eq!(elsewhere.requests().len(), 0);
        let plain = TokenSource::new("http://auth.example.com", "task", Secret::value(SECRET), "event", &[]);
        assert_eq!(plain.err(), Some(RemoteError::NotHttps));
    });
}

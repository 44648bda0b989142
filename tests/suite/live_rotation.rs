//! Rotation of the real binary, by signal, under load: nobody is refused.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use m2mint_keys::signing_key::Algorithm;
use parking_lot::Mutex;
use rustix::process::Signal;

use crate::support::Process;
use crate::support::token::{claims, now, part, verify};

const ROTATIONS: usize = 20;
const A: Duration = Duration::from_secs(1);

/// The shortest times that the rule allows, so that rotations follow each other quickly.
pub const QUICK: [(&str, &str); 5] = [
    ("M2MINT_ROTATION__PROPAGATION", "1s"),
    ("M2MINT_ROTATION__CLOCK_SKEW", "0s"),
    ("M2MINT_ROTATION__EVERY", "never"),
    ("M2MINT_TOKEN__LIFETIME", "2s"),
    ("M2MINT_TOKEN__MAX_LIFETIME", "2s"),
];

/// A verifier that caches the JWKS for as long as A allows.
struct Cache {
    jwks: String,
    fetched: Instant,
    keep: Duration,
}

impl Cache {
    fn refresh(&mut self, server: &Process) {
        // What it will still hold at the end of the next check must not be older than A.
        if self.fetched.elapsed() + Duration::from_millis(150) >= self.keep {
            self.fetched = Instant::now();
            self.jwks = server.jwks();
        }
    }
}

#[test]
fn twenty_rotations_by_signal_refuse_nobody() {
    rotate_under_load(Algorithm::EdDsa);
}

#[test]
fn twenty_rotations_by_signal_refuse_nobody_at_an_audience_with_es256() {
    rotate_under_load(Algorithm::Es256);
}

fn rotate_under_load(alg: Algorithm) {
    let audience = format!("event {}", alg.name());
    let server = Process::with(&[&QUICK[..], &[("M2MINT_AUDIENCES", &audience)]].concat());
    let client = server.client();
    let (done, issued, checked) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let (tokens, refused) = (Mutex::new(Vec::<String>::new()), Mutex::new(Vec::<String>::new()));
    let active = || server.active_kid(alg.name());
    assert_eq!(part(&server.token(&client), 0)["alg"], alg.name());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    match server.try_token(&client) {
                        Ok(token) => {
                            issued.fetch_add(1, Ordering::Relaxed);
                            tokens.lock().push(token);
                        }
                        Err(error) => refused.lock().push(error),
                    }
                    std::thread::sleep(Duration::from_millis(15));
                }
            });
        }
        for number in 1..=4_u32 {
            let (server, done, tokens, refused, checked) = (&server, &done, &tokens, &refused, &checked);
            scope.spawn(move || {
                let mut cache = Cache { jwks: server.jwks(), fetched: Instant::now(), keep: A * number / 4 };
                let mut held: Vec<String> = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    held.extend(tokens.lock().iter().rev().take(20).cloned());
                    held.dedup();
                    cache.refresh(server);
                    // Old ones are kept and checked until they expire.
                    held.retain(|token| {
                        let now = now();
                        match verify(token, &cache.jwks, now) {
                            Ok(_) => {
                                checked.fetch_add(1, Ordering::Relaxed);
                                true
                            }
                            Err(_) if claims(token)["exp"].as_i64().unwrap() <= now.secs() => false,
                            Err(error) => {
                                refused.lock().push(format!("verifier {number}: {error}"));
                                false
                            }
                        }
                    });
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        for _ in 0..ROTATIONS {
            let before = active();
            server.signal(Signal::USR1);
            server.wait_until("rotated", || active() != before);
        }
        done.store(true, Ordering::Relaxed);
    });
    let refused = refused.into_inner();
    assert!(refused.is_empty(), "{} refused, such as {:?}", refused.len(), &refused[..refused.len().min(5)]);
    let (issued, checked) = (issued.into_inner(), checked.into_inner());
    println!("{}: {ROTATIONS} rotations, {issued} tokens issued, {checked} checks, 0 refused", alg.name());
    assert!(issued > 500 && checked > 2000, "{issued} issued, {checked} checked");
}

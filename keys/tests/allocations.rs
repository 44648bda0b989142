//! A check of a token allocates little, and one of a token that was seen before nothing.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

use std::alloc::System;

use m2mint_keys::jwk::JwkSet;
use m2mint_keys::signing_key::{Algorithm, SigningKey};
use m2mint_keys::time::UnixTime;
use m2mint_keys::token::{Claims, Minter};
use m2mint_keys::verify::{Policy, Verifier};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

// The only test of this program: another one would allocate at the same time.
#[test]
fn a_check_allocates_little_and_a_cached_one_nothing() {
    let now = UnixTime::from_secs(1_800_000_000);
    let (key, _) = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let set = JwkSet::new([key.public()]);
    let token = Minter::new(key)
        .mint(&Claims {
            issuer: "https://auth.example.com/auth",
            client_id: "task",
            audience: "event",
            scopes: &["event.view", "event.create"],
            issued_at: now,
            lifetime: 3600,
            jti: "AZxLMh7kx3u6Xb0nVYk1Zg",
            extra: None,
        })
        .unwrap();
    let policy = Policy {
        scopes: vec!["event.create".into()],
        ..Policy::new("https://auth.example.com/auth", "event")
    };
    let verifier = Verifier::new(policy, &set).with_cache(16);
    verifier.verify_cached(&token, now).unwrap();

    let region = Region::new(ALLOCATOR);
    let verified = verifier.verify(&token, now);
    let whole = region.change().allocations;
    let region = Region::new(ALLOCATOR);
    let again = verifier.verify_cached(&token, now);
    let cached = region.change().allocations;
    assert!(verified.is_ok() && again.is_ok());
    assert!(whole <= 12, "{whole} allocations for a check");
    assert_eq!(cached, 0);
}

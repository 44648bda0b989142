//! What one check of a token costs, in CPU time and in allocations.
//!
//! usage: checks CHECKS ROUNDS    prints one JSON object: a token, its key set, and the nanoseconds of each round

use std::alloc::System;
use std::error::Error;
use std::hint::black_box;
use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs as backend;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cpu_time::ProcessTime;
use jsonwebtoken::{DecodingKey, Validation};
use m2mint_keys::jwk::JwkSet;
use m2mint_keys::signing_key::{Algorithm, SigningKey};
use m2mint_keys::time::UnixTime;
use m2mint_keys::token::{Claims, Minter};
use m2mint_keys::verify::{Policy, Verifier};
#[cfg(not(feature = "aws-lc-rs"))]
use ring as backend;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Check<'a> = Box<dyn Fn() -> bool + 'a>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let (Some(checks), Some(rounds)) = (arguments.next(), arguments.next()) else {
        return Err("usage: checks CHECKS ROUNDS".into());
    };
    let (checks, rounds) = (checks?, rounds?);
    let (key, _) = SigningKey::generate(Algorithm::EdDsa)?;
    let (public, set) = (key.public().clone(), JwkSet::new([key.public()]));
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let issued_at = UnixTime::from_secs(i64::try_from(since_epoch.as_secs())?);
    let token = Minter::new(key).mint(&Claims {
        issuer: "https://auth.example.com/auth",
        client_id: "stcl_0b6f2c1e-6f0e-4b1f-9d3e-3f1f8a3f6f10",
        audience: "event",
        scopes: &["event.view", "event.create"],
        issued_at,
        lifetime: 3600,
        jti: "AZxLMh7kx3u6Xb0nVYk1Zg",
        extra: None,
    })?;
    let policy = || Policy {
        scopes: vec!["event.create".into()],
        ..Policy::new("https://auth.example.com/auth", "event")
    };
    let verifier = Verifier::new(policy(), &set);
    let cached = Verifier::new(policy(), &set).with_cache(1024);
    drop(cached.verify_cached(&token, issued_at)?);
    let (signed, signature) = token.rsplit_once('.').ok_or("not a token")?;
    let signature = URL_SAFE_NO_PAD.decode(signature)?;
    let bare = backend::signature::UnparsedPublicKey::new(&backend::signature::ED25519, public.bytes());
    let foreign = DecodingKey::from_ed_components(&set.keys[0].x)?;
    let mut validation = Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.set_audience(&["event"]);
    validation.set_issuer(&["https://auth.example.com/auth"]);

    let all: [(&str, Check<'_>); 4] = [
        ("bare", Box::new(|| bare.verify(signed.as_bytes(), &signature).is_ok())),
        ("m2mint-keys", Box::new(|| black_box(verifier.verify(&token, issued_at)).is_ok())),
        ("m2mint-keys, cached", Box::new(|| black_box(cached.verify_cached(&token, issued_at)).is_ok())),
        (
            "jsonwebtoken",
            Box::new(|| black_box(jsonwebtoken::decode::<Value>(&token, &foreign, &validation)).is_ok()),
        ),
    ];
    let mut report = serde_json::Map::new();
    for (name, check) in &all {
        if !check() {
            return Err(format!("{name} refuses the token").into());
        }
        let region = Region::new(ALLOCATOR);
        check();
        let allocations = region.change().allocations;
        report.insert((*name).to_owned(), json!({"ns": [], "allocations": allocations}));
    }
    // The sides take turns, so that what disturbs one disturbs all.
    for _ in 0..rounds {
        for (name, check) in &all {
            let start = ProcessTime::now();
            for _ in 0..checks {
                black_box(check());
            }
            let ns = start.elapsed().as_secs_f64() * 1e9 / f64::from(checks);
            if let Some(samples) = report.get_mut(*name).and_then(|side| side["ns"].as_array_mut()) {
                samples.push(ns.into());
            }
        }
    }
    println!("{}", json!({"token": token, "jwks": set, "sides": report, "now": issued_at.secs()}));
    Ok(())
}

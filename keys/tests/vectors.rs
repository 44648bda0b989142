//! What the world knows of good and bad signatures, line by line: `vectors/*.txt`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a test may panic")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2mint_keys::jwk::{Jwk, JwkSet, PublicKey};
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::time::UnixTime;
use m2mint_keys::verify::{Policy, Rejection, Verifier};

/// One line of a table.
struct Fact<'a> {
    number: &'a str,
    good: bool,
    special: &'a str,
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

fn facts(table: &str) -> Vec<Fact<'_>> {
    let mut key = Vec::new();
    let mut facts = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["key", public] => key = bytes(public),
            [number, verdict @ ("good" | "bad"), special, message, signature] => facts.push(Fact {
                number,
                good: verdict == "good",
                special,
                key: key.clone(),
                message: bytes(message),
                signature: bytes(signature),
            }),
            _ => panic!("{line}"),
        }
    }
    facts
}

fn bytes(hex: &str) -> Vec<u8> {
    if hex == "-" {
        return Vec::new();
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Checks every line, and answers how many were good and how many bad.
#[track_caller]
fn check(algorithm: Algorithm, table: &str) -> (usize, usize) {
    let facts = facts(table);
    for Fact { number, good, special, key, message, signature } in &facts {
        let public = PublicKey::from_bytes(algorithm, key);
        let verifies = public.as_ref().is_some_and(|key| key.verifies(message, signature));
        assert_eq!(verifies, *good, "{number}: {special}");
        // Through a JWK, as a verifier gets it, it is the same key.
        if let Some(public) = public {
            assert_eq!(Jwk::new(&public).public_key().as_ref(), Ok(&public), "{number}");
            as_a_token(&public, signature, number);
        }
    }
    let good = facts.iter().filter(|fact| fact.good).count();
    (good, facts.len() - good)
}

/// A signature of something else makes no token, however special it is.
#[track_caller]
fn as_a_token(key: &PublicKey, signature: &[u8], number: &str) {
    let jwk = Jwk::new(key);
    let header = format!(r#"{{"alg":"{}","typ":"at+jwt","kid":"{}"}}"#, key.algorithm().name(), jwk.kid);
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let token = format!("{}.{}.{}", part(header.as_bytes()), part(b"{}"), part(signature));
    let verifier = Verifier::new(Policy::default(), &JwkSet { keys: vec![jwk] });
    assert_eq!(verifier.verify(&token, UnixTime::from_secs(0)), Err(Rejection::BadSignature), "{number}");
}

#[test]
fn ed25519() {
    assert_eq!(check(Algorithm::EdDsa, include_str!("vectors/ed25519.txt")), (88 + 3, 63 + 4));
}

#[test]
fn es256() {
    assert_eq!(check(Algorithm::Es256, include_str!("vectors/es256.txt")), (173, 89));
}

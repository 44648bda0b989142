//! The private half of a retired key is nowhere: not in the file, its log, a backup, or the memory of the server.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2mint_keys::signing_key::Algorithm;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{SHA512, digest};
use rustix::process::Signal;

use crate::support::Process;
use crate::support::memory::{contains, memory_of};

/// Everything that would let somebody sign with a key.
struct PrivateHalf {
    kid: String,
    forms: Vec<(&'static str, Vec<u8>)>,
    sealed: Vec<u8>,
}

impl PrivateHalf {
    /// Opens the sealed private half of the active key, as the master key allows.
    fn of_active_key(directory: &Path, alg: Algorithm) -> Self {
        let file = rusqlite::Connection::open(directory.join("m2mint.db")).unwrap();
        let query = "SELECT kid, sealed FROM signing_keys WHERE promoted_at IS NOT NULL AND sealed IS NOT NULL AND alg = ?1";
        let (kid, sealed): (String, Vec<u8>) =
            file.query_row(query, [alg.name()], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let master = std::fs::read_to_string(directory.join("m2mint.db.key")).unwrap();
        let master = URL_SAFE_NO_PAD.decode(master.trim()).unwrap();
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &master).unwrap());
        let nonce = Nonce::try_assume_unique_for_key(&sealed[1..13]).unwrap();
        let mut seed = sealed[13..].to_vec();
        let context = format!("m2mint signing key {kid}");
        let seed = key.open_in_place(nonce, Aad::from(context.as_bytes()), &mut seed).unwrap().to_vec();
        let forms = if alg == Algorithm::EdDsa { ed25519_forms(&seed) } else { p256_forms(&seed) };
        Self { kid, forms, sealed }
    }

    fn found_in(&self, bytes: &[u8], with_sealed: bool) -> Vec<&'static str> {
        let sealed = with_sealed.then_some(("sealed", &self.sealed));
        let forms = self.forms.iter().map(|(name, form)| (*name, form)).chain(sealed);
        forms.filter(|(_, form)| contains(bytes, form)).map(|(name, _)| name).collect()
    }
}

fn ed25519_forms(seed: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    // SHA-512 of the seed: the scalar, before and after clamping, and the prefix (RFC 8032 §5.1.5).
    let expanded = digest(&SHA512, seed).as_ref().to_vec();
    let mut scalar = expanded[..32].to_vec();
    scalar[0] &= 248;
    scalar[31] &= 127;
    scalar[31] |= 64;
    [
        written(seed),
        vec![
            ("hashed seed", expanded[..32].to_vec()),
            ("scalar", scalar),
            ("prefix", expanded[32..].to_vec()),
        ],
    ]
    .concat()
}

fn p256_forms(document: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    // RFC 5915 §3: in an ECPrivateKey, version 1 goes before an octet string of 32 bytes, which is the number.
    let at = document.windows(5).position(|bytes| bytes == [2, 1, 1, 4, 32]).unwrap() + 5;
    let number: [u8; 32] = document[at..at + 32].try_into().unwrap();
    let reversed = |bytes: [u8; 32]| bytes.into_iter().rev().collect::<Vec<_>>();
    let montgomery = (0..256).fold(number, |number, _| doubled(number));
    [
        written(&number),
        vec![("number, least byte first", reversed(number)), ("Montgomery form", reversed(montgomery))],
    ]
    .concat()
}

fn written(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("as it is", secret.to_vec()),
        ("in base64", URL_SAFE_NO_PAD.encode(secret).into_bytes()),
        ("in hexadecimal", secret.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes()),
    ]
}

/// Twice a number, modulo the order of P-256 (SEC 2 §2.4.2).
fn doubled(number: [u8; 32]) -> [u8; 32] {
    const ORDER: [u8; 32] = [
        0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6, 0xFA,
        0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
    ];
    let (mut twice, mut carry) = ([0; 32], 0);
    for at in (0..32).rev() {
        let sum = u16::from(number[at]) * 2 + carry;
        (twice[at], carry) = (sum as u8, sum >> 8);
    }
    if carry == 0 && twice < ORDER {
        return twice;
    }
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i16::from(twice[at]) - i16::from(ORDER[at]) - borrow;
        (twice[at], borrow) = (difference as u8, i16::from(difference < 0));
    }
    twice
}

#[test]
fn a_retired_private_half_is_found_nowhere() {
    look_for_retired_half(Algorithm::EdDsa);
}

#[test]
fn a_retired_private_half_of_es256_is_found_nowhere() {
    look_for_retired_half(Algorithm::Es256);
}

fn look_for_retired_half(alg: Algorithm) {
    let audience = format!("event {}", alg.name());
    let server = Process::with(&[
        ("M2MINT_ROTATION__PROPAGATION", "1s"),
        ("M2MINT_WORKERS", "1"),
        ("M2MINT_AUDIENCES", &audience),
    ]);
    let client = server.client();
    let private = PrivateHalf::of_active_key(server.directory.path(), alg);
    let tokens: Vec<_> = (0..50).map(|_| server.token(&client)).collect();

    // The search works: before, the file holds the sealed half, and the memory the open one.
    let file = std::fs::read(server.path("m2mint.db")).unwrap();
    let log = std::fs::read(server.path("m2mint.db-wal")).unwrap();
    assert!(!private.found_in(&[file, log].concat(), true).is_empty());
    assert!(!private.found_in(&memory_of(&server), false).is_empty(), "the active key is in memory");

    server.signal(Signal::USR1);
    server.wait_until("the old key is retired", || {
        let keys = server.verb_json(&["keys", "--json"]);
        keys["keys"]
            .as_array()
            .unwrap()
            .iter()
            .any(|key| key["kid"] == private.kid && key["state"] == "retired")
    });
    assert!(tokens.iter().all(|token| crate::support::token::kid(token) == private.kid));
    server.verb(&["backup", "copy.db"]);
    server.wait_until("the log is cleared", || {
        let files = ["m2mint.db", "m2mint.db-wal", "copy.db"];
        files.iter().all(|name| private.found_in(&std::fs::read(server.path(name)).unwrap(), true).is_empty())
    });
    server.token(&client);
    assert_eq!(private.found_in(&memory_of(&server), false), Vec::<&str>::new());
}

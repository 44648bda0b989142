//! The private half of a retired key is nowhere: not in the file, its log, a backup, or the memory of the server.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{SHA512, digest};
use rustix::process::Signal;

use crate::support::Process;

/// Everything that would let somebody sign with a key.
struct PrivateHalf {
    kid: String,
    seed: Vec<u8>,
    /// SHA-512 of the seed: the scalar, before and after clamping, and the prefix (RFC 8032 §5.1.5).
    expanded: Vec<u8>,
    sealed: Vec<u8>,
}

impl PrivateHalf {
    /// Opens the sealed private half of the active key, as the master key allows.
    fn of_active_key(directory: &Path) -> Self {
        let file = rusqlite::Connection::open(directory.join("m2mint.db")).unwrap();
        let query =
            "SELECT kid, sealed FROM signing_keys WHERE promoted_at IS NOT NULL AND sealed IS NOT NULL";
        let (kid, sealed): (String, Vec<u8>) =
            file.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let master = std::fs::read_to_string(directory.join("m2mint.db.key")).unwrap();
        let master = URL_SAFE_NO_PAD.decode(master.trim()).unwrap();
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &master).unwrap());
        let nonce = Nonce::try_assume_unique_for_key(&sealed[1..13]).unwrap();
        let mut seed = sealed[13..].to_vec();
        let context = format!("m2mint signing key {kid}");
        let seed = key.open_in_place(nonce, Aad::from(context.as_bytes()), &mut seed).unwrap().to_vec();
        Self { kid, expanded: digest(&SHA512, &seed).as_ref().to_vec(), seed, sealed }
    }

    /// The forms that must not be found, with a name for each.
    fn forms(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut scalar = self.expanded[..32].to_vec();
        scalar[0] &= 248;
        scalar[31] &= 127;
        scalar[31] |= 64;
        vec![
            ("seed", self.seed.clone()),
            ("seed in base64", URL_SAFE_NO_PAD.encode(&self.seed).into_bytes()),
            (
                "seed in hexadecimal",
                self.seed.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes(),
            ),
            ("hashed seed", self.expanded[..32].to_vec()),
            ("scalar", scalar),
            ("prefix", self.expanded[32..].to_vec()),
        ]
    }

    fn found_in(&self, bytes: &[u8], with_sealed: bool) -> Vec<&'static str> {
        let mut forms = self.forms();
        if with_sealed {
            forms.push(("sealed", self.sealed.clone()));
        }
        forms.retain(|(_, form)| contains(bytes, form));
        forms.into_iter().map(|(name, _)| name).collect()
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    let first = wanted[0];
    bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == first)
        .any(|(at, _)| bytes[at..].starts_with(wanted))
}

/// What a core dump would hold: every readable page of the process.
fn memory_of(server: &Process) -> Vec<u8> {
    let pid = server.pid().as_raw_nonzero();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" r") && !line.contains("[vvar")) {
        let (begin, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let (begin, end) = (u64::from_str_radix(begin, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        let mut region = vec![0; usize::try_from(end - begin).unwrap()];
        // Guard pages and the like cannot be read.
        if memory.read_exact_at(&mut region, begin).is_ok() {
            all.extend(region);
        }
    }
    all
}

#[test]
fn a_retired_private_half_is_found_nowhere() {
    let server = Process::with(&[("M2MINT_ROTATION__PROPAGATION", "1s"), ("M2MINT_WORKERS", "1")]);
    let client = server.client();
    let private = PrivateHalf::of_active_key(server.directory.path());
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

//! Any bytes in the place of a key set. A key that is read is the one that would be published.
#![no_main]

use libfuzzer_sys::fuzz_target;
use m2mint_keys::jwk::{Jwk, JwkSet};

fuzz_target!(|json: &[u8]| {
    let Ok(set) = JwkSet::parse(json) else { return };
    for key in set.keys.iter().filter_map(|jwk| jwk.public_key().ok()) {
        assert_eq!(Jwk::new(&key).public_key().as_ref(), Ok(&key));
        assert!(!key.verifies(b"message", &[0; 64]));
    }
});

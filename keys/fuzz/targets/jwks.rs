//! Any bytes in the place of a key set. A key that is read is the one that would be published.

use m2mint_keys::jwk::{Jwk, JwkSet};

pub fn check(json: &[u8]) {
    let Ok(set) = JwkSet::parse(json) else { return };
    for key in set.keys.iter().filter_map(|jwk| jwk.public_key().ok()) {
        assert_eq!(Jwk::new(&key).public_key().as_ref(), Ok(&key));
        assert!(!key.verifies(b"message", &[0; 64]));
    }
}

//! Any text in the place of an Authorization header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use m2mint_keys::bearer;

fuzz_target!(|header: &str| {
    if let Ok(Some(token)) = bearer::token(header) {
        assert!(header.contains(token) && !token.is_empty() && !token.contains([' ', ',', '"', '\r', '\n']));
    }
});

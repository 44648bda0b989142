//! Any bytes in the place of a token: refused, and nothing falls over.
#![no_main]

use libfuzzer_sys::fuzz_target;
use m2mint_keys::jwk::JwkSet;
use m2mint_keys::time::UnixTime;
use m2mint_keys::verify::{Policy, Verifier};

fuzz_target!(|token: &str| {
    // The key of RFC 8037 A.2.
    let set = JwkSet::parse(
        br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    );
    let verifier = Verifier::new(Policy::new("i", "a"), &set.unwrap());
    assert!(verifier.verify(token, UnixTime::from_secs(1)).is_err());
});

//! Any bytes in the place of a token: refused, and nothing falls over.

use m2mint_keys::jwk::JwkSet;
use m2mint_keys::time::UnixTime;
use m2mint_keys::verify::{Policy, Verifier};

pub fn check(data: &[u8]) {
    let Ok(token) = std::str::from_utf8(data) else { return };
    // The key of RFC 8037 A.2.
    let set = JwkSet::parse(
        br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    );
    let verifier = Verifier::new(Policy::new("i", "a"), &set.unwrap());
    assert!(verifier.verify(token, UnixTime::from_secs(1)).is_err());
}

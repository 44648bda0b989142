//! Any header and any payload under a good signature. What is accepted obeys the policy, as another JSON reader sees it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2mint_keys::jwk::JwkSet;
use m2mint_keys::signing_key::{Seed, SigningKey};
use m2mint_keys::time::UnixTime;
use m2mint_keys::verify::{Policy, Verifier};
use serde_json::Value;

pub fn check(data: &[u8]) {
    // The header on the first line, the payload after it.
    let Some(parts) = std::str::from_utf8(data).ok().and_then(|lines| lines.split_once('\n')) else { return };
    let key = SigningKey::from_seed(&Seed::from_bytes(&[7; 32]).unwrap()).unwrap();
    let set = JwkSet::new([key.public()]);
    // "K" stands for the kid, which no fuzzer would find.
    let header = parts.0.replace('K', key.kid().as_str());
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(parts.1));
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).unwrap()));
    let verifier = Verifier::new(Policy::new("i", "a"), &set);
    let Ok(verified) = verifier.verify(&token, UnixTime::from_secs(1000)) else { return };

    let header: Value = serde_json::from_str(&header).unwrap();
    let claims: Value = serde_json::from_str(parts.1).unwrap();
    assert_eq!(
        header["alg"].as_str().filter(|alg| ["EdDSA", "Ed25519"].contains(alg)),
        header["alg"].as_str()
    );
    assert!(header["typ"].as_str().unwrap().to_ascii_lowercase().ends_with("at+jwt"));
    assert!(header.get("crit").is_none());
    assert_eq!((&claims["iss"], &claims["stt"]), (&"i".into(), &1.into()));
    assert!(claims["aud"] == "a" || claims["aud"] == serde_json::json!(["a"]));
    assert!(claims["exp"].as_i64().unwrap() > 1000 - 60 && claims["iat"].as_i64().unwrap() <= 1000 + 60);
    assert_eq!(claims["client_id"], *verified.client_id);
    assert!(claims.get("sessionHandle").is_some() || claims["sub"] == claims["client_id"]);
}

//! What holds for every token, whatever is in it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a test may panic")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2mint_keys::bearer;
use m2mint_keys::jwk::JwkSet;
use m2mint_keys::signing_key::{Algorithm, SigningKey};
use m2mint_keys::time::UnixTime;
use m2mint_keys::token::{Claims, Minter, RESERVED_CLAIMS};
use m2mint_keys::verify::{Policy, Rejection, Verifier};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

/// Everything that a token may say.
#[derive(Debug, Clone)]
struct Said {
    issuer: String,
    client_id: String,
    audience: String,
    scopes: Vec<String>,
    lifetime: u64,
    jti: String,
    extra: Map<String, Value>,
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn any_said() -> impl Strategy<Value = Said> {
    let scope = "[!#-\\[\\]-~]{1,12}";
    let text = any::<String>();
    let extra = btree_map("[a-z\u{e4}\"\\\\]{1,8}", any_json(), 0..5).prop_map(|members| {
        let free = |name: &String| !RESERVED_CLAIMS.contains(&name.as_str());
        members.into_iter().filter(|(name, _)| free(name)).collect()
    });
    (text, text, text, vec(scope, 0..6), 1..100_000_u64, text, extra).prop_map(
        |(issuer, client_id, audience, scopes, lifetime, jti, extra)| Said {
            issuer,
            client_id,
            audience,
            scopes,
            lifetime,
            jti,
            extra,
        },
    )
}

impl Said {
    fn mint(&self, minter: &Minter) -> String {
        let scopes: Vec<&str> = self.scopes.iter().map(String::as_str).collect();
        minter
            .mint(&Claims {
                issuer: &self.issuer,
                client_id: &self.client_id,
                audience: &self.audience,
                scopes: &scopes,
                issued_at: NOW,
                lifetime: self.lifetime,
                jti: &self.jti,
                extra: Some(&self.extra),
            })
            .unwrap()
    }

    fn policy(&self) -> Policy {
        Policy {
            scopes: self.scopes.clone(),
            leeway: Duration::ZERO,
            ..Policy::new(&*self.issuer, &*self.audience)
        }
    }
}

fn issuer() -> (Minter, JwkSet) {
    issuer_with(Algorithm::EdDsa)
}

fn issuer_with(algorithm: Algorithm) -> (Minter, JwkSet) {
    let (key, _) = SigningKey::generate(algorithm).unwrap();
    let set = JwkSet::new([key.public()]);
    (Minter::new(key), set)
}

fn any_algorithm() -> impl Strategy<Value = Algorithm> {
    prop::sample::select(&[Algorithm::EdDsa, Algorithm::Es256][..])
}

/// The token with other claims, under the kid that it had, signed by another key.
fn resigned(token: &str, claims: &Value) -> String {
    let (other, _) = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let header = token.split('.').next().unwrap();
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(other.sign(signed.as_bytes()).unwrap()))
}

/// One of these members, and what becomes of it: `None` takes it away.
fn change(names: &'static [&'static str]) -> impl Strategy<Value = (&'static str, Option<Value>)> {
    let near = prop::sample::select(vec![
        json!("EdDSA"),
        json!("Ed25519"),
        json!("none"),
        json!("at+jwt"),
        json!("AT+JWT"),
        json!("JWT"),
        json!("i"),
        json!("a"),
        json!(["a"]),
        json!(["a", "b"]),
        json!([]),
        json!(0),
        json!(1),
        json!(2),
        json!(1.0),
        json!("1"),
        json!(NOW.secs()),
        json!(NOW.secs() - 1),
        json!(NOW.secs() + 1),
        json!(i64::MAX),
        json!(null),
        json!("s"),
        json!(["s"]),
        json!("c"),
    ]);
    let value = prop_oneof![Just(None), near.prop_map(Some), any_json().prop_map(Some)];
    (prop::sample::select(names), value)
}

fn apply(object: &mut Value, (name, value): (&'static str, Option<Value>)) {
    let members = object.as_object_mut().unwrap();
    match value {
        Some(value) => drop(members.insert(name.to_owned(), value)),
        None => drop(members.remove(name)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_verified_is_what_was_minted(said in any_said(), algorithm in any_algorithm()) {
        let (minter, set) = issuer_with(algorithm);
        let token = said.mint(&minter);
        let verified = Verifier::new(said.policy(), &set).verify(&token, NOW);
        if token.len() > m2mint_keys::verify::MAX_TOKEN_BYTES {
            prop_assert_eq!(verified, Err(Rejection::TooLong));
            return Ok(());
        }
        let verified = verified.unwrap();
        prop_assert_eq!(&verified.issuer, &said.issuer);
        prop_assert_eq!((&verified.client_id, &verified.subject), (&said.client_id, &said.client_id));
        prop_assert_eq!(&verified.audience, &said.audience);
        prop_assert_eq!(verified.scopes().collect::<Vec<_>>(), said.scopes.iter().collect::<Vec<_>>());
        prop_assert_eq!(verified.issued_at, NOW);
        prop_assert_eq!(verified.expires_at, NOW.plus(Duration::from_secs(said.lifetime)));
        prop_assert_eq!(&verified.jti, &said.jti);
        prop_assert_eq!(&verified.extra, &said.extra);
    }

    #[test]
    fn a_flipped_bit_is_refused(
        said in any_said(), algorithm in any_algorithm(), at in any::<prop::sample::Index>(), bit in 0..7_u32
    ) {
        let (minter, set) = issuer_with(algorithm);
        let token = said.mint(&minter);
        let verifier = Verifier::new(Policy { leeway: Duration::ZERO, ..Policy::default() }, &set).with_cache(10);
        prop_assume!(token.len() <= m2mint_keys::verify::MAX_TOKEN_BYTES);
        prop_assert!(verifier.verify_cached(&token, NOW).is_ok());
        let mut changed = token.into_bytes();
        let at = at.index(changed.len());
        changed[at] ^= 1 << bit;
        let changed = String::from_utf8(changed).unwrap();
        prop_assert!(verifier.verify(&changed, NOW).is_err());
        prop_assert!(verifier.verify_cached(&changed, NOW).is_err());
    }

    #[test]
    fn a_changed_claim_under_another_signature_is_refused(
        said in any_said(), claim in prop::sample::select(&RESERVED_CLAIMS[..]), value in any_json()
    ) {
        let (minter, set) = issuer();
        let token = said.mint(&minter);
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let mut claims: Value = serde_json::from_slice(&payload).unwrap();
        claims[claim] = value;
        let forged = resigned(&token, &claims);
        let long = forged.len() > m2mint_keys::verify::MAX_TOKEN_BYTES;
        let expected = if long { Rejection::TooLong } else { Rejection::BadSignature };
        prop_assert_eq!(Verifier::new(Policy::default(), &set).verify(&forged, NOW), Err(expected));
    }

    #[test]
    fn what_passes_passes_elsewhere_too_and_says_the_same(said in any_said()) {
        let (minter, set) = issuer();
        let token = said.mint(&minter);
        prop_assume!(token.len() <= m2mint_keys::verify::MAX_TOKEN_BYTES);
        let ours = Verifier::new(said.policy(), &set).verify(&token, NOW).unwrap();
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
        validation.set_audience(&[&said.audience]);
        validation.set_issuer(&[&said.issuer]);
        validation.validate_exp = false;
        let key = jsonwebtoken::DecodingKey::from_ed_components(&set.keys[0].x).unwrap();
        let theirs = jsonwebtoken::decode::<Map<String, Value>>(&token, &key, &validation).unwrap().claims;
        prop_assert_eq!(ours.claims(), theirs);
    }

    #[test]
    fn whatever_is_signed_well_obeys_the_policy_when_it_passes(
        header in change(&["alg", "typ", "kid", "crit", "jwk"]),
        claims in change(&["iss", "sub", "aud", "client_id", "iat", "exp", "nbf", "jti", "scope", "scp", "stt"]),
    ) {
        let (key, _) = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let set = JwkSet::new([key.public()]);
        let mut head = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": key.kid().as_str()});
        let mut body = json!({
            "iss": "i", "sub": "c", "aud": "a", "client_id": "c", "iat": NOW.secs(), "exp": NOW.secs() + 60, "jti": "x",
            "scope": "s", "scp": ["s"], "stt": 1
        });
        apply(&mut head, header);
        apply(&mut body, claims);
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(body.to_string()));
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).unwrap()));
        let policy = Policy { leeway: Duration::ZERO, ..Policy::new("i", "a") };
        let Ok(verified) = Verifier::new(policy, &set).verify(&token, NOW) else { return Ok(()) };
        prop_assert!(["EdDSA", "Ed25519"].contains(&head["alg"].as_str().unwrap()));
        prop_assert!(["at+jwt", "application/at+jwt"].contains(&&*head["typ"].as_str().unwrap().to_lowercase()));
        prop_assert!(head["kid"] == key.kid().as_str() && head.get("crit").is_none());
        prop_assert!(body["iss"] == "i" && body["stt"] == 1);
        prop_assert!(body["aud"] == "a" || body["aud"] == json!(["a"]));
        prop_assert!(body["exp"].as_i64().unwrap() > NOW.secs() && body["iat"].as_i64().unwrap() <= NOW.secs());
        prop_assert!(body.get("nbf").is_none_or(|nbf| nbf.as_i64().unwrap() <= NOW.secs()));
        prop_assert!(body["client_id"] == *verified.client_id && body["sub"] == body["client_id"]);
    }

    #[test]
    fn nothing_makes_a_parser_fall_over(bytes in vec(any::<u8>(), 0..200), text in any::<String>()) {
        let (_, set) = issuer();
        let verifier = Verifier::new(Policy::default(), &set).with_cache(1);
        let part = URL_SAFE_NO_PAD.encode(&bytes);
        for token in [text.clone(), format!("{part}.{part}.{part}"), format!("{text}.{part}.{text}")] {
            prop_assert!(verifier.verify(&token, NOW).is_err());
            prop_assert!(verifier.verify_cached(&token, NOW).is_err());
        }
        drop(JwkSet::parse(&bytes));
        let _ = bearer::token(&text);
        drop(m2mint_keys::json::object(&bytes));
    }

    #[test]
    fn a_challenge_is_one_well_formed_header(realm in any::<String>(), scope in any::<String>()) {
        let challenge = bearer::Challenge { realm: &realm, scopes: &[&scope], description: "no",
            error: Some(bearer::BearerError::InvalidToken), resource_metadata: Some(&realm) }.to_header();
        prop_assert!(challenge.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        prop_assert_eq!(challenge.matches('"').count(), 10);
    }
}

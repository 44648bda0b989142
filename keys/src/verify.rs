//! Verification of access tokens: strict where libraries are lax.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::json;
use crate::jwk::{JwkSet, PublicKey};
use crate::time::{UnixTime, millis};
use crate::token::STT_ACCESS_TOKEN;

/// The longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// What a verifier demands of a token.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The `iss` that is expected; `None` accepts what the key set's owner signed under any name.
    pub issuer: Option<String>,
    /// The `aud` that is expected. A resource server always sets it: a token for another service is none of its own.
    pub audience: Option<String>,
    /// Scopes that must all be there.
    pub scopes: Vec<String>,
    /// How far clocks may be apart.
    pub leeway: Duration,
}

/// Why a token was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("the token is longer than 16 KiB")]
    TooLong,
    /// Not three base64url parts of which two are JSON objects, or a member appears twice.
    #[error("not a well-formed JWT")]
    Malformed,
    /// `typ` is not `at+jwt`.
    #[error("not an access token: typ must be at+jwt")]
    WrongType,
    /// `alg` is not the algorithm of the key.
    #[error("the algorithm is not the key's")]
    WrongAlgorithm,
    /// The header demands an extension that is not understood (RFC 7515 §4.1.11).
    #[error("the token demands an extension that is not supported")]
    CriticalExtension,
    /// No published key has this `kid`.
    #[error("signed with a key that is not published")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the signature is wrong")]
    BadSignature,
    /// A claim is missing or of the wrong JSON type.
    #[error("the claim {0} is missing or malformed")]
    BadClaim(&'static str),
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `iat` or `nbf` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iss` is not the expected one.
    #[error("issued by somebody else")]
    WrongIssuer,
    /// `aud` is not the expected one.
    #[error("meant for another audience")]
    WrongAudience,
    /// `stt` is not 1: a session or ID token, not an access token.
    #[error("not an OAuth2 access token: stt must be 1")]
    WrongTokenType,
    /// A required scope is missing.
    #[error("the scope {0} is missing")]
    MissingScope(String),
}

/// A token that passed.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// `iss`.
    pub issuer: String,
    /// The client.
    pub client_id: String,
    /// The one audience.
    pub audience: String,
    /// Granted scopes.
    pub scopes: Vec<String>,
    /// `iat`.
    pub issued_at: UnixTime,
    /// `exp`.
    pub expires_at: UnixTime,
    /// Unique id.
    pub jti: String,
    /// All claims, as they stand in the token.
    pub claims: Map<String, Value>,
}

impl Verified {
    /// Whether the token grants exactly `scope`.
    #[must_use]
    pub fn allows(&self, scope: &str) -> bool {
        self.scopes.iter().any(|granted| granted == scope)
    }
}

/// Checks tokens against a key set and a policy.
#[derive(Debug, Clone)]
pub struct Verifier {
    policy: Policy,
    keys: Vec<(String, PublicKey)>,
}

impl Verifier {
    /// A verifier for the keys of `set`. Keys that cannot verify m2mint's tokens are passed over.
    #[must_use]
    pub fn new(policy: Policy, set: &JwkSet) -> Self {
        let keys = set.keys.iter().filter_map(|jwk| Some((jwk.kid.clone(), jwk.public_key().ok()?)));
        Self { policy, keys: keys.collect() }
    }

    /// Checks `token` at the time `now`.
    ///
    /// # Errors
    /// The first [`Rejection`] met. Nothing that an unverified token says is believed: the signature is checked first.
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<Verified, Rejection> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Rejection::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Rejection::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Rejection::Malformed)?;
        if payload.contains('.') {
            return Err(Rejection::Malformed);
        }
        let key = self.key_for(&json_object(header)?)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Rejection::Malformed)?;
        if !key.verifies(signed.as_bytes(), &signature) {
            return Err(Rejection::BadSignature);
        }
        self.check_claims(json_object(payload)?, now)
    }

    fn key_for(&self, header: &Map<String, Value>) -> Result<&PublicKey, Rejection> {
        if header.contains_key("crit") {
            return Err(Rejection::CriticalExtension);
        }
        let text = |name| header.get(name).and_then(Value::as_str);
        let typ = text("typ").ok_or(Rejection::WrongType)?;
        // RFC 9068 §4: "at+jwt" or "application/at+jwt"; RFC 7515 §4.1.9: media types compare without case.
        if !typ.eq_ignore_ascii_case("at+jwt") && !typ.eq_ignore_ascii_case("application/at+jwt") {
            return Err(Rejection::WrongType);
        }
        let kid = text("kid").ok_or(Rejection::UnknownKey)?;
        let key = self.keys.iter().find(|(known, _)| known == kid).map(|(_, key)| key);
        let key = key.ok_or(Rejection::UnknownKey)?;
        (text("alg") == Some(key.algorithm().name())).then_some(key).ok_or(Rejection::WrongAlgorithm)
    }

    fn check_claims(&self, claims: Map<String, Value>, now: UnixTime) -> Result<Verified, Rejection> {
        let text = |name: &'static str| {
            claims.get(name).and_then(Value::as_str).map(str::to_owned).ok_or(Rejection::BadClaim(name))
        };
        let date = |name: &'static str| {
            let secs = claims.get(name).and_then(Value::as_i64).filter(|secs| (0..=MAX_DATE).contains(secs));
            secs.map(UnixTime::from_secs).ok_or(Rejection::BadClaim(name))
        };
        let (issued_at, expires_at) = (date("iat")?, date("exp")?);
        let leeway = millis(self.policy.leeway);
        if now.millis_since(expires_at) >= leeway {
            return Err(Rejection::Expired);
        }
        let not_before = if claims.contains_key("nbf") { date("nbf")?.max(issued_at) } else { issued_at };
        // `iat` is in whole seconds: a token minted now may name the second that has begun.
        if not_before.millis_since(now) > leeway {
            return Err(Rejection::NotYetValid);
        }
        let issuer = text("iss")?;
        if self.policy.issuer.as_ref().is_some_and(|expected| *expected != issuer) {
            return Err(Rejection::WrongIssuer);
        }
        let audience = text("aud")?;
        if self.policy.audience.as_ref().is_some_and(|expected| *expected != audience) {
            return Err(Rejection::WrongAudience);
        }
        if claims.get("stt").and_then(Value::as_u64) != Some(STT_ACCESS_TOKEN.into()) {
            return Err(Rejection::WrongTokenType);
        }
        let scope = text("scope")?;
        let scopes: Vec<String> =
            scope.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
        if let Some(missing) = self.policy.scopes.iter().find(|needed| !scopes.contains(needed)) {
            return Err(Rejection::MissingScope(missing.clone()));
        }
        let client_id = text("client_id")?;
        if text("sub")? != client_id {
            return Err(Rejection::BadClaim("sub"));
        }
        let jti = text("jti")?;
        Ok(Verified { issuer, client_id, audience, scopes, issued_at, expires_at, jti, claims })
    }
}

/// The year 9999: beyond it is no date but an overflow waiting to happen.
const MAX_DATE: i64 = 253_402_300_799;

fn json_object(part: &str) -> Result<Map<String, Value>, Rejection> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejection::Malformed)?;
    json::object(&bytes).map_err(|_| Rejection::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing_key::SigningKey;
    use crate::token::{Claims, Minter};
    use serde_json::json;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn claims<'a>() -> Claims<'a> {
        Claims {
            issuer: "https://auth.example.com/auth",
            client_id: "task",
            audience: "event",
            scopes: &["event.view", "event.create"],
            issued_at: NOW,
            lifetime: 3600,
            jti: "AAAAAAAAAAAAAAAAAAAAAA",
            extra: None,
        }
    }

    fn policy() -> Policy {
        Policy {
            issuer: Some("https://auth.example.com/auth".into()),
            audience: Some("event".into()),
            scopes: vec!["event.create".into()],
            leeway: Duration::ZERO,
        }
    }

    fn issuer() -> (Minter, JwkSet) {
        let (key, _) = SigningKey::generate().unwrap();
        let set = JwkSet::new([key.public()]);
        (Minter::new(key), set)
    }

    /// A token with any header and payload, signed by a key whose set is given with it.
    fn forged(header: impl Fn(&str) -> String, payload: &str) -> (String, JwkSet) {
        let (key, _) = SigningKey::generate().unwrap();
        let header = header(key.kid().as_str());
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
        (format!("{signed}.{signature}"), JwkSet::new([key.public()]))
    }

    fn good_header(kid: &str) -> String {
        json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid}).to_string()
    }

    fn good_payload() -> Value {
        json!({
            "iss": "https://auth.example.com/auth", "sub": "task", "aud": "event", "client_id": "task",
            "iat": NOW.secs(), "exp": NOW.secs() + 60, "jti": "x", "scope": "event.create", "scp": ["event.create"],
            "stt": 1
        })
    }

    fn with_payload(change: impl Fn(&mut Value)) -> Result<Verified, Rejection> {
        let mut payload = good_payload();
        change(&mut payload);
        let (token, set) = forged(good_header, &payload.to_string());
        Verifier::new(policy(), &set).verify(&token, NOW)
    }

    fn with_header(change: impl Fn(&mut Value)) -> Result<Verified, Rejection> {
        let header = |kid: &str| {
            let mut header: Value = serde_json::from_str(&good_header(kid)).unwrap();
            change(&mut header);
            header.to_string()
        };
        let (token, set) = forged(header, &good_payload().to_string());
        Verifier::new(policy(), &set).verify(&token, NOW)
    }

    #[test]
    fn what_was_minted_is_what_is_verified() {
        let (minter, set) = issuer();
        let verified = Verifier::new(policy(), &set).verify(&minter.mint(&claims()), NOW).unwrap();
        assert_eq!(verified.client_id, "task");
        assert_eq!(verified.audience, "event");
        assert_eq!(verified.expires_at.secs(), NOW.secs() + 3600);
        assert!(
            verified.allows("event.create") && !verified.allows("event.delete") && !verified.allows("event")
        );
    }

    #[test]
    fn any_changed_bit_is_refused() {
        let (minter, set) = issuer();
        let verifier = Verifier::new(policy(), &set);
        let token = minter.mint(&claims());
        for position in 0..token.len() {
            for bit in 0..7 {
                let mut changed = token.clone().into_bytes();
                changed[position] ^= 1 << bit;
                let changed = String::from_utf8(changed).unwrap();
                assert!(verifier.verify(&changed, NOW).is_err(), "byte {position} bit {bit}");
            }
        }
    }

    #[test]
    fn a_token_lives_from_its_first_second_to_its_last() {
        let (minter, set) = issuer();
        let verifier = Verifier::new(policy(), &set);
        let token = minter.mint(&claims());
        let at = |secs: i64| verifier.verify(&token, UnixTime::from_secs(NOW.secs() + secs)).map(|_| ());
        assert_eq!(at(-1), Err(Rejection::NotYetValid));
        assert_eq!(at(0), Ok(()));
        assert_eq!(at(3599), Ok(()));
        assert_eq!(at(3600), Err(Rejection::Expired));
        let lenient = Verifier::new(Policy { leeway: Duration::from_secs(60), ..policy() }, &set);
        assert!(lenient.verify(&token, UnixTime::from_secs(NOW.secs() + 3659)).is_ok());
        assert!(lenient.verify(&token, UnixTime::from_secs(NOW.secs() - 60)).is_ok());
    }

    #[test]
    fn a_key_that_is_not_published_is_refused() {
        let (minter, _) = issuer();
        let (_, other) = issuer();
        assert_eq!(
            Verifier::new(policy(), &other).verify(&minter.mint(&claims()), NOW),
            Err(Rejection::UnknownKey)
        );
    }

    #[test]
    fn each_wrong_header_has_its_own_rejection() {
        assert!(with_header(|_| ()).is_ok());
        assert!(with_header(|h| h["typ"] = json!("application/AT+JWT")).is_ok());
        assert_eq!(with_header(|h| h["typ"] = json!("JWT")), Err(Rejection::WrongType));
        assert_eq!(with_header(|h| h["alg"] = json!("none")), Err(Rejection::WrongAlgorithm));
        assert_eq!(with_header(|h| h["alg"] = json!("HS256")), Err(Rejection::WrongAlgorithm));
        assert_eq!(with_header(|h| h["crit"] = json!(["exp"])), Err(Rejection::CriticalExtension));
        assert_eq!(with_header(|h| h["kid"] = json!("another")), Err(Rejection::UnknownKey));
    }

    #[test]
    fn each_wrong_claim_has_its_own_rejection() {
        assert!(with_payload(|_| ()).is_ok());
        assert_eq!(with_payload(|p| p["iss"] = json!("https://evil")), Err(Rejection::WrongIssuer));
        assert_eq!(with_payload(|p| p["aud"] = json!("file")), Err(Rejection::WrongAudience));
        assert_eq!(with_payload(|p| p["aud"] = json!(["event", "file"])), Err(Rejection::BadClaim("aud")));
        assert_eq!(with_payload(|p| p["stt"] = json!(0)), Err(Rejection::WrongTokenType));
        assert_eq!(with_payload(|p| p["stt"] = json!("1")), Err(Rejection::WrongTokenType));
        assert_eq!(
            with_payload(|p| p["scope"] = json!("event")),
            Err(Rejection::MissingScope("event.create".into()))
        );
        assert_eq!(with_payload(|p| p["sub"] = json!("another")), Err(Rejection::BadClaim("sub")));
        assert_eq!(with_payload(|p| p["exp"] = json!("soon")), Err(Rejection::BadClaim("exp")));
        assert_eq!(with_payload(|p| p["exp"] = json!(i64::MAX)), Err(Rejection::BadClaim("exp")));
        assert_eq!(with_payload(|p| p["nbf"] = json!(NOW.secs() + 9)), Err(Rejection::NotYetValid));
        for claim in ["iss", "sub", "aud", "client_id", "iat", "exp", "jti", "scope"] {
            let without = with_payload(|p| drop(p.as_object_mut().unwrap().remove(claim)));
            assert_eq!(without, Err(Rejection::BadClaim(claim)));
        }
    }

    #[test]
    fn shapes_that_are_no_jwt_are_refused() {
        let (minter, set) = issuer();
        let verifier = Verifier::new(policy(), &set);
        let token = minter.mint(&claims());
        let cases =
            [String::new(), ".".into(), "..".into(), "a.b".into(), format!("{token}."), format!("{token}=")];
        for case in cases {
            assert_eq!(verifier.verify(&case, NOW), Err(Rejection::Malformed), "{case}");
        }
        assert_eq!(verifier.verify(&"a".repeat(MAX_TOKEN_BYTES + 1), NOW), Err(Rejection::TooLong));
    }

    #[test]
    fn a_member_that_appears_twice_is_refused() {
        let payload = good_payload().to_string().replacen('{', r#"{"aud":"file","#, 1);
        let (token, set) = forged(good_header, &payload);
        assert_eq!(Verifier::new(policy(), &set).verify(&token, NOW), Err(Rejection::Malformed));
    }
}

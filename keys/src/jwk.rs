//! Public keys as JSON Web Keys (RFC 7517, RFC 8037) and their thumbprints (RFC 7638).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::crypto;
use crate::signing_key::Algorithm;

/// A key id: the RFC 7638 SHA-256 thumbprint of a public key, as 43 base64url characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kid(Box<str>);

impl Kid {
    /// Takes the text of a kid. What is not shaped like a thumbprint is none of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let shaped =
            text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        shaped.then(|| Self(text.into()))
    }

    /// The kid as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The public half of a signing key. It cannot hold a private one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    bytes: [u8; 32],
}

impl PublicKey {
    /// An Ed25519 public key from its 32 bytes (RFC 8032 §5.1.5).
    #[must_use]
    pub const fn ed25519(bytes: [u8; 32]) -> Self {
        Self { bytes }
    }

    /// The raw bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The algorithm that this key signs with. It belongs to the key; a token has no say in it (RFC 8725 §3.1).
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        Algorithm::EdDsa
    }

    /// The RFC 7638 thumbprint.
    #[must_use]
    pub fn thumbprint(&self) -> Kid {
        // RFC 7638 §3.2, RFC 8037 §2: the required members, in lexicographic order, without white space.
        let members =
            format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(self.bytes));
        Kid(URL_SAFE_NO_PAD.encode(crypto::sha256(members.as_bytes())).into())
    }

    /// Whether `signature` is this key's signature of `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        crypto::ed25519_verifies(&self.bytes, message, signature)
    }
}

/// Why a JWK cannot be used to verify m2mint's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// Not an Ed25519 key (`kty` OKP, `crv` Ed25519).
    #[error("not an Ed25519 key")]
    UnsupportedKeyType,
    /// `use` or `alg` says that the key is for something else.
    #[error("the key is not for EdDSA signatures")]
    WrongUse,
    /// `x` is not 32 bytes in base64url without padding.
    #[error("malformed public key")]
    Malformed,
    /// There is no `kid` to find the key by.
    #[error("the key has no kid")]
    NoKid,
}

/// One entry of a JWK Set, as published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// Key type, `OKP`.
    pub kty: String,
    /// Curve, `Ed25519`.
    #[serde(default)]
    pub crv: String,
    /// Public key, base64url.
    #[serde(default)]
    pub x: String,
    /// Key id.
    #[serde(default)]
    pub kid: String,
    /// Algorithm, `EdDSA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// Intended use, `sig`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub key_use: Option<String>,
}

impl Jwk {
    /// The published form of a public key.
    #[must_use]
    pub fn new(key: &PublicKey) -> Self {
        Self {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            x: URL_SAFE_NO_PAD.encode(key.bytes()),
            kid: key.thumbprint().0.into(),
            alg: Some(key.algorithm().name().into()),
            key_use: Some("sig".into()),
        }
    }

    /// The public key in this entry.
    ///
    /// # Errors
    /// A [`JwkError`] that says why it is of no use for verifying.
    pub fn public_key(&self) -> Result<PublicKey, JwkError> {
        if self.kty != "OKP" || self.crv != "Ed25519" {
            return Err(JwkError::UnsupportedKeyType);
        }
        if self.alg.as_deref().is_some_and(|alg| alg != "EdDSA" && alg != "Ed25519")
            || self.key_use.as_deref().is_some_and(|key_use| key_use != "sig")
        {
            return Err(JwkError::WrongUse);
        }
        if self.kid.is_empty() {
            return Err(JwkError::NoKid);
        }
        let bytes = URL_SAFE_NO_PAD.decode(&self.x).map_err(|_| JwkError::Malformed)?;
        Ok(PublicKey::ed25519(bytes.try_into().map_err(|_| JwkError::Malformed)?))
    }
}

/// A JWK Set (RFC 7517 §5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwkSet {
    /// The keys, the signing one first.
    pub keys: Vec<Jwk>,
}

impl JwkSet {
    /// The set of these public keys, in this order.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Self {
        Self { keys: keys.into_iter().map(Jwk::new).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc8037_jwk() -> Jwk {
        // RFC 8037 A.2, with the thumbprint of A.3 as its kid.
        serde_json::from_str(
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                "kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_jwk_and_its_public_key_are_the_same_thing() {
        let key = rfc8037_jwk().public_key().unwrap();
        let published = Jwk::new(&key);
        assert_eq!(published.public_key().unwrap(), key);
        assert_eq!(
            serde_json::to_string(&JwkSet::new([&key])).unwrap(),
            concat!(
                r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","#,
                r#""kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","alg":"EdDSA","use":"sig"}]}"#
            )
        );
    }

    #[test]
    fn rfc7638_the_thumbprint_covers_only_the_required_members() {
        let key = rfc8037_jwk().public_key().unwrap();
        assert_eq!(key.thumbprint().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn rfc7638_3_1_the_hash_of_the_published_example() {
        // The RFC's own RSA example, through the same digest and encoding as ours.
        let members = concat!(
            r#"{"e":"AQAB","kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7a"#,
            "PFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_F",
            "DW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lF",
            r#"d2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#
        );
        let thumbprint = URL_SAFE_NO_PAD.encode(crypto::sha256(members.as_bytes()));
        assert_eq!(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn keys_for_other_purposes_are_refused() {
        let good = rfc8037_jwk();
        let change = |f: fn(&mut Jwk)| {
            let mut jwk = good.clone();
            f(&mut jwk);
            jwk.public_key().unwrap_err()
        };
        assert_eq!(change(|jwk| jwk.kty = "RSA".into()), JwkError::UnsupportedKeyType);
        assert_eq!(change(|jwk| jwk.crv = "X25519".into()), JwkError::UnsupportedKeyType);
        assert_eq!(change(|jwk| jwk.alg = Some("HS256".into())), JwkError::WrongUse);
        assert_eq!(change(|jwk| jwk.key_use = Some("enc".into())), JwkError::WrongUse);
        assert_eq!(change(|jwk| jwk.kid.clear()), JwkError::NoKid);
        assert_eq!(change(|jwk| jwk.x.push('=')), JwkError::Malformed);
        assert_eq!(change(|jwk| jwk.x.truncate(20)), JwkError::Malformed);
    }

    #[test]
    fn a_kid_is_a_thumbprint_or_nothing() {
        assert!(Kid::parse("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k").is_some());
        for wrong in [
            "",
            "short",
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4 ",
            "../../../../../../etc/passwd/xxxxxxxxxxxxxxx",
        ] {
            assert_eq!(Kid::parse(wrong), None, "{wrong:?}");
        }
    }
}

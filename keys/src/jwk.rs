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

/// A public key. It cannot hold a private one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Ed25519([u8; 32]),
    /// Uncompressed point: 4, x, y.
    P256([u8; 65]),
    /// Big-endian, without leading zeros.
    Rsa {
        modulus: Box<[u8]>,
        exponent: Box<[u8]>,
    },
}

impl PublicKey {
    /// The key of `algorithm` in the bytes that [`PublicKey::bytes`] gives. RSA keys come from a [`Jwk`] only.
    #[must_use]
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::EdDsa => bytes.try_into().ok().filter(ed25519::is_sound).map(Form::Ed25519),
            Algorithm::Es256 => {
                bytes.try_into().ok().filter(|point: &[u8; 65]| point.starts_with(&[4])).map(Form::P256)
            }
            Algorithm::Rs256 => None,
        }
        .map(Self)
    }

    /// The raw bytes: an Ed25519 public key (RFC 8032 §5.1.5), an uncompressed P-256 point (SEC 1 §2.3.3), or an RSA
    /// modulus.
    #[must_use]
    pub const fn bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Ed25519(bytes) => bytes,
            Form::P256(point) => point,
            Form::Rsa { modulus, .. } => modulus,
        }
    }

    /// The algorithm that this key signs with. It belongs to the key; a token has no say in it (RFC 8725 §3.1).
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Form::Ed25519(_) => Algorithm::EdDsa,
            Form::P256(_) => Algorithm::Es256,
            Form::Rsa { .. } => Algorithm::Rs256,
        }
    }

    /// The RFC 7638 thumbprint.
    #[must_use]
    pub fn thumbprint(&self) -> Kid {
        let Jwk { kty, crv, x, y, n, e, .. } = self.members();
        // RFC 7638 §3.2, RFC 8037 §2: the required members, in lexicographic order, without white space.
        let members = match &self.0 {
            Form::Ed25519(_) => format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}"}}"#),
            Form::P256(_) => format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#),
            Form::Rsa { .. } => format!(r#"{{"e":"{e}","kty":"{kty}","n":"{n}"}}"#),
        };
        Kid(URL_SAFE_NO_PAD.encode(crypto::sha256(members.as_bytes())).into())
    }

    /// Whether `signature` is this key's signature of `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Form::Ed25519(key) => {
                ed25519::is_sound_signature(signature) && crypto::ed25519_verifies(key, message, signature)
            }
            Form::P256(point) => crypto::p256_verifies(point, message, signature),
            Form::Rsa { modulus, exponent } => crypto::rsa_verifies(modulus, exponent, message, signature),
        }
    }

    /// The members of the JWK that say which key it is.
    fn members(&self) -> Jwk {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.0 {
            Form::Ed25519(key) => {
                Jwk { kty: "OKP".into(), crv: "Ed25519".into(), x: encode(key), ..Jwk::default() }
            }
            Form::P256([_, point @ ..]) => {
                let (x, y) = point.split_at(32);
                Jwk { kty: "EC".into(), crv: "P-256".into(), x: encode(x), y: encode(y), ..Jwk::default() }
            }
            Form::Rsa { modulus, exponent } => {
                Jwk { kty: "RSA".into(), n: encode(modulus), e: encode(exponent), ..Jwk::default() }
            }
        }
    }
}

/// Points that a key or a signature must not hold. The backends compute with them; strict verifiers refuse them
/// (RFC 8032 §5.1.7, FIPS 186-5 §7.6.4): a signature under a point of small order fits many messages.
mod ed25519 {
    /// p = 2^255 - 19, little-endian.
    const P: [u8; 32] = {
        let mut p = [0xff; 32];
        p[0] = 0xed;
        p[31] = 0x7f;
        p
    };

    /// The y coordinates below p of the eight points whose order divides 8, little-endian.
    const SMALL_ORDER: [[u8; 32]; 5] = {
        let mut one = [0; 32];
        one[0] = 1;
        let mut minus_one = P;
        minus_one[0] -= 1;
        [[0; 32], one, minus_one, ORDER_8, MINUS_ORDER_8]
    };
    const ORDER_8: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    const MINUS_ORDER_8: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];

    /// Whether an encoded point is in its only canonical form, and of large order.
    pub(super) fn is_sound(point: &[u8; 32]) -> bool {
        let mut y = *point;
        // The topmost bit is the sign of x.
        y[31] &= 0x7f;
        y.iter().rev().lt(P.iter().rev()) && !SMALL_ORDER.contains(&y)
    }

    /// Whether the point that a signature begins with is sound. The rest is the backend's to check.
    pub(super) fn is_sound_signature(signature: &[u8]) -> bool {
        signature.first_chunk().is_some_and(is_sound)
    }
}

/// Why a JWK cannot be used to verify tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// Neither Ed25519 (`kty` OKP), P-256 (`kty` EC) nor RSA.
    #[error("not an Ed25519, P-256 or RSA key")]
    UnsupportedKeyType,
    /// `use`, `key_ops` or `alg` says that the key is for something else.
    #[error("the key is not for verifying signatures of its type")]
    WrongUse,
    /// A coordinate or number is not base64url of the right length, or not a sound point.
    #[error("malformed public key")]
    Malformed,
    /// There is no `kid` to find the key by.
    #[error("the key has no kid")]
    NoKid,
}

/// One entry of a JWK Set, as published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Jwk {
    /// Key type: `OKP`, `EC` or `RSA`.
    pub kty: String,
    /// Curve: `Ed25519` or `P-256`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub crv: String,
    /// Public key or its x coordinate, base64url.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub x: String,
    /// y coordinate, base64url.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub y: String,
    /// Modulus, base64url.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub n: String,
    /// Exponent, base64url.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub e: String,
    /// Key id.
    pub kid: String,
    /// Algorithm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// Intended use, `sig`.
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub key_use: Option<String>,
    /// Intended operations; a verifying key has `verify` among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_ops: Option<Vec<String>>,
}

impl Jwk {
    /// The published form of a public key.
    #[must_use]
    pub fn new(key: &PublicKey) -> Self {
        Self {
            kid: key.thumbprint().0.into(),
            alg: Some(key.algorithm().name().into()),
            key_use: Some("sig".into()),
            ..key.members()
        }
    }

    /// The public key in this entry.
    ///
    /// # Errors
    /// A [`JwkError`] that says why it is of no use for verifying.
    pub fn public_key(&self) -> Result<PublicKey, JwkError> {
        let key = match (self.kty.as_str(), self.crv.as_str()) {
            ("OKP", "Ed25519") => PublicKey::from_bytes(Algorithm::EdDsa, &decode(&self.x)?),
            ("EC", "P-256") => {
                let (x, y) = (decode(&self.x)?, decode(&self.y)?);
                // RFC 7518 §6.2.1.2: each coordinate has its full length.
                let whole = x.len() == 32 && y.len() == 32;
                PublicKey::from_bytes(Algorithm::Es256, &[&[4], &x[..], &y[..]].concat()).filter(|_| whole)
            }
            ("RSA", _) => {
                let (modulus, exponent) = (number(&self.n)?, number(&self.e)?);
                let sound = modulus.len() >= MIN_RSA_BYTES && !exponent.is_empty();
                sound.then_some(PublicKey(Form::Rsa { modulus, exponent }))
            }
            _ => return Err(JwkError::UnsupportedKeyType),
        };
        let key = key.ok_or(JwkError::Malformed)?;
        let for_signatures = self.key_use.as_deref().is_none_or(|key_use| key_use == "sig")
            && self.key_ops.as_deref().is_none_or(|operations| operations.iter().any(|op| op == "verify"))
            && self.alg.as_deref().is_none_or(|alg| key.algorithm().is_called(alg));
        if !for_signatures {
            return Err(JwkError::WrongUse);
        }
        if self.kid.is_empty() {
            return Err(JwkError::NoKid);
        }
        Ok(key)
    }
}

/// RFC 7518 §3.3: 2048 bits.
const MIN_RSA_BYTES: usize = 256;

fn decode(text: &str) -> Result<Vec<u8>, JwkError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| JwkError::Malformed)
}

/// A big-endian number without its leading zeros: some issuers write one (RFC 7518 §2 forbids it).
fn number(text: &str) -> Result<Box<[u8]>, JwkError> {
    let bytes = decode(text)?;
    Ok(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

/// A JWK Set (RFC 7517 §5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JwkSet {
    /// The keys, the signing one first.
    pub keys: Vec<Jwk>,
}

/// The text is not a JWK Set.
#[derive(Debug, thiserror::Error)]
#[error("not a JWK Set: {0}")]
pub struct MalformedJwkSet(#[from] serde_json::Error);

impl JwkSet {
    /// The set of these public keys, in this order.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Self {
        Self { keys: keys.into_iter().map(Jwk::new).collect() }
    }

    /// Reads a published set. Entries of a shape that is not known are passed over (RFC 7517 §5).
    ///
    /// # Errors
    /// [`MalformedJwkSet`] when it is not a JSON object with an array `keys`.
    pub fn parse(json: &[u8]) -> Result<Self, MalformedJwkSet> {
        #[derive(Deserialize)]
        struct Raw {
            keys: Vec<serde_json::Value>,
        }
        let raw: Raw = serde_json::from_slice(json)?;
        Ok(Self { keys: raw.keys.into_iter().filter_map(|jwk| serde_json::from_value(jwk).ok()).collect() })
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
        assert_eq!(change(|jwk| jwk.kty = "oct".into()), JwkError::UnsupportedKeyType);
        assert_eq!(change(|jwk| jwk.kty = "RSA".into()), JwkError::Malformed);
        assert_eq!(change(|jwk| jwk.crv = "X25519".into()), JwkError::UnsupportedKeyType);
        assert_eq!(change(|jwk| jwk.alg = Some("HS256".into())), JwkError::WrongUse);
        assert_eq!(change(|jwk| jwk.key_use = Some("enc".into())), JwkError::WrongUse);
        assert_eq!(change(|jwk| jwk.kid.clear()), JwkError::NoKid);
        assert_eq!(change(|jwk| jwk.x.push('=')), JwkError::Malformed);
        assert_eq!(change(|jwk| jwk.x.truncate(20)), JwkError::Malformed);
        assert_eq!(change(|jwk| jwk.key_ops = Some(vec!["encrypt".into()])), JwkError::WrongUse);
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

    #[test]
    fn points_of_small_order_and_other_forms_of_a_point_are_refused() {
        let refused = |bytes: &[u8]| PublicKey::from_bytes(Algorithm::EdDsa, bytes).is_none();
        let point = |first: u8, rest: u8, last: u8| {
            let mut point = [rest; 32];
            (point[0], point[31]) = (first, last);
            point
        };
        // Orders 4, 1 and 2; and 0, 1 and 2 written as p, p + 1 and p + 2.
        for (first, rest, last) in [
            (0, 0, 0),
            (1, 0, 0),
            (0xec, 0xff, 0x7f),
            (0xed, 0xff, 0x7f),
            (0xee, 0xff, 0x7f),
            (0xef, 0xff, 0x7f),
        ] {
            assert!(
                refused(&point(first, rest, last)) && refused(&point(first, rest, last | 0x80)),
                "{first:x}"
            );
        }
        // The four points of order 8.
        for mut point in [
            URL_SAFE_NO_PAD.decode("JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU").unwrap(),
            URL_SAFE_NO_PAD.decode("xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o").unwrap(),
        ] {
            assert!(refused(&point));
            point[31] |= 0x80;
            assert!(refused(&point));
        }
        assert!(!refused(rfc8037_jwk().public_key().unwrap().bytes()));
        assert!(refused(&[9; 31]) && refused(&[9; 33]));
    }

    #[test]
    fn entries_that_are_not_understood_are_passed_over() {
        let set = JwkSet::parse(
            br#"{"keys":[{"kty":"oct","k":"AAAA","kid":"a"},{"kty":7},"x",{"kty":"OKP","crv":"Ed25519","kid":"b",
                "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}],"status":"OK"}"#,
        )
        .unwrap();
        let usable: Vec<_> =
            set.keys.iter().filter(|jwk| jwk.public_key().is_ok()).map(|jwk| &*jwk.kid).collect();
        assert_eq!(usable, ["b"]);
        for wrong in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]} x"#] {
            assert!(JwkSet::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

//! The chain of an audit log, and its signed heads.
//!
//! The hash of an entry covers the hash of the one before it: whoever changes, drops or moves an entry changes every
//! hash after it. A head signs the last of them. It is a JWS (RFC 7515) with a `typ` of its own, so that nothing that
//! takes tokens takes it for one (RFC 8725 §3.11).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::crypto::{self, CryptoError};
use crate::json::{Item, Members};
use crate::jwk::PublicKey;
use crate::signing_key::SigningKey;
use crate::time::{Attested, UnixTime};

/// The `typ` of a signed head.
pub const TYP: &str = "m2mint-audit+jws";

/// The longest head that is looked at.
const MAX_HEAD_BYTES: usize = 2048;

/// SHA-256 of an entry and everything before it.
pub type Hash = [u8; 32];

/// What stands before the first entry of a log.
pub const BEGINNING: Hash = [0; 32];

/// The hash of `entry`, whose predecessor has the hash `before`.
#[must_use]
pub fn link(before: &Hash, entry: &str) -> Hash {
    crypto::sha256(&[before, entry.as_bytes()].concat())
}

/// How far a log reaches, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the oldest entry that is kept.
    pub first: i64,
    /// The hash of the entry before that one, which is kept no more.
    pub before: Hash,
    /// The number of the newest entry.
    pub seq: i64,
    /// Its hash.
    pub hash: Hash,
    /// When the head was signed.
    pub at: UnixTime,
    /// The same in attested time.
    pub attested: Attested,
}

/// Why a text is no head that can be relied on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not a JWS, or not one of an audit log.
    #[error("not a signed head of an audit log")]
    Malformed,
    /// Nobody knows the key that it names.
    #[error("signed with the key {0}, which the log does not know")]
    UnknownKey(String),
    /// The signature is not the key's.
    #[error("its signature is wrong")]
    BadSignature,
}

impl Head {
    /// Signs the head: the compact serialization of RFC 7515 §7.1.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`] when the operating system gives no random bytes, which ES256 needs.
    pub fn sign(&self, key: &SigningKey) -> Result<String, CryptoError> {
        let alg = key.public().algorithm().name();
        let header = format!(r#"{{"alg":"{alg}","typ":"{TYP}","kid":"{}"}}"#, key.kid());
        let base64 = |hash: &Hash| URL_SAFE_NO_PAD.encode(hash);
        let payload = format!(
            r#"{{"first":{},"before":"{}","seq":{},"hash":"{}","at":{},"attested":{}}}"#,
            self.first,
            base64(&self.before),
            self.seq,
            base64(&self.hash),
            self.at.millis(),
            self.attested.millis(),
        );
        let mut text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = key.sign(text.as_bytes())?;
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        Ok(text)
    }

    /// Reads a signed head and checks its signature with the key that it names. Answers the head and that key.
    ///
    /// # Errors
    /// [`HeadError`]
    pub fn verify(
        text: &str,
        key_named: impl FnOnce(&str) -> Option<PublicKey>,
    ) -> Result<(Self, PublicKey), HeadError> {
        let (signed, signature) =
            text.rsplit_once('.').filter(|_| text.len() <= MAX_HEAD_BYTES).ok_or(HeadError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(HeadError::Malformed)?;
        let header = decode(header)?;
        let header = Members::read(&header).map_err(|_| HeadError::Malformed)?;
        if header.text("typ") != Some(TYP) || header.get("crit").is_some() {
            return Err(HeadError::Malformed);
        }
        let kid = header.text("kid").ok_or(HeadError::Malformed)?;
        let key = key_named(kid).filter(|key| key.thumbprint().as_str() == kid);
        let key = key.ok_or_else(|| HeadError::UnknownKey(kid.to_owned()))?;
        let alg_fits = header.text("alg").is_some_and(|alg| key.algorithm().is_called(alg));
        if !alg_fits || !key.verifies(signed.as_bytes(), &decode(signature)?) {
            return Err(HeadError::BadSignature);
        }
        let payload = decode(payload)?;
        let payload = Members::read(&payload).map_err(|_| HeadError::Malformed)?;
        Self::read(&payload).map(|head| (head, key)).ok_or(HeadError::Malformed)
    }

    fn read(payload: &Members<'_>) -> Option<Self> {
        let number = |name| match payload.get(name) {
            Some(Item::Integer(number)) => Some(*number),
            _ => None,
        };
        let hash = |name| Hash::try_from(URL_SAFE_NO_PAD.decode(payload.text(name)?).ok()?).ok();
        Some(Self {
            first: number("first")?,
            before: hash("before")?,
            seq: number("seq")?,
            hash: hash("hash")?,
            at: UnixTime::from_millis(number("at")?),
            attested: Attested::from_millis(number("attested")?),
        })
    }
}

fn decode(part: &str) -> Result<Vec<u8>, HeadError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| HeadError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwk::JwkSet;
    use crate::signing_key::Algorithm;
    use crate::token::{Claims, Minter};
    use crate::verify::{Policy, Rejection, Verifier};

    fn head() -> Head {
        Head {
            first: 1,
            before: BEGINNING,
            seq: 2,
            hash: link(&link(&BEGINNING, "one"), "two"),
            at: UnixTime::from_secs(1_800_000_000),
            attested: Attested::from_millis(7),
        }
    }

    #[test]
    fn every_entry_and_its_place_count_in_the_hash() {
        let hash = |entries: &[&str]| entries.iter().fold(BEGINNING, |before, entry| link(&before, entry));
        let all = [hash(&["a", "b"]), hash(&["b", "a"]), hash(&["ab"]), hash(&["a", "b", "c"]), hash(&["b"])];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one), "{at}");
        }
    }

    #[test]
    fn a_signed_head_says_what_was_signed_and_only_under_its_own_key() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
            let (key, _) = SigningKey::generate(algorithm).unwrap();
            let (other, _) = SigningKey::generate(algorithm).unwrap();
            let text = head().sign(&key).unwrap();
            let known = |kid: &str| (kid == key.kid().as_str()).then(|| key.public().clone());
            assert_eq!(Head::verify(&text, known), Ok((head(), key.public().clone())));
            // Not the key that the head names, whoever says so.
            assert!(matches!(
                Head::verify(&text, |_| Some(other.public().clone())),
                Err(HeadError::UnknownKey(_))
            ));
            assert!(matches!(Head::verify(&text, |_| None), Err(HeadError::UnknownKey(_))));
        }
    }

    #[test]
    fn every_changed_character_of_a_head_is_noticed() {
        let (key, _) = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let text = head().sign(&key).unwrap();
        for position in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(Head::verify(&changed, |_| Some(key.public().clone())).is_err(), "character {position}");
        }
    }

    #[test]
    fn a_head_never_passes_as_a_token_nor_a_token_as_a_head() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
            let (key, _) = SigningKey::generate(algorithm).unwrap();
            let public = key.public().clone();
            let set = JwkSet::new([&public]);
            let text = head().sign(&key).unwrap();
            let now = head().at;
            for plain_typ in [false, true] {
                let verifier = Verifier::new(Policy { plain_typ, ..Policy::default() }, &set);
                assert_eq!(verifier.verify(&text, now), Err(Rejection::WrongType));
            }
            let minted = Minter::new(key).mint(&Claims {
                issuer: "https://auth.example.com/auth",
                client_id: "task",
                audience: "event",
                scopes: &[],
                issued_at: now,
                lifetime: 60,
                jti: "AAAAAAAAAAAAAAAAAAAAAA",
                extra: None,
            });
            assert_eq!(Head::verify(&minted.unwrap(), |_| Some(public)), Err(HeadError::Malformed));
        }
    }

    #[test]
    fn what_was_signed_as_something_else_is_no_head_whatever_it_says() {
        let (key, _) = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let text = head().sign(&key).unwrap();
        let payload = text.split('.').nth(1).unwrap();
        for (typ, good) in [(TYP, true), ("at+jwt", false), ("JWT", false), ("M2MINT-AUDIT+JWS", false)] {
            let header = format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{}"}}"#, key.kid());
            let signed = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header));
            let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).unwrap());
            let verified = Head::verify(&format!("{signed}.{signature}"), |_| Some(key.public().clone()));
            assert_eq!(verified.is_ok(), good, "{typ}");
        }
    }
}

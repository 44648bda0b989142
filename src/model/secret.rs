//! Client secrets and admin keys: made, recognised, hashed; never stored as they are.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use m2mint_keys::crypto::{self, CryptoError};
use parking_lot::Mutex;
use zeroize::Zeroizing;

/// The shortest secret that a caller may choose.
pub const MIN_CHOSEN_LENGTH: usize = 16;
/// The longest secret that is looked at.
pub const MAX_LENGTH: usize = 1024;

const RANDOM_LENGTH: usize = 43;
const CHECKSUM_LENGTH: usize = 6;

/// A client secret in the clear. Wiped when dropped, never printed.
pub struct ClientSecret(Zeroizing<String>);

/// A secret that a caller chose is too weak, or cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// Too easy to guess.
    #[error("a secret must have at least {MIN_CHOSEN_LENGTH} characters")]
    TooShort,
    /// Beyond what a request may carry.
    #[error("a secret must have at most {MAX_LENGTH} characters")]
    TooLong,
    /// One of m2mint's own, with a mistake in it.
    #[error("this looks like a secret made by m2mint, but its checksum is wrong")]
    Mistyped,
    /// RFC 6749 Appendix A.2 allows printable ASCII only.
    #[error("a secret may hold printable ASCII characters only")]
    BadCharacter,
}

impl ClientSecret {
    /// Makes a secret: `m2s_`, 256 random bits, a checksum.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`] when the operating system gives no random bytes.
    pub fn generate() -> Result<Self, CryptoError> {
        generate("m2s_").map(Self)
    }

    /// Takes a secret that a caller chose.
    ///
    /// # Errors
    /// [`InvalidSecret`] when it is too short, too long, or holds other than printable ASCII.
    pub fn chosen(text: &str) -> Result<Self, InvalidSecret> {
        if text.chars().count() < MIN_CHOSEN_LENGTH {
            return Err(InvalidSecret::TooShort);
        }
        if text.len() > MAX_LENGTH {
            return Err(InvalidSecret::TooLong);
        }
        if !text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
            return Err(InvalidSecret::BadCharacter);
        }
        if has_generated_form(text) && !is_generated("m2s_", text) {
            return Err(InvalidSecret::Mistyped);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret itself, for the one answer that shows it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    ///
    /// # Errors
    /// [`CryptoError`] when there is no salt to be had.
    pub fn hash(&self) -> Result<SecretHash, CryptoError> {
        if is_generated("m2s_", &self.0) {
            return Ok(SecretHash::Sha256(crypto::sha256(self.0.as_bytes())));
        }
        let salt = crypto::random::<16>()?;
        let hash = slow_hash(self.0.as_bytes(), &salt).ok_or(CryptoError::MalformedKey)?;
        let phc = format!("{SLOW_HASH}{}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
        Ok(SecretHash::Argon2id(phc.into()))
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(..)")
    }
}

/// What is stored of a client secret.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretHash {
    /// Of a secret with 256 random bits: nothing that a slow hash could add.
    Sha256([u8; 32]),
    /// Of a secret that a person may have chosen: a PHC string.
    Argon2id(Box<str>),
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256(_) => "Sha256(..)",
            Self::Argon2id(_) => "Argon2id(..)",
        })
    }
}

/// Whether `presented` has the form of a secret that this server makes. Its checksum is not looked at: that is for
/// scanners, and no secret with a wrong one was ever stored.
#[must_use]
pub fn has_generated_form(presented: &str) -> bool {
    presented.len() == "m2s_".len() + RANDOM_LENGTH + CHECKSUM_LENGTH && presented.starts_with("m2s_")
}

/// Checks a chosen secret against its Argon2id hash. Takes milliseconds and 19 MiB: never on a thread that serves.
#[must_use]
pub fn slow_hash_matches(phc: &str, presented: &str) -> bool {
    let matches = |(salt, expected): (Vec<u8>, [u8; 32])| {
        slow_hash(presented.as_bytes(), &salt).is_some_and(|hash| crypto::digests_equal(&hash, &expected))
    };
    parse_slow_hash(phc).is_some_and(matches)
}

/// How every slow hash begins, as a PHC string: OWASP's first recommendation for Argon2id, 19 MiB, 2 passes, 1 lane.
const SLOW_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

/// Whether a text is a hash as [`ClientSecret::hash`] makes them for chosen secrets, with the same cost.
#[must_use]
pub fn is_slow_hash(phc: &str) -> bool {
    parse_slow_hash(phc).is_some()
}

/// Salt and digest of a hash that [`ClientSecret::hash`] has made.
fn parse_slow_hash(phc: &str) -> Option<(Vec<u8>, [u8; 32])> {
    let (salt, digest) = phc.strip_prefix(SLOW_HASH)?.split_once('$')?;
    let decode = |text| STANDARD_NO_PAD.decode(text).ok();
    Some((decode(salt)?, decode(digest)?.try_into().ok()?))
}

/// Argon2id. One at a time, in memory that is taken once and kept: given back, 19 MiB at a time from whichever thread,
/// it would pile up in the allocator.
fn slow_hash(secret: &[u8], salt: &[u8]) -> Option<[u8; 32]> {
    static MEMORY: Mutex<Vec<Block>> = Mutex::new(Vec::new());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
    let mut memory = MEMORY.lock();
    memory.resize(Params::DEFAULT.block_count(), Block::default());
    let mut hash = [0; 32];
    let done = argon2.hash_password_into_with_memory(secret, salt, &mut hash, memory.as_mut_slice());
    // It was made of the secret.
    memory.fill(Block::default());
    std::hint::black_box(&memory);
    done.ok().map(|()| hash)
}

/// An admin key in the clear. Wiped when dropped, never printed.
pub struct AdminKey(Zeroizing<String>);

impl AdminKey {
    /// Makes a key: `m2a_`, 256 random bits, a checksum.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`] when the operating system gives no random bytes.
    pub fn generate() -> Result<Self, CryptoError> {
        generate("m2a_").map(Self)
    }

    /// The key itself, for the one time that it is shown.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        crypto::sha256(self.0.as_bytes())
    }
}

impl fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminKey(..)")
    }
}

fn generate(prefix: &str) -> Result<Zeroizing<String>, CryptoError> {
    let random = Zeroizing::new(crypto::random::<32>()?);
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + RANDOM_LENGTH + CHECKSUM_LENGTH));
    text.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(*random, &mut text);
    let checksum = checksum(&text);
    text.push_str(&checksum);
    Ok(text)
}

fn is_generated(prefix: &str, text: &str) -> bool {
    text.len() == prefix.len() + RANDOM_LENGTH + CHECKSUM_LENGTH
        && text.starts_with(prefix)
        && text.is_ascii()
        && text
            .split_at_checked(text.len() - CHECKSUM_LENGTH)
            .is_some_and(|(body, sum)| checksum(body) == sum)
}

/// Lets a scanner tell a leaked secret from a look-alike without asking anybody: the first 6 base64url characters of
/// the SHA-256 of what stands before them.
fn checksum(body: &str) -> String {
    // Six characters carry 36 bits.
    let [a, b, c, d, e, ..] = crypto::sha256(body.as_bytes());
    let mut text = URL_SAFE_NO_PAD.encode([a, b, c, d, e]);
    text.truncate(CHECKSUM_LENGTH);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_secret_has_prefix_entropy_and_checksum() {
        let secret = ClientSecret::generate().unwrap();
        assert_eq!(secret.expose().len(), 4 + 43 + 6);
        assert!(has_generated_form(secret.expose()) && ClientSecret::chosen(secret.expose()).is_ok());
        assert!(matches!(secret.hash().unwrap(), SecretHash::Sha256(_)));
        for position in 0..secret.expose().len() {
            let mut changed = secret.expose().as_bytes().to_vec();
            changed[position] = if changed[position] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(!is_generated("m2s_", &changed), "character {position}");
            // What is not recognised as one of ours must not be stored as one.
            let taken = ClientSecret::chosen(&changed).map(|secret| secret.hash().unwrap());
            assert!(!matches!(taken, Ok(SecretHash::Sha256(_))), "character {position}");
        }
    }

    #[test]
    fn a_chosen_secret_is_hashed_slowly_and_with_salt() {
        let secret = ClientSecret::chosen("correct horse battery").unwrap();
        let (SecretHash::Argon2id(a), SecretHash::Argon2id(b)) =
            (secret.hash().unwrap(), secret.hash().unwrap())
        else {
            panic!("a chosen secret needs a slow hash");
        };
        assert_ne!(a, b);
        assert!(a.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{a}");
        assert!(
            slow_hash_matches(&a, "correct horse battery") && !slow_hash_matches(&a, "correct horse batterx")
        );
    }

    #[test]
    fn what_was_hashed_before_is_still_known() {
        // Of another implementation of RFC 9106.
        let phc = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IG9mIG91cnM$p11IgSaeJ87vZ1Bo9m07d+7UHPv5RFmnc+qSc2SxTOo";
        assert!(slow_hash_matches(phc, "correct horse battery"));
        for wrong in ["", "$argon2id$v=19$m=8,t=2,p=1$c29tZSBzYWx0IG9mIG91cnM$AAAA", &phc[..60]] {
            assert!(!slow_hash_matches(wrong, "correct horse battery"), "{wrong}");
        }
    }

    #[test]
    fn weak_and_unsendable_secrets_are_refused() {
        assert!(matches!(ClientSecret::chosen("fifteen letters"), Err(InvalidSecret::TooShort)));
        assert!(matches!(ClientSecret::chosen(&"x".repeat(1025)), Err(InvalidSecret::TooLong)));
        assert!(matches!(ClientSecret::chosen("sixteen letters\u{e9}"), Err(InvalidSecret::BadCharacter)));
    }

    #[test]
    fn nothing_is_printed() {
        let secret = ClientSecret::generate().unwrap();
        let shown = format!("{secret:?} {:?} {:?}", secret.hash().unwrap(), AdminKey::generate().unwrap());
        assert_eq!(shown, "ClientSecret(..) Sha256(..) AdminKey(..)");
    }
}

//! Private keys at rest: AES-256-GCM under a master key that lives outside the database.
//!
//! The sealed form is one version byte, a random 96-bit nonce, the ciphertext and a 128-bit tag. The key id is
//! authenticated with it, so a sealed key cannot be moved to another row.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::crypto::{self, CryptoError};
use crate::jwk::Kid;
use crate::signing_key::Seed;

const VERSION: u8 = 1;

/// The key that seals all others. Wiped when dropped, never printed.
///
/// Boxed so that moving it never leaves a copy behind.
pub struct MasterKey(Box<Zeroizing<[u8; 32]>>);

/// The text is not a master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a master key: 32 bytes are expected, as base64 or as 64 hexadecimal digits")]
pub struct MalformedMasterKey;

impl MasterKey {
    /// Makes a new master key.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`] when the operating system gives no random bytes.
    pub fn generate() -> Result<Self, CryptoError> {
        let key = Self::random();
        crypto::scrub_stack();
        key
    }

    /// Reads 32 bytes written as base64 (either alphabet, padded or not) or as hexadecimal digits.
    ///
    /// # Errors
    /// [`MalformedMasterKey`] for anything else.
    pub fn parse(text: &str) -> Result<Self, MalformedMasterKey> {
        let text = text.trim();
        let bytes = if text.len() == 64 { from_hex(text) } else { None }.or_else(|| {
            [URL_SAFE_NO_PAD, STANDARD_NO_PAD, URL_SAFE, STANDARD]
                .iter()
                .find_map(|engine| engine.decode(text).ok())
                .map(Zeroizing::new)
        });
        let bytes = bytes.ok_or(MalformedMasterKey)?;
        Ok(Self::boxed(bytes.as_slice().try_into().map_err(|_| MalformedMasterKey)?))
    }

    /// In a frame of its own, which the caller scrubs.
    #[inline(never)]
    fn random() -> Result<Self, CryptoError> {
        Ok(Self::boxed(&Zeroizing::new(crypto::random()?)))
    }

    fn boxed(bytes: &[u8; 32]) -> Self {
        let mut key = Box::new(Zeroizing::new([0; 32]));
        key.copy_from_slice(bytes);
        Self(key)
    }

    /// The text that [`MasterKey::parse`] reads, for the file that keeps it.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(&self.0[..]))
    }

    /// Seals the seed of the key `kid`.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`] when there is no nonce to be had.
    pub fn seal(&self, kid: &Kid, seed: &Seed) -> Result<Vec<u8>, CryptoError> {
        self.seal_bytes(&signing_key_context(kid), seed.expose())
    }

    /// Opens the sealed seed of the key `kid`.
    ///
    /// # Errors
    /// [`CryptoError::Unsealable`] when the master key is another one, the bytes were changed, or they belong to another kid.
    pub fn open(&self, kid: &Kid, sealed: &[u8]) -> Result<Seed, CryptoError> {
        Seed::from_bytes(&self.open_bytes(&signing_key_context(kid), sealed)?)
    }

    /// A sealed constant: kept in the database so that a wrong master key is recognised before anything else is tried.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`] when there is no nonce to be had.
    pub fn make_check(&self) -> Result<Vec<u8>, CryptoError> {
        self.seal_bytes(CHECK_CONTEXT, CHECK)
    }

    /// Whether `check` was made by this master key.
    #[must_use]
    pub fn passes(&self, check: &[u8]) -> bool {
        self.open_bytes(CHECK_CONTEXT, check).is_ok_and(|bytes| bytes.as_slice() == CHECK)
    }

    fn seal_bytes(&self, context: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let sealed = crypto::aead_seal(&self.0, context, plaintext)?;
        Ok([&[VERSION][..], &sealed].concat())
    }

    fn open_bytes(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        match sealed.split_first() {
            Some((&VERSION, rest)) => crypto::aead_open(&self.0, context, rest),
            _ => Err(CryptoError::Unsealable),
        }
    }
}

const CHECK: &[u8] = b"m2mint";
const CHECK_CONTEXT: &[u8] = b"m2mint master key check";

fn signing_key_context(kid: &Kid) -> Vec<u8> {
    [b"m2mint signing key ", kid.as_str().as_bytes()].concat()
}

fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digits = text.bytes().map(|b| char::from(b).to_digit(16)).collect::<Option<Vec<u32>>>()?;
    let bytes = digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |acc, digit| acc << 4 | digit));
    bytes.map(|byte| u8::try_from(byte).ok()).collect::<Option<Vec<u8>>>().map(Zeroizing::new)
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing_key::{Algorithm, SigningKey};

    #[test]
    fn a_sealed_key_opens_under_its_own_master_key_and_kid_only() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
            let master = MasterKey::generate().unwrap();
            let (key, seed) = SigningKey::generate(algorithm).unwrap();
            let (other, _) = SigningKey::generate(algorithm).unwrap();
            let sealed = master.seal(key.kid(), &seed).unwrap();

            let opened = master.open(key.kid(), &sealed).unwrap();
            assert_eq!(SigningKey::from_seed(&opened).unwrap().kid(), key.kid());
            assert!(matches!(master.open(other.kid(), &sealed), Err(CryptoError::Unsealable)));
            assert!(MasterKey::generate().unwrap().open(key.kid(), &sealed).is_err());
        }
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
            let master = MasterKey::generate().unwrap();
            let (key, seed) = SigningKey::generate(algorithm).unwrap();
            let sealed = master.seal(key.kid(), &seed).unwrap();
            for position in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[position] ^= 1;
                assert!(master.open(key.kid(), &changed).is_err(), "byte {position}");
                assert!(master.open(key.kid(), &sealed[..position]).is_err(), "cut at {position}");
            }
        }
    }

    #[test]
    fn a_seal_never_shows_the_seed_nor_repeats() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
            let master = MasterKey::generate().unwrap();
            let (key, seed) = SigningKey::generate(algorithm).unwrap();
            let sealed = master.seal(key.kid(), &seed).unwrap();
            assert_ne!(sealed, master.seal(key.kid(), &seed).unwrap());
            assert!(!sealed.windows(32).any(|window| window == seed.expose()));
        }
    }

    #[test]
    fn the_master_key_is_recognised() {
        let master = MasterKey::generate().unwrap();
        let check = master.make_check().unwrap();
        assert!(master.passes(&check));
        assert!(MasterKey::parse(&master.to_text()).unwrap().passes(&check));
        assert!(!MasterKey::generate().unwrap().passes(&check));
    }

    #[test]
    fn master_keys_are_read_in_the_forms_that_people_make_them_in() {
        let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1F";
        let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        let check = MasterKey::parse(hex).unwrap().make_check().unwrap();
        for text in [base64.to_owned(), format!("{base64}=\n")] {
            assert!(MasterKey::parse(&text).unwrap().passes(&check), "{text}");
        }
        for wrong in ["", "password", &hex[..62], &base64[..40], "zz"] {
            assert!(MasterKey::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(format!("{:?}", MasterKey::generate().unwrap()), "MasterKey(..)");
    }
}

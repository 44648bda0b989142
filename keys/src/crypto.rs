//! The crypto backend: the only file of m2mint that names it.
//!
//! `ring` and `aws-lc-rs` have the same interface, so the twin is chosen by one import. Everything above this file
//! works on byte arrays and does not know which of the two is underneath.

#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs as backend;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use ring as backend;
#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
compile_error!("m2mint-keys needs a crypto backend: enable the feature `ring` or `aws-lc-rs`");

use backend::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use backend::rand::SecureRandom as _;
use backend::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use zeroize::{Zeroize as _, Zeroizing};

/// Name of the backend that this build uses, for `--version` and reports.
pub const BACKEND: &str = if cfg!(feature = "aws-lc-rs") { "aws-lc-rs" } else { "ring" };

/// Why a cryptographic operation failed. It never says more: details here help only attackers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
    /// A seed or key has the wrong length or form.
    #[error("malformed key material")]
    MalformedKey,
    /// Authenticated decryption failed: wrong key, wrong context, or changed bytes.
    #[error("authenticated decryption failed")]
    Unsealable,
}

/// Random bytes from the operating system.
///
/// # Errors
/// [`CryptoError::NoRandomness`] when the system has none to give.
pub fn random<const N: usize>() -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    backend::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| CryptoError::NoRandomness)?;
    Ok(bytes)
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(backend::digest::digest(&backend::digest::SHA256, bytes).as_ref());
    out
}

/// HMAC-SHA-256 over the concatenation of `parts`.
#[must_use]
pub fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let key = backend::hmac::Key::new(backend::hmac::HMAC_SHA256, key);
    let mut context = backend::hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// Compares two digests in time that does not depend on where they differ.
#[must_use]
pub fn digests_equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let difference = a.iter().zip(b).fold(0_u8, |acc, (x, y)| acc | (x ^ y));
    // Keeps the optimiser from turning the fold into an early exit.
    std::hint::black_box(difference) == 0
}

/// An Ed25519 key pair in memory. Wiped when dropped.
pub(crate) struct Ed25519 {
    // Boxed so that moving the owner never leaves a copy of the expanded private key behind.
    pair: Box<Ed25519KeyPair>,
}

impl Ed25519 {
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Result<Self, CryptoError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map(Box::new);
        scrub_stack();
        Ok(Self { pair: pair.map_err(|_| CryptoError::MalformedKey)? })
    }

    pub(crate) fn public(&self) -> Result<[u8; 32], CryptoError> {
        self.pair.public_key().as_ref().try_into().map_err(|_| CryptoError::MalformedKey)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut out = [0; 64];
        out.copy_from_slice(self.pair.sign(message).as_ref());
        out
    }
}

impl Drop for Ed25519 {
    fn drop(&mut self) {
        // The backend does not wipe its key pairs. Writing a worthless pair over the real one does, without unsafe code.
        if let Ok(worthless) = Ed25519KeyPair::from_seed_unchecked(&[0; 32]) {
            *self.pair = worthless;
            std::hint::black_box(&self.pair);
        }
        scrub_stack();
    }
}

/// A P-256 key pair in memory. Wiped when dropped.
pub(crate) struct P256 {
    // Boxed for the same reason as an Ed25519 pair.
    pair: Box<EcdsaKeyPair>,
}

impl P256 {
    /// Makes a new private key: a PKCS#8 document (RFC 5208) that holds the public half too.
    pub(crate) fn generate_document() -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let document = p256_document();
        scrub_stack();
        document
    }

    pub(crate) fn from_document(document: &[u8]) -> Result<Self, CryptoError> {
        let pair = p256_pair(document).map(Box::new);
        scrub_stack();
        Ok(Self { pair: pair? })
    }

    pub(crate) fn public(&self) -> Result<[u8; 65], CryptoError> {
        self.pair.public_key().as_ref().try_into().map_err(|_| CryptoError::MalformedKey)
    }

    /// Signs with fresh randomness: r and s of 32 bytes each (RFC 7518 §3.4).
    pub(crate) fn sign(&self, message: &[u8]) -> Result<[u8; 64], CryptoError> {
        let signature = self
            .pair
            .sign(&backend::rand::SystemRandom::new(), message)
            .map_err(|_| CryptoError::NoRandomness)?;
        signature.as_ref().try_into().map_err(|_| CryptoError::MalformedKey)
    }
}

impl Drop for P256 {
    fn drop(&mut self) {
        if let Ok(worthless) = worthless_p256_pair() {
            *self.pair = worthless;
            std::hint::black_box(&self.pair);
        }
        scrub_stack();
    }
}

/// In a frame of its own, which the caller scrubs: the backend's document is not wiped when dropped.
#[inline(never)]
fn p256_document() -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let random = backend::rand::SystemRandom::new();
    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
        .map(|document| Zeroizing::new(document.as_ref().to_vec()))
        .map_err(|_| CryptoError::NoRandomness)
}

#[inline(never)]
fn p256_pair(document: &[u8]) -> Result<EcdsaKeyPair, CryptoError> {
    #[cfg(feature = "aws-lc-rs")]
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document);
    #[cfg(not(feature = "aws-lc-rs"))]
    let pair = EcdsaKeyPair::from_pkcs8(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        document,
        &backend::rand::SystemRandom::new(),
    );
    pair.map_err(|_| CryptoError::MalformedKey)
}

/// The pair whose private half is the number one, so that its public half is the generator of the curve.
fn worthless_p256_pair() -> Result<EcdsaKeyPair, CryptoError> {
    let mut one = [0; 32];
    one[31] = 1;
    #[cfg(feature = "aws-lc-rs")]
    let pair = EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        &one,
        &P256_GENERATOR,
    );
    #[cfg(not(feature = "aws-lc-rs"))]
    let pair = EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        &one,
        &P256_GENERATOR,
        &backend::rand::SystemRandom::new(),
    );
    pair.map_err(|_| CryptoError::MalformedKey)
}

/// The generator of P-256 (SEC 2 §2.4.2), uncompressed.
const P256_GENERATOR: [u8; 65] = [
    0x04, 0x6B, 0x17, 0xD1, 0xF2, 0xE1, 0x2C, 0x42, 0x47, 0xF8, 0xBC, 0xE6, 0xE5, 0x63, 0xA4, 0x40, 0xF2,
    0x77, 0x03, 0x7D, 0x81, 0x2D, 0xEB, 0x33, 0xA0, 0xF4, 0xA1, 0x39, 0x45, 0xD8, 0x98, 0xC2, 0x96, 0x4F,
    0xE3, 0x42, 0xE2, 0xFE, 0x1A, 0x7F, 0x9B, 0x8E, 0xE7, 0xEB, 0x4A, 0x7C, 0x0F, 0x9E, 0x16, 0x2B, 0xCE,
    0x33, 0x57, 0x6B, 0x31, 0x5E, 0xCE, 0xCB, 0xB6, 0x40, 0x68, 0x37, 0xBF, 0x51, 0xF5,
];

/// Checks an Ed25519 signature (RFC 8032).
#[must_use]
pub(crate) fn ed25519_verifies(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

/// Checks an ECDSA signature: P-256, SHA-256, r and s of 32 bytes each (RFC 7518 §3.4).
#[must_use]
pub(crate) fn p256_verifies(point: &[u8; 65], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
}

/// Checks an RSASSA-PKCS1-v1_5 signature with SHA-256 (RFC 7518 §3.3).
#[must_use]
pub(crate) fn rsa_verifies(modulus: &[u8], exponent: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = RsaPublicKeyComponents { n: modulus, e: exponent };
    key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
}

/// AES-256-GCM. Answers nonce, ciphertext and tag as one string of bytes.
pub(crate) fn aead_seal(key: &[u8; 32], context: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let nonce = random::<12>()?;
    // With room for the tag: a buffer that moves to grow would leave the plaintext behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len()));
    buffer.extend_from_slice(plaintext);
    let sealed = seal_in_place(key, nonce, context, &mut buffer);
    scrub_stack();
    sealed?;
    Ok([&nonce[..], &buffer].concat())
}

/// The reverse of [`aead_seal`].
pub(crate) fn aead_open(
    key: &[u8; 32],
    context: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<12>().ok_or(CryptoError::Unsealable)?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let length = open_in_place(key, *nonce, context, &mut buffer);
    scrub_stack();
    buffer.truncate(length?);
    Ok(buffer)
}

/// In a frame of its own, which the caller scrubs: the backend does not wipe the keys that it expands, and an expanded
/// AES key begins with the key itself.
#[inline(never)]
fn seal_in_place(
    key: &[u8; 32],
    nonce: [u8; 12],
    context: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<(), CryptoError> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| CryptoError::MalformedKey)?;
    LessSafeKey::new(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), buffer)
        .map_err(|_| CryptoError::Unsealable)
}

/// The same; answers the length of what was sealed.
#[inline(never)]
fn open_in_place(
    key: &[u8; 32],
    nonce: [u8; 12],
    context: &[u8],
    buffer: &mut [u8],
) -> Result<usize, CryptoError> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| CryptoError::MalformedKey)?;
    LessSafeKey::new(key)
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(context), buffer)
        .map(|opened| opened.len())
        .map_err(|_| CryptoError::Unsealable)
}

/// Overwrites the part of the stack that a key operation has just used: expanding a seed leaves copies there.
/// Generous: what is not optimised takes much more of it.
#[inline(never)]
pub(crate) fn scrub_stack() {
    let mut used = [0xA5_u8; 48 * 1024];
    used.zeroize();
    std::hint::black_box(&used);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_differ_wherever_one_bit_differs() {
        let a = sha256(b"a");
        assert!(digests_equal(&a, &a));
        for bit in 0..256 {
            let mut b = a;
            b[bit / 8] ^= 1 << (bit % 8);
            assert!(!digests_equal(&a, &b), "bit {bit}");
        }
    }

    #[test]
    fn hmac_joins_its_parts() {
        // RFC 4231, test case 2, with a key padded to 32 bytes: HMAC pads with zeros itself.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let mac = hmac_sha256(&key, &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(mac.iter().map(|b| format!("{b:02x}")).collect::<String>(), expected);
    }

    #[test]
    fn a_p256_pair_is_overwritten_by_one_that_the_backend_accepts() {
        assert_eq!(worthless_p256_pair().unwrap().public_key().as_ref(), P256_GENERATOR);
    }

    #[test]
    fn random_bytes_are_not_repeated() {
        assert_ne!(random::<32>().unwrap(), random::<32>().unwrap());
    }
}

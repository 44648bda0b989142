//! Ed25519 signing keys (RFC 8032, RFC 8037).

use std::fmt;

use zeroize::Zeroizing;

use crate::crypto::{self, CryptoError, Ed25519};
use crate::jwk::{Kid, PublicKey};

/// A JWS signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519, which JOSE calls `EdDSA`.
    EdDsa,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256. For verifying what others signed; m2mint never signs with it.
    Rs256,
}

impl Algorithm {
    /// The name in the `alg` header and in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// Whether `name` is one of its names. RFC 9864 gives EdDSA with this curve the name of the curve.
    #[must_use]
    pub fn is_called(self, name: &str) -> bool {
        name == self.name() || (self == Self::EdDsa && name == "Ed25519")
    }

    /// The algorithm with this JOSE name, if it is known.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::EdDsa, Self::Es256, Self::Rs256].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// The 32 secret bytes from which a key pair is derived. Wiped when dropped, never printed.
///
/// Only the seed is kept; the public half is always derived from it, so a pair can never be mismatched.
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// Takes the bytes of a seed.
    ///
    /// # Errors
    /// [`CryptoError::MalformedKey`] unless there are exactly 32.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        let seed: [u8; 32] = bytes.try_into().map_err(|_| CryptoError::MalformedKey)?;
        Ok(Self(Zeroizing::new(seed)))
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A private key that can sign. Its memory is wiped when it is dropped.
pub struct SigningKey {
    pair: Ed25519,
    public: PublicKey,
    kid: Kid,
}

impl SigningKey {
    /// Makes a new key, with the seed that has to be sealed and stored.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`] when the operating system gives no random bytes.
    pub fn generate() -> Result<(Self, Seed), CryptoError> {
        let seed = Seed(Zeroizing::new(crypto::random()?));
        Ok((Self::from_seed(&seed)?, seed))
    }

    /// The key pair of a seed.
    ///
    /// # Errors
    /// [`CryptoError::MalformedKey`] when the backend refuses the seed.
    pub fn from_seed(seed: &Seed) -> Result<Self, CryptoError> {
        let pair = Ed25519::from_seed(seed.expose())?;
        let public =
            PublicKey::from_bytes(Algorithm::EdDsa, &pair.public()?).ok_or(CryptoError::MalformedKey)?;
        let kid = public.thumbprint();
        Ok(Self { pair, public, kid })
    }

    /// The RFC 7638 thumbprint of the public half.
    #[must_use]
    pub fn kid(&self) -> &Kid {
        &self.kid
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn rfc8037_key() -> SigningKey {
        let d = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        SigningKey::from_seed(&Seed::from_bytes(&d).unwrap()).unwrap()
    }

    #[test]
    fn rfc8037_a1_a2_private_seed_gives_the_public_key() {
        let expected = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        assert_eq!(URL_SAFE_NO_PAD.encode(rfc8037_key().public().bytes()), expected);
    }

    #[test]
    fn rfc8037_a3_thumbprint() {
        assert_eq!(rfc8037_key().kid().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn rfc8037_a4_signature() {
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let expected =
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(URL_SAFE_NO_PAD.encode(rfc8037_key().sign(message)), expected);
    }

    #[test]
    fn rfc8037_a5_validation() {
        let key = rfc8037_key();
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let mut signature = key.sign(message);
        assert!(key.public().verifies(message, &signature));
        assert!(!key.public().verifies(b"another message", &signature));
        signature[0] ^= 1;
        assert!(!key.public().verifies(message, &signature));
    }

    #[test]
    fn debug_shows_the_kid_and_nothing_else() {
        assert_eq!(format!("{:?}", rfc8037_key()), "SigningKey(kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k)");
    }
}

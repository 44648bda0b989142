//! Signing keys: Ed25519 (RFC 8032, RFC 8037) and ECDSA with P-256 (RFC 7518 §3.4).

use std::fmt;

use zeroize::Zeroizing;

use crate::crypto::{self, CryptoError, Ed25519, P256};
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
    /// What m2mint signs with.
    pub const SIGNING: [Self; 2] = [Self::EdDsa, Self::Es256];

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

/// The secret bytes from which a key pair is made. Wiped when dropped, never printed.
///
/// For Ed25519 the 32 bytes of RFC 8032 §5.1.5; for P-256 a PKCS#8 document (RFC 5208). The public half always comes
/// from them and is checked against them, so a pair can never be mismatched.
pub struct Seed(Zeroizing<Vec<u8>>);

const ED25519_SEED_LENGTH: usize = 32;

impl Seed {
    /// Takes the bytes of a seed. 32 bytes are Ed25519's; anything else has to be a PKCS#8 document of a P-256 key.
    ///
    /// # Errors
    /// [`CryptoError::MalformedKey`] when they are neither.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        if bytes.len() != ED25519_SEED_LENGTH {
            P256::from_document(bytes)?;
        }
        Ok(Self(Zeroizing::new(bytes.to_vec())))
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

enum Pair {
    Ed25519(Ed25519),
    P256(P256),
}

/// A private key that can sign. Its memory is wiped when it is dropped.
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
    kid: Kid,
}

impl SigningKey {
    /// Makes a new key of `algorithm`, with the seed that has to be sealed and stored.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`] when the operating system gives no random bytes; [`CryptoError::MalformedKey`] for
    /// RS256, with which m2mint never signs.
    pub fn generate(algorithm: Algorithm) -> Result<(Self, Seed), CryptoError> {
        let seed = match algorithm {
            Algorithm::EdDsa => {
                let bytes = Zeroizing::new(crypto::random::<ED25519_SEED_LENGTH>()?);
                Seed(Zeroizing::new(bytes.to_vec()))
            }
            Algorithm::Es256 => Seed(P256::generate_document()?),
            Algorithm::Rs256 => return Err(CryptoError::MalformedKey),
        };
        Ok((Self::from_seed(&seed)?, seed))
    }

    /// The key pair of a seed.
    ///
    /// # Errors
    /// [`CryptoError::MalformedKey`] when the backend refuses the seed.
    pub fn from_seed(seed: &Seed) -> Result<Self, CryptoError> {
        let (pair, public) = if let Ok(bytes) = seed.expose().try_into() {
            let pair = Ed25519::from_seed(bytes)?;
            let public = PublicKey::from_bytes(Algorithm::EdDsa, &pair.public()?);
            (Pair::Ed25519(pair), public)
        } else {
            let pair = P256::from_document(seed.expose())?;
            let public = PublicKey::from_bytes(Algorithm::Es256, &pair.public()?);
            (Pair::P256(pair), public)
        };
        let public = public.ok_or(CryptoError::MalformedKey)?;
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
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`] when the operating system gives no random bytes, which ES256 needs.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], CryptoError> {
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(message)),
            Pair::P256(pair) => pair.sign(message),
        }
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
        assert_eq!(URL_SAFE_NO_PAD.encode(rfc8037_key().sign(message).unwrap()), expected);
    }

    #[test]
    fn rfc8037_a5_validation() {
        let key = rfc8037_key();
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let mut signature = key.sign(message).unwrap();
        assert!(key.public().verifies(message, &signature));
        assert!(!key.public().verifies(b"another message", &signature));
        signature[0] ^= 1;
        assert!(!key.public().verifies(message, &signature));
    }

    #[test]
    fn an_es256_key_signs_what_its_public_half_verifies() {
        let (key, seed) = SigningKey::generate(Algorithm::Es256).unwrap();
        let again = SigningKey::from_seed(&Seed::from_bytes(seed.expose()).unwrap()).unwrap();
        assert_eq!(key.public().algorithm(), Algorithm::Es256);
        assert_eq!(again.kid(), key.kid());

        let mut signature = again.sign(b"a message").unwrap();
        assert!(key.public().verifies(b"a message", &signature));
        assert!(!key.public().verifies(b"another message", &signature));
        assert_ne!(signature, again.sign(b"a message").unwrap());
        signature[63] ^= 1;
        assert!(!key.public().verifies(b"a message", &signature));
    }

    #[test]
    fn a_damaged_p256_document_is_no_seed() {
        let (_, seed) = SigningKey::generate(Algorithm::Es256).unwrap();
        for cut in (0..seed.expose().len()).filter(|&cut| cut != ED25519_SEED_LENGTH) {
            assert!(Seed::from_bytes(&seed.expose()[..cut]).is_err(), "cut at {cut}");
        }
        let mut mismatched = seed.expose().to_vec();
        *mismatched.last_mut().unwrap() ^= 1;
        assert!(Seed::from_bytes(&mismatched).is_err());
    }

    #[test]
    fn no_key_is_made_for_rs256() {
        assert!(matches!(SigningKey::generate(Algorithm::Rs256), Err(CryptoError::MalformedKey)));
    }

    #[test]
    fn debug_shows_the_kid_and_nothing_else() {
        assert_eq!(format!("{:?}", rfc8037_key()), "SigningKey(kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k)");
    }
}

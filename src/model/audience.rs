//! What an audience wants its tokens signed with.

use std::fmt;

use m2mint_keys::signing_key::Algorithm;

use crate::model::{Audience, InvalidName};

/// An audience and the algorithm that its services can check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudienceAlgorithm {
    /// The audience.
    pub name: Audience,
    /// What its tokens are signed with.
    pub alg: Algorithm,
}

/// The text does not give an audience an algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAudienceAlgorithm {
    /// There are not two words.
    #[error("an audience and an algorithm are expected, such as billing ES256")]
    NotTwoWords,
    /// The audience is not well formed.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The algorithm is none that tokens are signed with.
    #[error("{0:?} is no algorithm that tokens are signed with; use EdDSA or ES256")]
    Algorithm(String),
}

impl AudienceAlgorithm {
    /// Reads an audience and an algorithm, with a space between them.
    ///
    /// # Errors
    /// [`InvalidAudienceAlgorithm`], saying what is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidAudienceAlgorithm> {
        let (name, alg) = text.trim().rsplit_once(' ').ok_or(InvalidAudienceAlgorithm::NotTwoWords)?;
        Ok(Self { name: Audience::parse(name.trim_end())?, alg: parse_algorithm(alg)? })
    }
}

/// Reads the name of an algorithm that tokens can be signed with.
///
/// # Errors
/// [`InvalidAudienceAlgorithm::Algorithm`] for any other.
pub fn parse_algorithm(text: &str) -> Result<Algorithm, InvalidAudienceAlgorithm> {
    Algorithm::SIGNING
        .into_iter()
        .find(|alg| alg.is_called(text))
        .ok_or_else(|| InvalidAudienceAlgorithm::Algorithm(text.to_owned()))
}

impl fmt::Display for AudienceAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.alg.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_comes_before_its_algorithm() {
        for text in ["billing ES256", "https://erp.example.com/v1 ES256", "event EdDSA"] {
            assert_eq!(AudienceAlgorithm::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(AudienceAlgorithm::parse("event  Ed25519").unwrap().to_string(), "event EdDSA");
    }

    #[test]
    fn what_nobody_signs_with_is_refused() {
        for text in ["billing", "billing RS256", "billing es256", "billing none", "a b ES256", " ES256"] {
            assert!(AudienceAlgorithm::parse(text).is_err(), "{text}");
        }
    }
}

//! Where public keys of another issuer come from.

use std::fmt;
use std::path::PathBuf;

use m2mint_keys::time::UnixTime;
use url::Url;

use crate::model::host::is_protected;

/// Where keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The other issuer publishes them there.
    Url(Url),
    /// Somebody has kept them there.
    File(PathBuf),
}

impl Source {
    /// Reads `https://...`, or a path.
    ///
    /// # Errors
    /// Why it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("name a URL or a file".into());
        }
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let url = Url::parse(text).map_err(|error| format!("{text} is no URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !url.username().is_empty() {
            return Err(format!("{text} has to be an https URL without a name of a user"));
        }
        Ok(Self::Url(url))
    }

    /// Whether nobody on the way can put other keys in.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Url(url) => is_protected(url),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => write!(f, "{url}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Whose keys are published beside ours, and until when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// Where they come from.
    pub sources: Vec<Source>,
    /// When the last token of the other issuer expires.
    pub until: Option<UnixTime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_https_url_or_a_file() {
        for (text, protected) in [
            ("https://old.example/jwks.json", true),
            ("http://127.0.0.1:3567/recipe/jwt/jwks", true),
            ("http://old.example/jwks.json", false),
            ("/etc/m2mint/old.json", true),
        ] {
            let source = Source::parse(text).unwrap();
            assert_eq!((source.is_protected(), source.to_string().as_str()), (protected, text));
        }
        for wrong in ["", "ftp://a/b", "https://user@a/b", "https://"] {
            assert!(Source::parse(wrong).is_err(), "{wrong}");
        }
    }
}

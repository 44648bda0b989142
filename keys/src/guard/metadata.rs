//! How clients find out where to get a token (RFC 9728).

use serde_json::{Map, Value};
use url::{Host, Url};

/// Where the metadata of a resource without a path is found.
pub const PATH: &str = "/.well-known/oauth-protected-resource";

/// A URL that cannot name a resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Not a URL at all.
    #[error("the resource is not a URL: {0}")]
    Malformed(String),
    /// RFC 9728 §1.2: `https`, without a fragment. Plain http is for loopback only.
    #[error("the resource must be an https URL without a fragment")]
    NotAllowed,
}

/// The metadata of a protected resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    url: String,
    path: String,
    json: String,
}

impl Metadata {
    pub(super) fn new(resource: &str, issuer: Option<&str>, scopes: &[&str]) -> Result<Self, MetadataError> {
        let mut url = Url::parse(resource).map_err(|error| MetadataError::Malformed(error.to_string()))?;
        let loopback = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let allowed = url.scheme() == "https" || url.scheme() == "http" && loopback;
        if !allowed || url.fragment().is_some() {
            return Err(MetadataError::NotAllowed);
        }
        let mut members = Map::new();
        members.insert("resource".into(), resource.into());
        if let Some(issuer) = issuer {
            members.insert("authorization_servers".into(), Value::from(vec![issuer]));
        }
        members.insert("bearer_methods_supported".into(), Value::from(vec!["header"]));
        if !scopes.is_empty() {
            members.insert("scopes_supported".into(), Value::from(scopes));
        }
        // RFC 9728 §3.1: between the host and the path of the resource.
        let path = format!("{PATH}{}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Self { url: url.into(), path, json: Value::Object(members).to_string() })
    }

    /// The URL that a challenge names.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The path of that URL: [`PATH`], followed by the path of the resource where it has one.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The document.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_says_where_tokens_come_from() {
        let scopes = ["event.view", "event.create"];
        let metadata =
            Metadata::new("https://event.example.com", Some("https://auth.example.com/auth"), &scopes)
                .unwrap();
        assert_eq!(metadata.url(), "https://event.example.com/.well-known/oauth-protected-resource");
        let json: Value = serde_json::from_str(metadata.json()).unwrap();
        assert_eq!(json["resource"], "https://event.example.com");
        assert_eq!(json["authorization_servers"][0], "https://auth.example.com/auth");
        assert_eq!(json["scopes_supported"][1], "event.create");
    }

    #[test]
    fn a_path_follows_the_well_known_part() {
        let metadata = Metadata::new("https://api.example.com/calendar/?x=1", None, &[]).unwrap();
        assert_eq!(metadata.path(), "/.well-known/oauth-protected-resource/calendar");
        assert_eq!(
            metadata.url(),
            "https://api.example.com/.well-known/oauth-protected-resource/calendar?x=1"
        );
    }

    #[test]
    fn a_resource_is_an_https_url() {
        for wrong in
            ["http://event.example.com", "https://event.example.com/#x", "ftp://127.0.0.1/", "mailto:a@b"]
        {
            assert_eq!(Metadata::new(wrong, None, &[]), Err(MetadataError::NotAllowed), "{wrong}");
        }
        assert!(matches!(Metadata::new("event", None, &[]), Err(MetadataError::Malformed(_))));
        for loopback in ["http://127.0.0.1:3001", "http://[::1]/", "http://localhost:3001/x"] {
            assert!(Metadata::new(loopback, None, &[]).is_ok(), "{loopback}");
        }
    }
}

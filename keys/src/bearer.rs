//! Bearer tokens in HTTP (RFC 6750): the header that brings one, and the challenge that asks for another.

use std::fmt::Write as _;

/// The error codes of RFC 6750 §3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BearerError {
    /// The request is malformed: 400.
    InvalidRequest,
    /// The token is expired, revoked, malformed, or not for this: 401.
    InvalidToken,
    /// The token is good and does not allow this: 403.
    InsufficientScope,
}

impl BearerError {
    /// The value of `error`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::InvalidToken => 401,
            Self::InsufficientScope => 403,
        }
    }
}

/// The token in the value of an `Authorization` header; `None` when it speaks of another scheme.
///
/// # Errors
/// [`BearerError::InvalidRequest`] when it says `Bearer` and what follows is not one token (RFC 6750 §2.1).
pub fn token(authorization: &str) -> Result<Option<&str>, BearerError> {
    let (scheme, token) = authorization.split_once(' ').unwrap_or((authorization, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let token = token.trim_matches(' ');
    let body = token.trim_end_matches('=');
    let is_b64token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if body.is_empty() || !body.bytes().all(is_b64token) {
        return Err(BearerError::InvalidRequest);
    }
    Ok(Some(token))
}

/// The value of a `WWW-Authenticate` header: what was wrong, and what to bring instead.
#[derive(Debug, Clone, Copy, Default)]
pub struct Challenge<'a> {
    /// What is protected.
    pub realm: &'a str,
    /// What was wrong; `None` when there was no token at all (RFC 6750 §3.1: then no error is named).
    pub error: Option<BearerError>,
    /// The same for people.
    pub description: &'a str,
    /// The scopes that are needed.
    pub scopes: &'a [&'a str],
    /// URL of the metadata of the protected resource (RFC 9728 §5.1).
    pub resource_metadata: Option<&'a str>,
}

impl Challenge<'_> {
    /// The text of the header.
    #[must_use]
    pub fn to_header(&self) -> String {
        let mut header = String::from("Bearer realm=");
        quote(&mut header, self.realm);
        let mut parameter = |name: &str, value: &str| {
            header.push_str(", ");
            header.push_str(name);
            header.push('=');
            quote(&mut header, value);
        };
        if let Some(error) = self.error {
            parameter("error", error.code());
            if !self.description.is_empty() {
                parameter("error_description", self.description);
            }
        }
        if !self.scopes.is_empty() {
            parameter("scope", &self.scopes.join(" "));
        }
        if let Some(url) = self.resource_metadata {
            parameter("resource_metadata", url);
        }
        header
    }
}

/// A quoted-string of RFC 6750 §3: visible ASCII without quotes and backslashes. Whatever is neither becomes `?`.
fn quote(header: &mut String, value: &str) {
    let allowed = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
    // Writing to a string cannot fail.
    let _ = write!(header, "\"{}\"", value.replace(|c| !allowed(c), "?"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_what_follows_the_word_bearer() {
        assert_eq!(token("Bearer a.b-c_d~e+f/g=="), Ok(Some("a.b-c_d~e+f/g==")));
        assert_eq!(token("bEARER  abc "), Ok(Some("abc")));
        for other in ["Basic abc", "", "Bearerabc", "DPoP a.b.c"] {
            assert_eq!(token(other), Ok(None), "{other}");
        }
        for wrong in
            ["Bearer", "Bearer ", "Bearer a b", "Bearer a=b", "Bearer =", "Bearer a,b", "Bearer \u{e9}"]
        {
            assert_eq!(token(wrong), Err(BearerError::InvalidRequest), "{wrong}");
        }
    }

    #[test]
    fn a_challenge_names_no_error_when_there_was_no_token() {
        let challenge = Challenge { realm: "event", ..Challenge::default() };
        assert_eq!(challenge.to_header(), r#"Bearer realm="event""#);
        let challenge = Challenge {
            error: Some(BearerError::InsufficientScope),
            description: "the scope \"x\" is missing",
            scopes: &["event.create", "event.view"],
            resource_metadata: Some("https://event.example.com/.well-known/oauth-protected-resource"),
            ..challenge
        };
        assert_eq!(
            challenge.to_header(),
            concat!(
                r#"Bearer realm="event", error="insufficient_scope", error_description="the scope ?x? is missing", "#,
                r#"scope="event.create event.view", "#,
                r#"resource_metadata="https://event.example.com/.well-known/oauth-protected-resource""#
            )
        );
    }

    #[test]
    fn nothing_breaks_out_of_a_quoted_string() {
        let header = Challenge { realm: "a\"b\\c\r\nd\u{e9}", ..Challenge::default() }.to_header();
        assert_eq!(header, r#"Bearer realm="a?b?c??d?""#);
    }
}

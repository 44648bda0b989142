//! Names that go over the wire, by RFC 6749's grammar.

use std::fmt;

/// The most scopes that one client or one request may name.
pub const MAX_SCOPES: usize = 100;
/// The longest scope, in characters.
pub const MAX_SCOPE_LENGTH: usize = 200;
/// The most audiences that one client may have.
pub const MAX_AUDIENCES: usize = 50;
/// The longest audience, in characters.
pub const MAX_AUDIENCE_LENGTH: usize = 500;
/// The longest name of an admin key, in characters.
pub const MAX_ADMIN_KEY_NAME_LENGTH: usize = 64;
/// The longest client id, in characters.
pub const MAX_CLIENT_ID_LENGTH: usize = 200;

/// Why a text is not the name that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing there.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// Longer than allowed.
    #[error("{0} is longer than {1} characters")]
    TooLong(&'static str, usize),
    /// A character outside the grammar.
    #[error("{0} holds a character that is not allowed: {1:?}")]
    BadCharacter(&'static str, char),
    /// More than allowed.
    #[error("more than {1} {0}s")]
    TooMany(&'static str, usize),
}

fn check(
    what: &'static str,
    text: &str,
    longest: usize,
    allowed: fn(char) -> bool,
) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::Empty(what));
    }
    // Only a text of more bytes can have more characters.
    if text.len() > longest && text.chars().count() > longest {
        return Err(InvalidName::TooLong(what, longest));
    }
    text.chars().find(|c| !allowed(*c)).map_or(Ok(()), |c| Err(InvalidName::BadCharacter(what, c)))
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $longest:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// Parses the name.
            ///
            /// # Errors
            /// [`InvalidName`], saying what is wrong with it.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                Self::check(text)?;
                Ok(Self(text.into()))
            }

            /// Whether a text is such a name.
            ///
            /// # Errors
            /// [`InvalidName`], saying what is wrong with it.
            pub fn check(text: &str) -> Result<(), InvalidName> {
                check($what, text, $longest, $allowed)
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// A client identifier (RFC 6749 §2.2): visible ASCII.
    ClientId, "client id", MAX_CLIENT_ID_LENGTH, |c| matches!(c, '\x21'..='\x7e')
);
name_type!(
    /// The name of an admin key: letters, digits and `- _ .`, so that it can stand in a log.
    AdminKeyName, "name of an admin key", MAX_ADMIN_KEY_NAME_LENGTH,
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
);
name_type!(
    /// One scope token (RFC 6749 §3.3): `%x21 / %x23-5B / %x5D-7E`.
    Scope, "scope", MAX_SCOPE_LENGTH, |c| matches!(c, '\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e')
);
name_type!(
    /// The name of a service that tokens are for: visible ASCII without quotes, a word or a URI (RFC 8707 §2).
    Audience, "audience", MAX_AUDIENCE_LENGTH, |c| matches!(c, '\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e')
);
name_type!(
    /// What a client may ask for: a scope, or `prefix.*` for every scope below a prefix.
    ScopePattern, "scope", MAX_SCOPE_LENGTH, |c| matches!(c, '\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e')
);

impl ScopePattern {
    /// Whether this pattern lets a client ask for `scope`.
    #[must_use]
    pub fn allows(&self, scope: &str) -> bool {
        pattern_allows(self.as_str(), scope)
    }

    /// Whether everything that `other` allows is allowed by this one too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self == other || prefix(self.as_str()).is_some_and(|prefix| below(prefix, other.as_str()))
    }
}

/// Whether `pattern` lets a client ask for `scope`: the same text, or a scope below `prefix.*`.
///
/// A wildcard itself is no action that a service could check, so it cannot be asked for.
#[must_use]
pub fn pattern_allows(pattern: &str, scope: &str) -> bool {
    match prefix(pattern) {
        Some(prefix) => below(prefix, scope) && !is_wildcard(scope),
        None => pattern == scope,
    }
}

/// Whether a pattern is a wildcard.
#[must_use]
pub fn is_wildcard(pattern: &str) -> bool {
    prefix(pattern).is_some()
}

/// `event.` of `event.*`. A lone `*` is an ordinary scope.
fn prefix(pattern: &str) -> Option<&str> {
    match pattern.as_bytes() {
        [_, .., b'.', b'*'] => pattern.get(..pattern.len() - 1),
        _ => None,
    }
}

fn below(prefix: &str, scope: &str) -> bool {
    scope.len() > prefix.len() && scope.starts_with(prefix)
}

/// Splits RFC 6749 §3.3's `scope-token *( SP scope-token )`. Empty text is no scope at all.
pub fn split_scopes(text: &str) -> impl Iterator<Item = &str> {
    split(text, b' ').take(if text.is_empty() { 0 } else { usize::MAX })
}

/// Splits at each of that byte, which is an ASCII character: `str::split`, sooner.
pub fn split(text: &str, at: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (piece, after) = split_once(text, at).map_or((text, None), |(piece, after)| (piece, Some(after)));
        rest = after;
        Some(piece)
    })
}

/// Splits at the first of that byte, which is an ASCII character: `str::split_once`, sooner.
#[must_use]
pub fn split_once(text: &str, at: u8) -> Option<(&str, &str)> {
    let found = memchr::memchr(at, text.as_bytes())?;
    Some((text.get(..found)?, text.get(found + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6749_3_3_every_character_of_a_scope_token() {
        for byte in 0..=255_u8 {
            let c = char::from(byte);
            let in_grammar = byte == 0x21 || (0x23..=0x5b).contains(&byte) || (0x5d..=0x7e).contains(&byte);
            assert_eq!(Scope::parse(&format!("a{c}b")).is_ok(), in_grammar, "{byte:#x}");
        }
    }

    #[test]
    fn names_have_limits() {
        assert_eq!(Scope::parse(""), Err(InvalidName::Empty("scope")));
        assert!(Scope::parse(&"a".repeat(200)).is_ok());
        assert_eq!(Scope::parse(&"a".repeat(201)), Err(InvalidName::TooLong("scope", 200)));
        assert!(Audience::parse(&"a".repeat(500)).is_ok());
        assert!(Audience::parse(&"a".repeat(501)).is_err());
        assert_eq!(ClientId::parse("a b"), Err(InvalidName::BadCharacter("client id", ' ')));
    }

    #[test]
    fn a_wildcard_allows_what_is_below_it_and_nothing_else() {
        for (pattern, scope, allowed) in [
            ("event.view", "event.view", true),
            ("event.view", "event.viewer", false),
            ("event.*", "event.view", true),
            ("event.*", "event.view.all", true),
            ("event.*", "event.", false),
            ("event.*", "event", false),
            ("event.*", "events.view", false),
            ("event.*", "event.*", false),
            ("event.*", "event.view.*", false),
            ("*", "event.view", false),
            ("*", "*", true),
            ("ev*", "event", false),
        ] {
            assert_eq!(pattern_allows(pattern, scope), allowed, "{pattern} {scope}");
        }
    }

    #[test]
    fn a_pattern_covers_narrower_ones() {
        let pattern = |text| ScopePattern::parse(text).unwrap();
        assert!(pattern("event.*").covers(&pattern("event.*")));
        assert!(pattern("event.*").covers(&pattern("event.view")));
        assert!(pattern("event.*").covers(&pattern("event.view.*")));
        assert!(!pattern("event.view").covers(&pattern("event.*")));
        assert!(!pattern("event.view.*").covers(&pattern("event.*")));
    }

    #[test]
    fn scopes_are_split_at_single_spaces() {
        assert_eq!(split_scopes("").count(), 0);
        assert_eq!(split_scopes("a b").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(split_scopes("a  b").collect::<Vec<_>>(), ["a", "", "b"]);
    }
}

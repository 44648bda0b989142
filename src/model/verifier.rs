//! Whoever fetches the key set, and which keys it holds.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use m2mint_keys::jwk::Kid;
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::time::UnixTime;

/// The longest that is kept of a user agent, in characters.
const LONGEST_AGENT: usize = 80;
/// Who comes back after this many milliseconds or more is no stranger any more.
const COMES_BACK_AFTER: i64 = 60_000;

/// By what a verifier is told from others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Who {
    /// Where it is; `None` when it is on this machine, behind the Unix socket.
    pub address: Option<IpAddr>,
    /// Its `User-Agent`.
    pub agent: Agent,
    /// The algorithm whose keys alone it asks for.
    pub alg: Option<Algorithm>,
}

/// A `User-Agent`, cut, and in characters that can be shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Agent(Box<str>);

impl Agent {
    /// What is kept of `text`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        Self(text.trim().chars().take(LONGEST_AGENT).map(plain).collect())
    }

    /// Whether it is this program's command line, of whatever version: it looks whether the key set can be had, and checks no
    /// token with it.
    #[must_use]
    pub fn is_command_line(&self) -> bool {
        self.0.starts_with("m2mint/")
    }

    /// The text; empty when there was none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Who {
    /// The address, or that it has none.
    #[must_use]
    pub fn place(&self) -> String {
        self.address.map_or_else(|| "unix".to_owned(), |address| address.to_string())
    }
}

/// The place, and the user agent in brackets.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())?;
        match self.agent.as_str() {
            "" => Ok(()),
            agent => write!(f, " ({agent})"),
        }
    }
}

/// A key set, as far as it matters who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its entity tag, quotes included.
    pub etag: String,
    /// The keys in it.
    pub kids: Vec<Kid>,
}

/// Somebody who fetched the key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Who.
    pub who: Who,
    /// When first.
    pub first_seen: UnixTime,
    /// When last.
    pub last_seen: UnixTime,
    /// What it was given then, or told to keep.
    pub held: Arc<Held>,
}

impl Verifier {
    /// Whether it came back. Who fetches the key set once may be anybody.
    #[must_use]
    pub fn comes_back(&self) -> bool {
        self.last_seen.millis_since(self.first_seen) >= COMES_BACK_AFTER
    }

    /// Whether it can check what `kid` signs.
    #[must_use]
    pub fn holds(&self, kid: &Kid) -> bool {
        self.held.kids.contains(kid)
    }

    /// Whether it asks for keys of this algorithm.
    #[must_use]
    pub fn wants(&self, alg: Algorithm) -> bool {
        self.who.alg.is_none_or(|wanted| wanted == alg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_user_agent_can_be_shown() {
        assert_eq!(Agent::of(" PyJWT/2.15 \u{1b}[31mé\n").as_str(), "PyJWT/2.15 ?[31m?");
        assert_eq!(Agent::of(&"x".repeat(1000)).as_str().len(), LONGEST_AGENT);
    }
}

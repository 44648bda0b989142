//! From where, when and how often a client gets tokens.

use std::net::IpAddr;

use m2mint_keys::time::UnixTime;

use crate::model::audit::datable;

use crate::model::Network;

/// The most networks that a client may have.
pub const MAX_NETWORKS: usize = 100;
/// The most tokens a minute that can be said: each is remembered for that long.
pub const MAX_TOKENS_A_MINUTE: u32 = 6000;

/// From where, when and how often a client gets tokens. The default restricts nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restrictions {
    /// Where it may come from; anywhere when there are none.
    pub networks: Vec<Network>,
    /// From when on.
    pub not_before: Option<UnixTime>,
    /// Until when: from this moment on it gets none, and none of its tokens is good for longer.
    pub not_after: Option<UnixTime>,
    /// How many in any 60 seconds.
    pub tokens_a_minute: Option<u32>,
}

/// Restrictions that nobody can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRestrictions {
    /// Too many networks.
    #[error("a client may have at most {MAX_NETWORKS} networks")]
    TooManyNetworks,
    /// It would never get a token.
    #[error("the client would never get a token: not-after has to be later than not-before")]
    Never,
    /// Zero, or more than can be counted.
    #[error("tokens a minute are a number between 1 and {MAX_TOKENS_A_MINUTE}")]
    TokensAMinute,
}

impl Restrictions {
    /// Whether `now` is within its time.
    #[must_use]
    pub fn is_time(&self, now: UnixTime) -> bool {
        self.not_before.is_none_or(|begin| now >= begin) && self.not_after.is_none_or(|end| now < end)
    }

    /// Whether anything is restricted.
    #[must_use]
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Checks that they can be meant.
    ///
    /// # Errors
    /// [`InvalidRestrictions`]
    pub fn check(&self) -> Result<(), InvalidRestrictions> {
        if self.networks.len() > MAX_NETWORKS {
            return Err(InvalidRestrictions::TooManyNetworks);
        }
        if self.not_before.zip(self.not_after).is_some_and(|(begin, end)| begin >= end) {
            return Err(InvalidRestrictions::Never);
        }
        match self.tokens_a_minute {
            Some(tokens) if !(1..=MAX_TOKENS_A_MINUTE).contains(&tokens) => {
                Err(InvalidRestrictions::TokensAMinute)
            }
            _ => Ok(()),
        }
    }

    /// Whether it may come from `address`; `None` is a program on this machine, over a Unix socket, which is in no network.
    #[must_use]
    pub fn admit(&self, address: Option<IpAddr>) -> bool {
        self.networks.is_empty() || self.expect(address)
    }

    /// Whether `address` is in one of its networks.
    #[must_use]
    pub fn expect(&self, address: Option<IpAddr>) -> bool {
        address.is_some_and(|address| self.networks.iter().any(|network| network.contains(address)))
    }
}

/// A moment as administrators write it, RFC 3339 in UTC: `2027-01-15T08:00:00Z`.
///
/// # Errors
/// What to write instead.
pub fn parse_moment(text: &str) -> Result<UnixTime, &'static str> {
    const FORM: &str = "write a moment in UTC as in 2027-01-15T08:00:00Z";
    let time = humantime::parse_rfc3339(text).map_err(|_| FORM)?;
    let since = time.duration_since(std::time::UNIX_EPOCH).map_err(|_| FORM)?;
    Ok(UnixTime::from_millis(m2mint_keys::time::millis(since)))
}

/// The same moment as text.
#[must_use]
pub fn moment(time: UnixTime) -> String {
    humantime::format_rfc3339(datable(time)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_it_is_read() {
        for text in ["2027-01-15T08:00:00Z", "1970-01-01T00:00:00Z"] {
            assert_eq!(moment(parse_moment(text).unwrap()), text);
        }
        for wrong in
            ["", "2027-01-15", "2027-01-15T08:00:00+01:00", "1969-12-31T23:59:59Z", "now", "1800000000"]
        {
            assert!(parse_moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_nobody_can_mean_is_refused() {
        let moment = |secs| Some(UnixTime::from_secs(secs));
        let never = Restrictions { not_before: moment(2), not_after: moment(2), ..Restrictions::default() };
        assert_eq!(never.check(), Err(InvalidRestrictions::Never));
        for tokens in [0, MAX_TOKENS_A_MINUTE + 1] {
            let restrictions = Restrictions { tokens_a_minute: Some(tokens), ..Restrictions::default() };
            assert_eq!(restrictions.check(), Err(InvalidRestrictions::TokensAMinute));
        }
        let networks = vec![Network::parse("192.0.2.1").unwrap(); MAX_NETWORKS + 1];
        let many = Restrictions { networks, ..Restrictions::default() };
        assert_eq!(many.check(), Err(InvalidRestrictions::TooManyNetworks));
        assert!(Restrictions::default().check().is_ok() && !Restrictions::default().any());
    }
}

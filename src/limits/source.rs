//! Where a request comes from: the other end of the connection, or whoever a trusted proxy says it passes on.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use crate::model::network::{InvalidNetwork, Network};

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An address. IPv4 inside of IPv6 is IPv4.
    Address(IpAddr),
    /// A program on this machine, over a Unix socket.
    Local,
}

impl Source {
    /// The other end of a connection; a Unix socket has no address.
    #[must_use]
    pub fn of(peer: Option<IpAddr>) -> Self {
        peer.map_or(Self::Local, |address| Self::Address(address.to_canonical()))
    }

    /// Whether both are one place: an address, or a /64 of IPv6, or this machine.
    #[must_use]
    pub fn is_beside(self, other: Self) -> bool {
        match (self, other) {
            (Self::Address(IpAddr::V6(one)), Self::Address(IpAddr::V6(other))) => {
                one.to_bits() >> 64 == other.to_bits() >> 64
            }
            (one, other) => one == other,
        }
    }

    /// The address, where there is one.
    #[must_use]
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Local => None,
        }
    }
}

/// Those who share a /64 are one: that is what a single subscriber has at least (RFC 6177).
impl Hash for Source {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Local => state.write_u8(0),
            Self::Address(IpAddr::V4(address)) => {
                state.write_u8(4);
                state.write_u32(address.to_bits());
            }
            Self::Address(IpAddr::V6(address)) => {
                state.write_u8(6);
                state.write_u64((address.to_bits() >> 64) as u64);
            }
        }
    }
}

/// A proxy, or several, whose word counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustedProxy {
    /// At one of these addresses.
    Network(Network),
    /// On this machine, at a loopback address.
    Loopback,
    /// On this machine, at the Unix socket.
    Unix,
}

impl TrustedProxy {
    /// Reads a network, `loopback` or `unix`.
    ///
    /// # Errors
    /// [`InvalidNetwork`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidNetwork> {
        match text {
            "loopback" => Ok(Self::Loopback),
            "unix" => Ok(Self::Unix),
            network => Network::parse(network).map(Self::Network),
        }
    }

    /// Whether it names a proxy on another machine. On this one, nobody else gets to a listener by it.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        match self {
            Self::Network(network) => !network.is_loopback(),
            Self::Loopback | Self::Unix => false,
        }
    }

    fn covers(&self, source: Source) -> bool {
        match (self, source) {
            (Self::Network(network), Source::Address(address)) => network.contains(address),
            (Self::Loopback, Source::Address(address)) => address.is_loopback(),
            (Self::Unix, Source::Local) => true,
            _ => false,
        }
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Loopback => f.write_str("loopback"),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Follows `X-Forwarded-For` from its end for as long as those who wrote it are trusted: the first address that is not a
/// trusted proxy's own is where the request comes from. `hops` are the entries, the last one first.
///
/// Whatever stands before that address, its sender may have made up.
#[must_use]
pub fn behind<'a>(peer: Source, hops: impl Iterator<Item = &'a str>, trusted: &[TrustedProxy]) -> Source {
    let is_trusted = |source| trusted.iter().any(|proxy| proxy.covers(source));
    let mut source = peer;
    for hop in hops {
        if !is_trusted(source) {
            break;
        }
        // A proxy that does not say from where is all that is known.
        let Some(address) = address(hop) else { break };
        source = Source::of(Some(address));
    }
    source
}

/// An address, as proxies write it: bare, in brackets, or with a port.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, header: &str, trusted: &[&str]) -> String {
        let trusted: Vec<_> = trusted.iter().map(|text| TrustedProxy::parse(text).unwrap()).collect();
        let peer = Source::of(peer.parse().ok());
        match behind(peer, header.rsplit(',').filter(|hop| !hop.is_empty()), &trusted) {
            Source::Address(address) => address.to_string(),
            Source::Local => "local".into(),
        }
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxys_counts() {
        let trusted = ["10.0.0.0/8", "unix"];
        assert_eq!(found("10.0.0.1", "6.6.6.6, 192.0.2.7", &trusted), "192.0.2.7");
        assert_eq!(found("10.0.0.1", "6.6.6.6, 192.0.2.7, 10.9.9.9", &trusted), "192.0.2.7");
        assert_eq!(found("unix", "192.0.2.7", &trusted), "192.0.2.7");
        assert_eq!(found("10.0.0.1", "10.1.1.1, 10.2.2.2", &trusted), "10.1.1.1");
    }

    #[test]
    fn nobody_else_is_believed() {
        assert_eq!(found("192.0.2.9", "6.6.6.6", &["10.0.0.0/8"]), "192.0.2.9");
        assert_eq!(found("unix", "6.6.6.6", &["10.0.0.0/8"]), "local");
        assert_eq!(found("10.0.0.1", "6.6.6.6, unknown", &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(found("10.0.0.1", "", &["10.0.0.0/8"]), "10.0.0.1");
    }

    #[test]
    fn addresses_are_read_in_every_form_in_which_proxies_write_them() {
        for hop in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:443"] {
            assert_eq!(found("::1", hop, &["loopback"]), "2001:db8::1", "{hop}");
        }
        assert_eq!(found("::ffff:127.0.0.1", "192.0.2.7:5000", &["loopback"]), "192.0.2.7");
        assert_eq!(found("127.0.0.1", "::ffff:192.0.2.7", &["loopback"]), "192.0.2.7");
    }
}

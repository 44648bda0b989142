//! Networks as people write them: `192.0.2.0/24`, `2001:db8::/32`, or a single address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network of IP addresses, in CIDR notation (RFC 4632, RFC 4291 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

/// The text is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// Not of the form of one.
    #[error("{0:?} is not a network: write an address and a prefix such as 192.0.2.0/24 or 2001:db8::/32")]
    Form(String),
    /// Addresses outside of it are named by it.
    #[error("{given} is an address inside of a network: write {network}, or the address alone")]
    HostBits {
        /// What was written.
        given: String,
        /// The network that it is in.
        network: Network,
    },
}

impl Network {
    /// Reads a network, or a single address.
    ///
    /// # Errors
    /// [`InvalidNetwork`]. `192.0.2.7/24` is refused too: it may have been meant as the network or as the address.
    pub fn parse(text: &str) -> Result<Self, InvalidNetwork> {
        let form = || InvalidNetwork::Form(text.chars().filter(|c| !c.is_control()).take(64).collect());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let plain = |digits: &str| digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = match prefix {
            None => longest,
            Some(digits) if plain(digits) => digits.parse().map_err(|_| form())?,
            Some(_) => return Err(form()),
        };
        if prefix > longest {
            return Err(form());
        }
        // IPv4 addresses written as IPv6 are IPv4 addresses (RFC 4291 §2.5.5.2).
        let (address, prefix) = match address {
            IpAddr::V6(mapped) if prefix >= 96 && mapped.to_ipv4_mapped().is_some() => {
                (address.to_canonical(), prefix - 96)
            }
            _ => (address, prefix),
        };
        let network = Self { first: first(address, prefix), prefix };
        if network.first == address {
            Ok(network)
        } else {
            Err(InvalidNetwork::HostBits { given: text.into(), network })
        }
    }

    /// Whether all of its addresses are this machine's own.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        // No larger network begins with an address of these.
        self.first.to_canonical().is_loopback()
    }

    /// Whether every address of its kind is in it.
    #[must_use]
    pub const fn is_everybody(&self) -> bool {
        self.prefix == 0
    }

    /// Whether `address` is in it. An IPv4 address inside of an IPv6 one counts as itself.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && first(address, self.prefix) == self.first
    }
}

/// The address with everything behind the prefix set to zero.
fn first(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let single = self.prefix == if self.first.is_ipv4() { 32 } else { 128 };
        if single { write!(f, "{}", self.first) } else { write!(f, "{}/{}", self.first, self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        Network::parse(network).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_what_begins_like_it() {
        assert!(holds("192.0.2.0/24", "192.0.2.255") && !holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("192.0.2.128/25", "192.0.2.128") && !holds("192.0.2.128/25", "192.0.2.127"));
        assert!(holds("192.0.2.7", "192.0.2.7") && !holds("192.0.2.7", "192.0.2.8"));
        assert!(holds("0.0.0.0/0", "255.255.255.255") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("::/0", "2001:db8::1") && !holds("::/0", "192.0.2.1"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1") && !holds("2001:db8::/32", "2001:db9::"));
        assert!(holds("192.0.2.0/24", "::ffff:192.0.2.9") && holds("::ffff:192.0.2.0/120", "192.0.2.9"));
    }

    #[test]
    fn a_text_is_a_network_in_one_form_only() {
        for text in ["192.0.2.0/24", "192.0.2.7", "0.0.0.0/0", "2001:db8::/32", "::1", "::/0"] {
            assert_eq!(Network::parse(text).unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "/",
            "192.0.2.0/",
            "192.0.2.0/33",
            "192.0.2/24",
            "::/129",
            "::/+8",
            "1.2.3.4/8/9",
            "host",
            " ::1",
        ] {
            assert!(matches!(Network::parse(wrong), Err(InvalidNetwork::Form(_))), "{wrong}");
        }
        let inside = Network::parse("192.0.2.7/24").unwrap_err();
        assert!(inside.to_string().contains("write 192.0.2.0/24"), "{inside}");
    }
}

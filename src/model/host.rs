//! Hosts as requests and web pages name them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Url;

/// The longest name (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 253;

/// A host and, where it is named, its port (RFC 9110 §7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: Name,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Address(IpAddr),
    /// In lower case, without a dot at the end.
    Domain(Box<str>),
}

/// The text names no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a host, or a host and its port, such as m2mint, auth.example.com:8443 or [::1]:3567")]
pub struct InvalidHost;

impl Host {
    /// Reads `name`, `name:port`, `192.0.2.7:port` or `[2001:db8::1]:port`.
    ///
    /// # Errors
    /// [`InvalidHost`]
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(InvalidHost)?;
                let address: Ipv6Addr = address.parse().map_err(|_| InvalidHost)?;
                let port =
                    if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(InvalidHost)?) };
                (Name::Address(address.into()), port)
            }
            None => match text.split_once(':') {
                Some((name, port)) => (Name::parse(name)?, Some(port)),
                None => (Name::parse(text)?, None),
            },
        };
        Ok(Self { name, port: port.map(parse_port).transpose()? })
    }

    /// The host of a URL, whatever its port.
    ///
    /// # Errors
    /// [`InvalidHost`] when the text is no URL with a host.
    pub fn of_url(url: &str) -> Result<Self, InvalidHost> {
        let url = url::Url::parse(url).map_err(|_| InvalidHost)?;
        Self::parse(url.host_str().ok_or(InvalidHost)?)
    }

    /// The host and port of a web page's origin (RFC 6454 §6.2): never without a port.
    ///
    /// # Errors
    /// [`InvalidHost`], also for `null`.
    pub fn of_origin(origin: &str) -> Result<Self, InvalidHost> {
        let (rest, port) = match (origin.strip_prefix("http://"), origin.strip_prefix("https://")) {
            (Some(rest), _) => (rest, 80),
            (_, Some(rest)) => (rest, 443),
            _ => return Err(InvalidHost),
        };
        let host = Self::parse(rest)?;
        Ok(Self { port: host.port.or(Some(port)), ..host })
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The address, where it is one.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match self.name {
            Name::Address(address) => Some(address),
            Name::Domain(_) => None,
        }
    }

    /// Whether it is this machine to itself.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match &self.name {
            Name::Address(address) => address.is_loopback(),
            Name::Domain(name) => &**name == "localhost",
        }
    }

    /// Whether `other` is this host, at its port where this one names a port.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.name == other.name && (self.port.is_none() || self.port == other.port)
    }

    /// Whether `self`, an origin with its port, is the host of a request, which leaves the usual port out.
    #[must_use]
    pub fn is_origin_of(&self, host: &Self) -> bool {
        self.name == host.name
            && match host.port {
                Some(port) => self.port == Some(port),
                None => matches!(self.port, Some(80 | 443)),
            }
    }
}

/// Whether nobody on the way to `url` can read or change what passes.
#[must_use]
pub fn is_protected(url: &Url) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && is_on_this_machine(url)
}

/// Whether a URL leads to this machine, so that nobody is on the way.
#[must_use]
pub fn is_on_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl Name {
    fn parse(text: &str) -> Result<Self, InvalidHost> {
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let fits = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(allowed);
        fits.then(|| Self::Domain(name.to_ascii_lowercase().into())).ok_or(InvalidHost)
    }
}

fn parse_port(text: &str) -> Result<u16, InvalidHost> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0).ok_or(InvalidHost)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Name::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            Name::Address(address) => write!(f, "{address}")?,
            Name::Domain(name) => f.write_str(name)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_requests_name_them() {
        for (text, written) in [
            ("m2mint", "m2mint"),
            ("Auth.Example.COM:8443", "auth.example.com:8443"),
            ("auth.example.com.", "auth.example.com"),
            ("192.0.2.7:80", "192.0.2.7:80"),
            ("[2001:DB8:0::1]:3567", "[2001:db8::1]:3567"),
            ("[::1]", "[::1]"),
            ("my_service", "my_service"),
        ] {
            assert_eq!(Host::parse(text).unwrap().to_string(), written);
        }
        for wrong in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:+1",
            "a:65536",
            "a:b",
            "a b",
            "a/b",
            "user@a",
            "*",
            "::1",
            "[::1",
            "[::1]80",
            "[127.0.0.1]",
            "http://a",
            ".",
            "a,b",
            "\u{e4}",
        ] {
            assert_eq!(Host::parse(wrong), Err(InvalidHost), "{wrong:?}");
        }
    }

    #[test]
    fn an_origin_is_that_of_a_host_when_name_and_port_are_its() {
        let same = |origin: &str, host: &str| {
            Host::of_origin(origin).is_ok_and(|origin| origin.is_origin_of(&Host::parse(host).unwrap()))
        };
        assert!(same("http://a:3567", "A:3567") && same("http://a", "a") && same("https://a", "a:443"));
        for origin in [
            "http://b:3567",
            "http://a:3568",
            "https://a",
            "http://a",
            "null",
            "a:3567",
            "http://a:3567/",
            "",
        ] {
            assert!(!same(origin, "a:3567"), "{origin}");
        }
        assert!(!same("http://a:3567", "a"));
    }

    #[test]
    fn a_host_without_a_port_stands_for_every_port() {
        let covers = |one: &str, other: &str| Host::parse(one).unwrap().covers(&Host::parse(other).unwrap());
        assert!(covers("a", "a:1") && covers("a", "a") && covers("a:1", "a:1"));
        assert!(!covers("a:1", "a") && !covers("a:1", "a:2") && !covers("a", "b.a") && !covers("b.a", "a"));
    }
}

//! Which token a request needs that a reverse proxy asks about: by its host, path and method.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::model::{Audience, InvalidName, Scope};

/// One rule: `GET,HEAD calendar.example.com/events/* -> event event.view`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `None` is any.
    methods: Option<Vec<String>>,
    /// In lower case; `None` is any.
    host: Option<String>,
    path: Vec<Segment>,
    demand: Demand,
}

/// What a token must be good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The one audience.
    pub audience: Audience,
    /// Scopes that must all be there.
    pub scopes: Vec<Scope>,
}

/// A part of a path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// This text.
    Text(String),
    /// `*`: any one segment.
    Any,
    /// `**`, at the end: whatever follows, also nothing.
    Rest,
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// Not of the form of a rule.
    #[error(
        "write METHODS HOST/PATH -> AUDIENCE SCOPES, such as GET calendar.example.com/events/* -> event event.view"
    )]
    Form,
    /// A method is not in capital letters.
    #[error("{0:?} is not a method: write capital letters, several with commas, or *")]
    Method(String),
    /// A host that no request can have.
    #[error("{0:?} is not a host name: leave out the scheme and the port, or write *")]
    Host(String),
    /// A path pattern that cannot be matched safely.
    #[error("{0:?} is not a path pattern: whole segments may be *, and the last one **")]
    Path(String),
    /// The audience or a scope.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// [`InvalidRule`]
    pub fn parse(text: &str) -> Result<Self, InvalidRule> {
        let (request, demand) = text.split_once("->").ok_or(InvalidRule::Form)?;
        let request: Vec<&str> = request.split_whitespace().collect();
        let [methods, target] = request[..] else { return Err(InvalidRule::Form) };
        let (host, path) = target.split_once('/').ok_or(InvalidRule::Form)?;
        let mut demand = demand.split_whitespace();
        let audience = Audience::parse(demand.next().ok_or(InvalidRule::Form)?)?;
        let scopes = demand.map(Scope::parse).collect::<Result<_, _>>()?;
        Ok(Self {
            methods: parse_methods(methods)?,
            host: parse_host(host)?,
            path: parse_pattern(path).ok_or_else(|| InvalidRule::Path(format!("/{path}")))?,
            demand: Demand { audience, scopes },
        })
    }

    fn matches(&self, request: &Request) -> bool {
        let path = || {
            let mut segments = request.path.iter();
            for wanted in &self.path {
                match (wanted, segments.next()) {
                    (Segment::Rest, _) => return true,
                    (Segment::Text(text), Some(segment)) if text == segment => {}
                    (Segment::Any, Some(segment)) if !segment.is_empty() => {}
                    _ => return false,
                }
            }
            segments.next().is_none()
        };
        self.methods.as_ref().is_none_or(|methods| methods.contains(&request.method))
            && self.host.as_ref().is_none_or(|host| *host == request.host)
            && path()
    }
}

fn parse_methods(text: &str) -> Result<Option<Vec<String>>, InvalidRule> {
    if text == "*" {
        return Ok(None);
    }
    let methods = text.split(',').map(|method| {
        let fits = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        if fits { Ok(method.to_owned()) } else { Err(InvalidRule::Method(method.to_owned())) }
    });
    methods.collect::<Result<_, _>>().map(Some)
}

fn parse_host(text: &str) -> Result<Option<String>, InvalidRule> {
    match (text, host(text)) {
        ("*", _) => Ok(None),
        (_, Some(host)) if host.eq_ignore_ascii_case(text) => Ok(Some(host)),
        _ => Err(InvalidRule::Host(text.to_owned())),
    }
}

fn parse_pattern(text: &str) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    let count = text.split('/').count();
    for (at, segment) in text.split('/').enumerate() {
        let last = at + 1 == count;
        segments.push(match segment {
            "*" => Segment::Any,
            "**" if last => Segment::Rest,
            "" if !last => return None,
            text if text.contains(['*', '?', '#', '%', '\\', ';']) || text == "." || text == ".." => {
                return None;
            }
            text => Segment::Text(text.to_owned()),
        });
    }
    Some(segments)
}

/// A host name in lower case, without port and without a dot at its end; `None` when it is none.
fn host(text: &str) -> Option<String> {
    let name = match text.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => text,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    (!name.is_empty() && name.bytes().all(plain)).then_some(name)
}

/// A request as a proxy describes it. There is one only for paths that everybody reads in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    method: String,
    host: String,
    path: Vec<String>,
}

/// The description of a request could be read in two ways, or in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path or the host of the request is ambiguous")]
pub struct Ambiguous;

impl Request {
    /// Takes the method, the host, and the target: a path with or without a query.
    ///
    /// # Errors
    /// [`Ambiguous`] for what the service behind the proxy might read differently: dots, empty segments, encoded slashes,
    /// percent signs that are encoded themselves, backslashes, parameters after a semicolon.
    pub fn new(method: &str, host_header: &str, target: &str) -> Result<Self, Ambiguous> {
        let path = target.split('?').next().unwrap_or_default();
        let mut path = path.strip_prefix('/').ok_or(Ambiguous)?.split('/').peekable();
        let mut segments = Vec::new();
        while let Some(raw) = path.next() {
            let segment = percent_decode_str(raw).decode_utf8().map_err(|_| Ambiguous)?;
            let odd = |c: char| c.is_control() || matches!(c, '/' | '\\' | '%' | ';' | '#' | '?');
            let empty_inside = segment.is_empty() && path.peek().is_some();
            if empty_inside
                || segment == "."
                || segment == ".."
                || segment.contains(odd)
                || is_half_encoded(raw)
            {
                return Err(Ambiguous);
            }
            segments.push(segment.into_owned());
        }
        let token = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        match host(host_header).filter(|_| token) {
            Some(host) => Ok(Self { method: method.to_owned(), host, path: segments }),
            None => Err(Ambiguous),
        }
    }
}

/// Whether a percent sign is not followed by two digits: decoders differ about what that means.
fn is_half_encoded(raw: &str) -> bool {
    raw.split('%')
        .skip(1)
        .any(|rest| rest.len() < 2 || !rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

/// The table of rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(pub Vec<Rule>);

impl Rules {
    /// What the first rule that fits demands; `None` when no rule fits.
    #[must_use]
    pub fn demand(&self, request: &Request) -> Option<&Demand> {
        self.0.iter().find(|rule| rule.matches(request)).map(|rule| &rule.demand)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods = self.methods.as_ref().map_or("*".to_owned(), |methods| methods.join(","));
        write!(f, "{methods} {}", self.host.as_deref().unwrap_or("*"))?;
        for segment in &self.path {
            match segment {
                Segment::Text(text) => write!(f, "/{text}")?,
                Segment::Any => f.write_str("/*")?,
                Segment::Rest => f.write_str("/**")?,
            }
        }
        write!(f, " -> {}", self.demand.audience)?;
        self.demand.scopes.iter().try_for_each(|scope| write!(f, " {scope}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Rules {
        Rules(texts.iter().map(|text| Rule::parse(text).unwrap()).collect())
    }

    #[track_caller]
    fn demand(rules: &Rules, method: &str, host: &str, target: &str) -> Option<String> {
        let request = Request::new(method, host, target).unwrap();
        rules.demand(&request).map(|demand| format!("{} {}", demand.audience, demand.scopes.len()))
    }

    #[test]
    fn a_rule_is_written_as_it_was_read() {
        for text in [
            "GET calendar.example.com/events -> event event.view",
            "* */files/** -> file",
            "PUT,DELETE calendar.example.com/events/*/notes -> event event.update event.delete",
            "GET */ -> event",
            "GET */events/ -> event",
        ] {
            assert_eq!(Rule::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_rule_says_why() {
        let reason = |text: &str| Rule::parse(text).unwrap_err();
        for text in
            ["", "GET", "GET a/b", "GET a -> event", "GET a/b ->", "a/b -> event", "GET a/b c -> event"]
        {
            assert_eq!(reason(text), InvalidRule::Form, "{text}");
        }
        assert!(matches!(reason("get a/b -> event"), InvalidRule::Method(_)));
        assert!(matches!(reason("GET, a/b -> event"), InvalidRule::Method(_)));
        for host in ["https:/", "a:80", "a_b!", ""] {
            assert!(matches!(reason(&format!("GET {host}/b -> event")), InvalidRule::Host(_)), "{host}");
        }
        for path in ["a//b", "a*", "**/a", "a/../b", "a%20", "a?b", "a;b"] {
            assert!(matches!(reason(&format!("GET x/{path} -> event")), InvalidRule::Path(_)), "{path}");
        }
        assert!(matches!(reason("GET a/b -> event sc\"ope"), InvalidRule::Name(_)));
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = rules(&[
            "GET,HEAD calendar.example.com/events/* -> event event.view",
            "* calendar.example.com/events/** -> event event.view event.update",
            "* */health -> any",
        ]);
        let calendar = "calendar.example.com";
        assert_eq!(demand(&rules, "GET", calendar, "/events/1").as_deref(), Some("event 1"));
        assert_eq!(
            demand(&rules, "GET", "Calendar.Example.COM.:8443", "/events/1?a=b/../c").as_deref(),
            Some("event 1")
        );
        assert_eq!(demand(&rules, "PUT", calendar, "/events/1").as_deref(), Some("event 2"));
        assert_eq!(demand(&rules, "GET", calendar, "/events").as_deref(), Some("event 2"));
        assert_eq!(demand(&rules, "GET", calendar, "/events/1/notes").as_deref(), Some("event 2"));
        assert_eq!(
            demand(&rules, "GET", calendar, "/events/").as_deref(),
            Some("event 2"),
            "* is not nothing"
        );
        assert_eq!(demand(&rules, "GET", calendar, "/%65vents/1").as_deref(), Some("event 1"));
        assert_eq!(demand(&rules, "GET", "other", "/health").as_deref(), Some("any 0"));
        for (host, target) in
            [(calendar, "/"), (calendar, "/Events/1"), (calendar, "/health/"), ("other", "/events/1")]
        {
            assert_eq!(demand(&rules, "GET", host, target), None, "{host}{target}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        for target in [
            "",
            "events",
            "http://a/events",
            "//events",
            "/events//1",
            "/./events",
            "/a/../events",
            "/a/..",
            "/a/%2e%2e/b",
            "/%2E/events",
            "/events%2f1",
            "/events%5C1",
            "/events\\1",
            "/a%00b",
            "/a%2565",
            "/a%",
            "/a%g1",
            "/a%1",
            "/a;b=c/d",
            "/a%3bb",
            "/%ff",
            "/a#b",
            "/a%0d%0ab",
        ] {
            assert_eq!(Request::new("GET", "a", target), Err(Ambiguous), "{target}");
        }
        for host in ["", "a b", "a,b", "a/b", "user@a", "a:b:c d", "\u{e9}"] {
            assert_eq!(Request::new("GET", host, "/"), Err(Ambiguous), "{host}");
        }
        assert_eq!(Request::new("get", "a", "/"), Err(Ambiguous));
        assert!(Request::new("GET", "[::1]:443", "/caf%C3%A9").is_ok());
    }
}

//! Answers, and reading requests.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_MATCH, LOCATION};
use actix_web::{HttpRequest, HttpResponse, Responder};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2mint_keys::{crypto, json};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::http::error::problem::{Kind, Problem};

/// What a path segment cannot hold as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as a segment of a path.
#[must_use]
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A value, and the entity tag of the state that it shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Tagged<T> {
    /// The value.
    pub value: T,
    /// Its strong entity tag, quotes included.
    pub etag: String,
}

/// The strong entity tag of a state that is written down like this.
#[must_use]
pub fn etag(state: &[u8]) -> String {
    let mut etag = URL_SAFE_NO_PAD.encode(crypto::sha256(state));
    etag.truncate(22);
    format!("\"{etag}\"")
}

/// A successful answer. It may hold a secret: its body is wiped when it is dropped, and nobody may keep it.
#[derive(Clone)]
pub struct Reply {
    status: StatusCode,
    etag: Option<String>,
    location: Option<String>,
    body: Zeroizing<Vec<u8>>,
}

impl Reply {
    /// 200 with this value.
    ///
    /// # Errors
    /// None that anybody has met: it is texts and numbers.
    pub fn ok(value: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(value);
        let body = body.map_err(|error| Problem::new(Kind::Unavailable, error.to_string()))?;
        Ok(Self { status: StatusCode::OK, etag: None, location: None, body: Zeroizing::new(body) })
    }

    /// 204: done, and nothing to say.
    #[must_use]
    pub fn nothing() -> Self {
        let (status, body) = (StatusCode::NO_CONTENT, Zeroizing::default());
        Self { status, etag: None, location: None, body }
    }

    /// 201, with where the new thing is.
    #[must_use]
    pub fn created(self, location: Option<String>) -> Self {
        Self { status: StatusCode::CREATED, location, ..self }
    }

    /// 202: it will be done.
    #[must_use]
    pub fn accepted(self) -> Self {
        Self { status: StatusCode::ACCEPTED, ..self }
    }

    /// With an entity tag.
    #[must_use]
    pub fn tagged(self, etag: String) -> Self {
        Self { etag: Some(etag), ..self }
    }

    /// How many bytes it takes in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let texts = self.etag.iter().chain(&self.location).map(String::len).sum::<usize>();
        size_of::<Self>() + self.body.len() + texts
    }
}

impl Responder for Reply {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((CACHE_CONTROL, "no-store"));
        let headers = [(ETAG, &self.etag), (LOCATION, &self.location)];
        for (name, value) in headers {
            if let Some(value) = value.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
                response.insert_header((name, value));
            }
        }
        if self.body.is_empty() {
            return response.finish();
        }
        response.content_type("application/json").body(self.body.to_vec())
    }
}

/// Reads what a body says. Nothing at all says what `{}` does.
///
/// # Errors
/// What is wrong, with the name of the member, and without its value: that may be a secret.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let object = json::object(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = if error.to_string().contains("twice") {
            "a member is there twice"
        } else {
            "the body is no JSON object"
        };
        Problem::new(Kind::InvalidRequest, format!("{what}, at line {line} column {column}"))
    })?;
    serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
        let (path, reason) = (error.path().to_string(), error.inner().to_string());
        // Only these say no value. They name a member, which may be any text.
        let named = ["unknown field", "missing field"].iter().any(|begin| reason.starts_with(begin));
        if named {
            let printable = reason.chars().filter(|c| !c.is_control()).take(300).collect::<String>();
            return Problem::new(Kind::InvalidRequest, printable);
        }
        let path: String = path.chars().filter(|c| !c.is_control()).take(100).collect();
        Problem::invalid_field(path, "the value has the wrong type, or is out of range")
    })
}

/// Which states of a thing its change is meant for: RFC 9110 §13.1.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is.
    Any,
    /// Those with one of these entity tags.
    Tagged(Vec<String>),
}

impl Expected {
    /// Reads `If-Match`.
    ///
    /// # Errors
    /// [`Kind::PreconditionRequired`] when there is none: changing what one has not seen takes away what others did.
    pub fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let values: Vec<_> = request.headers().get_all(IF_MATCH).collect();
        if values.is_empty() {
            let detail =
                "send If-Match with the ETag of the answer that you have seen, or * to change it as it is";
            return Err(Problem::new(Kind::PreconditionRequired, detail));
        }
        let texts = values.iter().map(|value| value.to_str().unwrap_or_default());
        // No entity tag of ours holds a comma.
        let tags: Vec<_> = texts.flat_map(|text| text.split(',')).map(|tag| tag.trim().to_owned()).collect();
        Ok(if tags.iter().any(|tag| tag == "*") { Self::Any } else { Self::Tagged(tags) })
    }

    /// Whether the state with the tag `etag` is meant.
    ///
    /// # Errors
    /// [`Kind::PreconditionFailed`]
    pub fn check(&self, etag: &str) -> Result<(), Problem> {
        match self {
            Self::Any => Ok(()),
            Self::Tagged(tags) if tags.iter().any(|tag| tag == etag) => Ok(()),
            Self::Tagged(_) => Err(Problem::new(
                Kind::PreconditionFailed,
                "somebody has changed it since that ETag; read it again, and decide anew",
            )),
        }
    }
}

/// The number of things on a page.
///
/// # Errors
/// When it is 0, or too large.
pub fn page_size(asked: Option<usize>, usual: usize, largest: usize) -> Result<usize, Problem> {
    match asked {
        None => Ok(usual),
        Some(size) if (1..=largest).contains(&size) => Ok(size),
        Some(_) => Err(Problem::invalid_field("limit", format!("it is a number from 1 to {largest}"))),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::http::v1::types::{NewClient, NewSecret};

    #[test]
    fn what_is_wrong_with_a_body_is_told_without_its_values() {
        for (body, told) in [
            ("[]", "the body is no JSON object, at line 1 column 0"),
            (r#"{"scope": "hunter2"}"#, "scope: the value has the wrong type, or is out of range"),
            (r#"{"scope": ["a", 7]}"#, "scope[1]: the value has the wrong type, or is out of range"),
            (r#"{"clientSecret": 4711}"#, "clientSecret: the value has the wrong type, or is out of range"),
        ] {
            assert_eq!(read::<NewClient>(body.as_bytes()).unwrap_err().detail, told, "{body}");
        }
        let unknown = read::<NewSecret>(br#"{"clientSecrets": "x"}"#).unwrap_err();
        assert!(unknown.detail.starts_with("unknown field `clientSecrets`"), "{}", unknown.detail);
        let twice = read::<NewSecret>(br#"{"expiresIn": "1d", "expiresIn": "2d"}"#).unwrap_err();
        assert!(twice.detail.starts_with("a member is there twice"), "{}", twice.detail);
        assert_eq!(read::<NewSecret>(b"").unwrap(), NewSecret::default());
    }

    #[test]
    fn rfc9110_13_1_1_if_match_compares_strongly() {
        let expected = |value: &str| {
            Expected::of(&TestRequest::default().insert_header((IF_MATCH, value)).to_http_request()).unwrap()
        };
        for (value, matches) in [
            ("*", true),
            ("\"a\"", true),
            ("\"b\", \"a\"", true),
            ("\"b\"", false),
            ("W/\"a\"", false),
            ("a", false),
        ] {
            assert_eq!(expected(value).check("\"a\"").is_ok(), matches, "{value}");
        }
        let missing = Expected::of(&TestRequest::default().to_http_request()).unwrap_err();
        assert_eq!(missing.kind, Kind::PreconditionRequired);
    }

    #[test]
    fn any_client_id_is_one_segment_of_a_path() {
        assert_eq!(segment("https://a b/%ü?#"), "https%3A%2F%2Fa%20b%2F%25%C3%BC%3F%23");
        assert_eq!(segment("task-service_1.x~"), "task-service_1.x~");
    }
}

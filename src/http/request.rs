//! Reading requests: bodies of a bounded size, HTTP Basic, the admin API's JSON.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_core::Stream as _;
use m2mint_keys::json;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::http::parameters::form_decoded;
use crate::model::names::split_once;

/// How many bytes a body may have; none, where no route says so.
#[derive(Debug, Clone, Copy)]
pub struct LargestBody(pub usize);

/// The whole body of a request, or why there is none.
pub struct Body(Result<Bytes, NoBody>);

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoBody {
    /// It is larger than [`LargestBody`].
    TooLarge,
    /// The connection ended before it.
    EndsTooEarly,
}

impl Body {
    /// Its bytes.
    ///
    /// # Errors
    /// [`NoBody`]
    pub fn bytes(self) -> Result<Bytes, NoBody> {
        self.0
    }
}

impl FromRequest for Body {
    type Error = Infallible;
    type Future = Reading;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Reading {
        let length = request.headers().get(CONTENT_LENGTH);
        Reading {
            payload: payload.take(),
            length: length.and_then(|length| length.to_str().ok()?.parse().ok()),
            most: request.app_data().map_or(0, |LargestBody(most)| *most),
            read: Bytes::new(),
            put_together: Vec::new(),
        }
    }
}

/// A body that is being read.
pub struct Reading {
    payload: Payload,
    /// How many bytes it was said to have.
    length: Option<usize>,
    most: usize,
    /// All of it, when it came in one piece: then it is not copied.
    read: Bytes,
    /// What has come of it, when it comes in several.
    put_together: Vec<u8>,
}

impl Reading {
    fn add(&mut self, part: Bytes) -> Result<(), NoBody> {
        let before = self.read.len() + self.put_together.len();
        if before + part.len() > self.most {
            return Err(NoBody::TooLarge);
        }
        if before == 0 && self.length == Some(part.len()) {
            self.read = part;
        } else {
            // A part would keep all the memory that it was read into.
            self.put_together.extend_from_slice(&std::mem::take(&mut self.read));
            self.put_together.extend_from_slice(&part);
        }
        Ok(())
    }

    fn whole(&mut self) -> Bytes {
        match self.put_together.is_empty() {
            true => std::mem::take(&mut self.read),
            false => std::mem::take(&mut self.put_together).into(),
        }
    }
}

impl Future for Reading {
    type Output = Result<Body, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.length.is_some_and(|length| length > self.most) {
            return Poll::Ready(Ok(Body(Err(NoBody::TooLarge))));
        }
        let body = loop {
            match ready!(Pin::new(&mut self.payload).poll_next(cx)) {
                Some(Ok(part)) => match self.add(part) {
                    Ok(()) => {}
                    Err(reason) => break Err(reason),
                },
                Some(Err(_)) => break Err(NoBody::EndsTooEarly),
                None => break Ok(self.whole()),
            }
        };
        Poll::Ready(Ok(Body(body)))
    }
}

/// The media type of the body, without parameters.
#[must_use]
pub fn content_type(request: &HttpRequest) -> &str {
    let value = request.headers().get(CONTENT_TYPE);
    let value = value.and_then(|value| std::str::from_utf8(value.as_bytes()).ok()).unwrap_or_default();
    split_once(value, b';').map_or(value, |(essence, _)| essence).trim()
}

/// Whether a media type is the expected one, which is lower case.
#[must_use]
pub fn is_media_type(given: &str, expected: &str) -> bool {
    // Nearly everybody writes it like this.
    given == expected || given.eq_ignore_ascii_case(expected)
}

/// What the Authorization header says.
pub enum Authorization {
    /// There is none.
    None,
    /// HTTP Basic with client id and secret.
    Basic(Zeroizing<String>, Zeroizing<String>),
    /// Something that cannot be read, or another scheme.
    Unusable,
}

impl Authorization {
    /// Reads the header of a request.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        let mut values = request.headers().get_all(AUTHORIZATION);
        match (values.next(), values.next()) {
            (None, _) => Self::None,
            (Some(value), None) => std::str::from_utf8(value.as_bytes()).map_or(Self::Unusable, Self::parse),
            (Some(_), Some(_)) => Self::Unusable,
        }
    }

    /// Reads the text of a header: RFC 6749 §2.3.1, form-encoded id and secret inside RFC 7617's base64.
    #[must_use]
    pub fn parse(header: &str) -> Self {
        let Some((scheme, encoded)) = header.split_once(' ') else { return Self::Unusable };
        if !scheme.eq_ignore_ascii_case("basic") {
            return Self::Unusable;
        }
        let decoded = STANDARD.decode(encoded.trim()).ok().map(Zeroizing::new);
        let decoded = decoded.as_ref().and_then(|bytes| std::str::from_utf8(bytes).ok());
        match decoded.and_then(|text| text.split_once(':')) {
            Some((id, secret)) => {
                let decoded = |text| Zeroizing::new(form_decoded(text).into_owned());
                Self::Basic(decoded(id), decoded(secret))
            }
            None => Self::Unusable,
        }
    }
}

/// Reads a JSON object as the admin API takes it: nothing at all is an empty object, and a comma before the closing
/// brace, which the published documentation of this call has, is passed over.
///
/// # Errors
/// What is wrong with the text, and where.
pub fn lenient_object(body: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    json::object(body)
        .or_else(|error| without_trailing_commas(body).map_or(Err(error), |body| json::object(&body)))
}

/// The text without commas that stand between a value and a closing brace; `None` when there are none.
fn without_trailing_commas(body: &[u8]) -> Option<Vec<u8>> {
    let mut kept = body.to_vec();
    let (mut in_string, mut escaped) = (false, false);
    // The last byte that is not white space, and where it stands.
    let (mut last, mut after_value) = ((b' ', 0), false);
    let mut found = Vec::new();
    for (at, &byte) in body.iter().enumerate() {
        if escaped {
            escaped = false;
        } else if in_string && byte == b'\\' {
            escaped = true;
        } else if byte == b'"' {
            in_string = !in_string;
        }
        if in_string || byte.is_ascii_whitespace() {
            continue;
        }
        if byte == b'}' && last.0 == b',' && after_value {
            found.push(last.1);
        }
        after_value = !matches!(last.0, b'{' | b'[' | b',' | b':' | b' ');
        last = (byte, at);
    }
    for at in &found {
        if let Some(byte) = kept.get_mut(*at) {
            *byte = b' ';
        }
    }
    (!found.is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_comma_before_the_closing_brace_is_passed_over_and_nothing_else_is() {
        let read = |text: &str| lenient_object(text.as_bytes()).map(Value::Object);
        assert_eq!(read("").unwrap(), json!({}));
        assert_eq!(read("{\"a\": [\"b\"],\n}\n").unwrap(), json!({"a": ["b"]}));
        assert_eq!(read(r#"{"a": {"b": ",}",}, }"#).unwrap(), json!({"a": {"b": ",}"}}));
        for wrong in [
            r#"{"a":1,,}"#,
            r#"{,}"#,
            r#"{"a":,}"#,
            r#"{"a":{,}}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":1"#,
            r#"{"a":1,} x"#,
            "[]",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_number_is_written_as_it_was_read() {
        for text in [r#"{"a":4444444444444444444444444444477776}"#, r#"{"a":122.416294033786585}"#] {
            let read = lenient_object(text.as_bytes()).unwrap();
            let written = Value::Object(read.clone()).to_string();
            assert_eq!(lenient_object(written.as_bytes()).unwrap(), read, "{text}");
        }
    }

    #[test]
    fn rfc6749_2_3_1_basic_is_form_decoded_after_base64() {
        let header = format!("Basic {}", STANDARD.encode("a%3Ab:c+d%25"));
        let Authorization::Basic(id, secret) = Authorization::parse(&header) else { panic!("{header}") };
        assert_eq!((id.as_str(), secret.as_str()), ("a:b", "c d%"));
    }

    #[test]
    fn what_is_not_basic_is_unusable() {
        for header in ["", "Basic", "Basic ", "Basic !!!", "Basic YQ==", "Bearer YTpi", "BasicYTpi"] {
            assert!(matches!(Authorization::parse(header), Authorization::Unusable), "{header:?}");
        }
    }
}

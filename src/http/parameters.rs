//! Named parameters of a request, from a form or from JSON, without a copy where none is needed.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::http::error::OAuthError;
use crate::model::names::{split, split_once};

/// More parameters than any request has.
const MOST: usize = 64;

/// Named parameters of a request, whatever they came in.
pub struct Parameters<'a>(Vec<(Cow<'a, str>, Given<'a>)>);

/// The value of a parameter.
enum Given<'a> {
    Text(Cow<'a, str>),
    Texts(Vec<Cow<'a, str>>),
    /// JSON's null: treated as if the parameter had been left out.
    Null,
    /// A number, an object: nothing that any parameter may be.
    Other,
}

impl<'a> Parameters<'a> {
    /// Parameters of a form. `audience` and `resource` may come several times with different values: that is a question
    /// of what may be asked for.
    ///
    /// # Errors
    /// `invalid_request` when a parameter comes twice (RFC 6749 §3.2), or there are very many.
    pub fn from_form(body: &'a [u8]) -> Result<Self, OAuthError> {
        let body =
            std::str::from_utf8(body).map_err(|_| OAuthError::invalid_request("the form is not UTF-8"))?;
        let mut parameters: Vec<(Cow<'a, str>, Given<'a>)> = Vec::with_capacity(8);
        for pair in split(body, b'&').filter(|pair| !pair.is_empty()) {
            let is_encoded = is_form_encoded(pair);
            let decoded = |text| if is_encoded { form_decoded(text) } else { Cow::Borrowed(text) };
            let (name, value) = split_once(pair, b'=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name), decoded(value));
            let may_repeat = (name == "audience" || name == "resource") && !value.is_empty();
            let repeats = |(known, before): &(Cow<'_, str>, Given<'_>)| {
                let another = |before: &Cow<'_, str>| !before.is_empty() && *before != value;
                *known == name && !(may_repeat && matches!(before, Given::Text(before) if another(before)))
            };
            if parameters.iter().any(repeats) {
                return Err(OAuthError::invalid_request(format!("{} appears twice", plain(&name))));
            }
            if parameters.len() == MOST {
                return Err(OAuthError::invalid_request(format!("more than {MOST} parameters")));
            }
            parameters.push((name, Given::Text(value)));
        }
        Ok(Self(parameters))
    }

    /// Parameters of a JSON object.
    ///
    /// # Errors
    /// `invalid_request` when it is none, or a member appears twice.
    pub fn from_json(body: &'a [u8]) -> Result<Self, OAuthError> {
        let explain = |error| OAuthError::invalid_request(format!("the body is not a JSON object: {error}"));
        // Looked at once as a whole, rather than string by string.
        let text =
            std::str::from_utf8(body).map_err(|_| OAuthError::invalid_request("the body is not UTF-8"))?;
        serde_json::from_str(text).map_err(explain)
    }

    /// Parameters in an object that has been read already.
    #[must_use]
    pub fn from_object(object: &'a Map<String, Value>) -> Self {
        let given = |value: &'a Value| match value {
            Value::String(text) => Given::Text(text.as_str().into()),
            Value::Null => Given::Null,
            _ => Given::Other,
        };
        Self(object.iter().map(|(name, value)| (name.as_str().into(), given(value))).collect())
    }

    fn get(&self, name: &str) -> Option<&Given<'a>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Whether a parameter is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        match self.get(name) {
            None | Some(Given::Null) => false,
            Some(Given::Text(text)) => !text.is_empty(),
            Some(Given::Texts(_) | Given::Other) => true,
        }
    }

    /// Whether a parameter is a JSON array.
    #[must_use]
    pub fn is_array(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Given::Texts(_)))
    }

    /// A text. RFC 6749 §3.2: an empty one is treated as if it had been left out.
    ///
    /// # Errors
    /// `invalid_request` when it is something else.
    pub fn text(&self, name: &str) -> Result<Option<&str>, OAuthError> {
        match self.get(name) {
            None | Some(Given::Null) => Ok(None),
            Some(Given::Text(text)) => Ok(Some(&**text).filter(|text| !text.is_empty())),
            Some(Given::Texts(_) | Given::Other) => {
                Err(OAuthError::invalid_request(format!("{name} must be a string")))
            }
        }
    }

    /// A text, or several.
    ///
    /// # Errors
    /// `invalid_request` when it is something else.
    pub fn texts<'s>(&'s self, name: &'s str) -> Result<impl Iterator<Item = &'s str>, OAuthError> {
        let given = self.0.iter().filter(move |(known, _)| known == name).map(|(_, given)| given);
        if given.clone().any(|given| matches!(given, Given::Other)) {
            let reason = format!("{name} must be a string or an array of strings");
            return Err(OAuthError::invalid_request(reason));
        }
        Ok(given.flat_map(|given| {
            let (one, several) = match given {
                Given::Text(text) if !text.is_empty() => (Some(text), &[][..]),
                Given::Texts(all) => (None, all.as_slice()),
                Given::Text(_) | Given::Null | Given::Other => (None, &[][..]),
            };
            one.into_iter().chain(several).map(|text| &**text)
        }))
    }
}

/// Only names that are ours are repeated in an answer.
fn plain(name: &str) -> &str {
    let known = [
        "grant_type",
        "client_id",
        "client_secret",
        "scope",
        "audience",
        "resource",
        "token",
        "token_type_hint",
    ];
    known.into_iter().find(|known| *known == name).unwrap_or("a parameter")
}

fn is_form_encoded(text: &str) -> bool {
    memchr::memchr2(b'+', b'%', text.as_bytes()).is_some()
}

/// Decodes application/x-www-form-urlencoded. Most values need no decoding, and cost nothing.
#[must_use]
pub fn form_decoded(text: &str) -> Cow<'_, str> {
    if !is_form_encoded(text) {
        return Cow::Borrowed(text);
    }
    let spaces = text.replace('+', " ");
    if memchr::memchr(b'%', text.as_bytes()).is_none() {
        return Cow::Owned(spaces);
    }
    Cow::Owned(percent_encoding::percent_decode_str(&spaces).decode_utf8_lossy().into_owned())
}

impl<'de: 'a, 'a> Deserialize<'de> for Parameters<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Parameters<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut parameters: Vec<(Cow<'de, str>, Given<'de>)> = Vec::with_capacity(8);
                while let Some((name, value)) = members.next_entry::<Name<'de>, Given<'de>>()? {
                    if parameters.iter().any(|(known, _)| *known == name.0) {
                        return Err(A::Error::custom(format_args!("{} appears twice", plain(&name.0))));
                    }
                    if parameters.len() == MOST {
                        return Err(A::Error::custom(format_args!("more than {MOST} members")));
                    }
                    parameters.push((name.0, value));
                }
                Ok(Parameters(parameters))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// The name of a member, borrowed where it holds no escape.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Given::deserialize(deserializer)? {
            Given::Text(name) => Ok(Self(name)),
            _ => Err(D::Error::custom("a name is a string")),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Given<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Given<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Given::Text(text.into()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Given::Text(text.to_owned().into()))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Given::Null)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Given::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Given::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Given::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Given::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let (mut texts, mut only_texts) = (Vec::new(), true);
                while let Some(element) = elements.next_element()? {
                    match element {
                        Given::Text(text) => texts.push(text),
                        _ => only_texts = false,
                    }
                }
                Ok(if only_texts { Given::Texts(texts) } else { Given::Other })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Given::Other)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_without_repetitions() {
        let form = Parameters::from_form(b"scope=a+b&audience=x&empty=&audience=y&%61=%C3%BC").unwrap();
        assert_eq!(form.text("scope").unwrap(), Some("a b"));
        assert_eq!(form.text("a").unwrap(), Some("\u{fc}"));
        assert!(form.texts("audience").unwrap().eq(["x", "y"]));
        assert!(!form.has("empty") && form.has("scope"));
        for wrong in [
            "scope=a&scope=a",
            "audience=x&audience=x",
            "audience=x&audience=y&audience=x",
            "a=1&%61=2",
            "a=&a=1",
        ] {
            assert!(Parameters::from_form(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let many: String = (0..=MOST).map(|n| format!("p{n}=x&")).collect();
        assert!(Parameters::from_form(many.as_bytes()).is_err());
        assert!(Parameters::from_form(b"scope=\xff").is_err());
    }

    #[test]
    fn a_json_object_without_repetitions() {
        let body = br#"{"t":"a\u0062","e":"","n":null,"l":["x","y"],"m":["x",1],"o":{"k":[1]},"i":1,"b":true,"f":0.5}"#;
        let json = Parameters::from_json(body).unwrap();
        assert_eq!(json.text("t").unwrap(), Some("ab"));
        assert!(json.texts("l").unwrap().eq(["x", "y"]));
        assert!(json.is_array("l") && !json.is_array("t"));
        assert!(!json.has("e") && !json.has("n") && json.has("o"));
        assert_eq!(json.text("n").unwrap(), None);
        for other in ["m", "o", "i", "b", "f"] {
            assert!(json.text(other).is_err() && json.texts(other).is_err(), "{other}");
        }
        assert!(Parameters::from_json(b"{\"a\":\"\xff\"}").is_err());
        for wrong in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":1}"#, "[]", "1", "", r#"{"a":1"#, r#"{"a":1} x"#]
        {
            assert!(Parameters::from_json(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

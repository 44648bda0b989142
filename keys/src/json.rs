//! JSON objects in which no member appears twice.
//!
//! Two readers of `{"aud":"a","aud":"b"}` may see two different things, which is how checks are got around. RFC 7519 §4
//! lets a reader refuse such an object, and everything here does.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

/// Reads a JSON object.
///
/// # Errors
/// What is wrong with the text, and where.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    serde_json::from_slice::<UniqueMembers>(bytes).map(|object| object.0)
}

struct UniqueMembers(Map<String, Value>);

impl<'de> Deserialize<'de> for UniqueMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Map<String, Value>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if members.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("the member {name:?} appears twice")));
                    }
                    members.insert(name, value);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_appears_twice_is_refused() {
        assert!(object(br#"{"a":1,"b":2}"#).is_ok());
        let error = object(br#"{"a":1,"b":2,"a":1}"#).unwrap_err().to_string();
        assert!(error.contains(r#"the member "a" appears twice"#), "{error}");
    }

    #[test]
    fn only_objects_are_objects() {
        for wrong in ["", "[]", "1", "null", r#"{"a":1} x"#, r#"{"a":1,}"#] {
            assert!(object(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

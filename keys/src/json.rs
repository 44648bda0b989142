//! JSON objects in which no member appears twice.
//!
//! Two readers of `{"aud":"a","aud":"b"}` may see two different things, which is how checks are got around. RFC 7519 §4
//! lets a reader refuse such an object, and everything here does, at every depth.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The most members of an object that are read by [`members`].
const MAX_MEMBERS: usize = 64;

/// Reads a JSON object.
///
/// # Errors
/// What is wrong with the text, and where.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let object = deserializer.deserialize_map(ObjectVisitor(&Cell::new(false)))?;
    deserializer.end()?;
    Ok(object)
}

/// Why a text is not an object that can be read in only one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Not a JSON object, or one of an absurd size.
    NotAnObject,
    /// A member appears twice.
    DuplicateMember,
}

/// A value, borrowed from the text where that can be.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    Texts(Vec<Cow<'a, str>>),
    Other(Value),
}

impl Item<'_> {
    /// The value, for good.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Text(text) => text.into_owned().into(),
            Self::Integer(number) => number.into(),
            Self::Texts(texts) => texts.into_iter().map(Cow::into_owned).collect(),
            Self::Other(value) => value,
        }
    }
}

/// The members of an object, in their order.
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, Item<'a>)>);

impl<'a> Members<'a> {
    /// Reads an object.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let duplicate = Cell::new(false);
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let members = deserializer.deserialize_map(MembersVisitor(&duplicate));
        let members = members.and_then(|members| deserializer.end().map(|()| members));
        members
            .map(Self)
            .map_err(|_| if duplicate.get() { Unreadable::DuplicateMember } else { Unreadable::NotAnObject })
    }

    /// The member `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&Item<'a>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, item)| item)
    }

    /// The text in the member `name`.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Item::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Takes the member `name` out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Item<'a>> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }

    /// What has not been taken out.
    pub(crate) fn rest(self) -> Map<String, Value> {
        self.0.into_iter().map(|(name, item)| (name.into_owned(), item.into_value())).collect()
    }
}

/// Any value. Notes in its cell that a member appears twice.
#[derive(Clone, Copy)]
struct AnyValue<'c>(&'c Cell<bool>);

impl<'de> DeserializeSeed<'de> for AnyValue<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(self)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        ObjectVisitor(self.0).visit_map(access).map(Value::Object)
    }
}

struct ObjectVisitor<'c>(&'c Cell<bool>);

impl<'de> Visitor<'de> for ObjectVisitor<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(twice(self.0, &name));
            }
            members.insert(name, access.next_value_seed(AnyValue(self.0))?);
        }
        Ok(members)
    }
}

fn twice<E: serde::de::Error>(duplicate: &Cell<bool>, name: &str) -> E {
    duplicate.set(true);
    E::custom(format_args!("the member {name:?} appears twice"))
}

struct MembersVisitor<'c>(&'c Cell<bool>);

impl<'de> Visitor<'de> for MembersVisitor<'_> {
    type Value = Vec<(Cow<'de, str>, Item<'de>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(12);
        while let Some(name) = access.next_key_seed(TextSeed)? {
            if members.iter().any(|(known, _)| *known == name) {
                return Err(twice(self.0, &name));
            }
            if members.len() == MAX_MEMBERS {
                return Err(A::Error::custom("too many members"));
            }
            members.push((name, access.next_value_seed(ItemSeed(self.0))?));
        }
        Ok(members)
    }
}

struct TextSeed;

impl<'de> DeserializeSeed<'de> for TextSeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for TextSeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[derive(Clone, Copy)]
struct ItemSeed<'c>(&'c Cell<bool>);

impl<'de> DeserializeSeed<'de> for ItemSeed<'_> {
    type Value = Item<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ItemSeed<'_> {
    type Value = Item<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Item::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Item::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Item::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or_else(|_| Item::Other(number.into()), Item::Integer))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Item::Other(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Item::Other(value.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Item::Other(number.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            match item {
                Item::Text(text) => texts.push(text),
                // A list of other things: no claim that is understood here has one.
                other => {
                    let mut values: Vec<Value> =
                        texts.into_iter().map(|text| text.into_owned().into()).collect();
                    values.push(other.into_value());
                    while let Some(value) = access.next_element_seed(AnyValue(self.0))? {
                        values.push(value);
                    }
                    return Ok(Item::Other(values.into()));
                }
            }
        }
        Ok(Item::Texts(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
        ObjectVisitor(self.0).visit_map(access).map(|object| Item::Other(object.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_appears_twice_is_refused_at_every_depth() {
        assert!(object(br#"{"a":1,"b":2}"#).is_ok());
        for twice in [r#"{"a":1,"b":2,"a":1}"#, r#"{"x":[0,{"y":{"a":1,"a":1}}]}"#, r#"{"x":1,"\u0078":2}"#] {
            let error = object(twice.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("appears twice"), "{error}");
            assert_eq!(Members::read(twice.as_bytes()).err(), Some(Unreadable::DuplicateMember));
        }
    }

    #[test]
    fn only_objects_are_objects() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
        for wrong in ["", "[]", "1", "null", r#"{"a":1} x"#, r#"{"a":1,}"#, "{\"a\":\"\u{0}\"}", &deep] {
            assert!(object(wrong.as_bytes()).is_err(), "{wrong}");
            assert_eq!(Members::read(wrong.as_bytes()).err(), Some(Unreadable::NotAnObject), "{wrong}");
        }
        assert!(Members::read(b"{\"a\":\"\xff\"}").is_err());
        let many: Vec<_> = (0..=MAX_MEMBERS).map(|n| format!("\"{n}\":1")).collect();
        assert!(Members::read(format!("{{{}}}", many.join(",")).as_bytes()).is_err());
    }

    #[test]
    fn members_and_objects_are_the_same_thing() {
        let json = r#"{"t":"a\"b","i":-1,"u":18446744073709551615,"f":1.5,"n":null,"b":true,
            "s":["a","b"],"m":["a",1,{"x":[]}],"e":[],"o":{"a":{"b":null}}}"#;
        assert_eq!(Members::read(json.as_bytes()).unwrap().rest(), object(json.as_bytes()).unwrap());
    }
}

//! Builds JSON values within a limit on memory.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, de};
use serde_json::{Map, Number, Value};

use super::Error;
use super::entries::twice;
use super::infinite::with_infinite;
use super::text::read;

/// Memory limit for a settings file or a response of the hub, in bytes: tens of times what published ones take.
pub const SETTINGS: usize = 24 << 20;

/// Parses a text to a value of at most `limit` bytes of memory.
///
/// # Errors
/// The text is not JSON, a key is duplicate, or the value takes more memory.
pub fn value(text: &[u8], limit: usize) -> Result<Value, Error> {
    Ok(with_infinite(text, |text| read(text, Build::new(limit, &Cell::new(limit), &[])))?)
}

/// Parses a text to an object of at most `limit` bytes of memory. The fields named `skipped` are not built.
///
/// # Errors
/// The errors of [`value`], or the text is not an object.
pub fn object(text: &[u8], limit: usize, skipped: &[&str]) -> Result<Map<String, Value>, Error> {
    match with_infinite(text, |text| read(text, Build::new(limit, &Cell::new(limit), skipped)))? {
        Value::Object(map) => Ok(map),
        _ => Err(serde_json::Error::custom("is not a JSON object").into()),
    }
}

/// Parses a text to a type. The intermediate value takes at most `limit` bytes of memory, and so does the result.
///
/// # Errors
/// The errors of [`value`], or the value is not of the type.
pub fn typed<T: DeserializeOwned>(text: &[u8], limit: usize) -> Result<T, Error> {
    Ok(serde_json::from_value(value(text, limit)?)?)
}

/// A value of at most `LIMIT` bytes of memory, as a field of a type that is parsed from a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounded<const LIMIT: usize>(pub Value);

impl<'de, const LIMIT: usize> Deserialize<'de> for Bounded<LIMIT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Build::new(LIMIT, &Cell::new(LIMIT), &[]).deserialize(deserializer).map(Self)
    }
}

/// Builds a value while memory is left.
#[derive(Clone, Copy)]
struct Build<'a> {
    limit: usize,
    left: &'a Cell<usize>,
    /// Fields of the outermost object that are not built.
    skipped: &'a [&'a str],
}

/// Bytes of memory, as upper bounds. Lists and maps double as they grow and start with room for four entries. An
/// allocation takes 16 bytes more than requested.
const ITEM: usize = 2 * size_of::<Value>();
const ENTRY: usize = 2 * (size_of::<Value>() + size_of::<String>() + 2 * size_of::<usize>()) + 32;
const LIST: usize = 2 * ITEM + 16;
const OBJECT: usize = 2 * ENTRY + 128;

impl<'a> Build<'a> {
    fn new(limit: usize, left: &'a Cell<usize>, skipped: &'a [&'a str]) -> Self {
        Self { limit, left, skipped }
    }

    fn take<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(E::custom(format_args!("takes more than {} bytes of memory, the limit", self.limit))),
        }
    }

    /// Returns the parser for values within this one, which skips no fields.
    fn inner(self) -> Self {
        Self { skipped: &[], ..self }
    }
}

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        self.take(text.len() + 32)?;
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self.inner())? {
            self.take(if items.is_empty() { LIST + ITEM } else { ITEM })?;
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.take(key.len() + if fields.is_empty() { OBJECT + ENTRY } else { ENTRY })?;
            if fields.contains_key(&key) {
                return Err(twice(&key));
            }
            let value = match self.skipped.contains(&key.as_str()) {
                true => map.next_value::<IgnoredAny>().map(|_| Value::Null)?,
                false => map.next_value_seed(self.inner())?,
            };
            fields.insert(key, value);
        }
        self.skipped.iter().for_each(|name| drop(fields.shift_remove(*name)));
        Ok(Value::Object(fields))
    }
}

//! JSON from strangers, read within limits.
//!
//! A value takes up to 70 times the memory of its text (`[{"":0},…]`), so no file is built as it comes:
//!
//! | function | for | limits |
//! |---|---|---|
//! | [`value`], [`object`] | files whose fields are looked at one by one | bytes of memory of what is built |
//! | [`typed`] | files that are one type | the same |
//! | [`part`] | the fields of a text that are of a type of their own | the type's own affair |
//! | [`Bounded`] | a part of a large file that is read piece by piece | the same |
//! | [`skimmed`] | one or two fields of an answer | nothing else is built |
//! | [`Capped`], [`Unique`] | lists and maps of a type | entries |
//! | [`shards`] | an index of shards | entries |
//! | [`Text`] | large files, as a vocabulary | depth and length of what is skipped; what is built is the type's own affair |
//!
//! Everywhere a key that is given twice is an error that names it (in what is skipped nothing is looked at),
//! values nest at most 128 deep, and a byte order mark at the start is passed over.

mod guard;
mod index;

use crate::quote::quoted;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::io::{BufReader, Read};
use std::marker::PhantomData;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, de};
pub use serde_json::Error;
use serde_json::{Map, Number, Value};

use self::guard::Guarded;
pub use self::index::shards;

/// Bytes of memory for the values of a settings file or an answer of the hub: tens of times what published ones take.
pub const SETTINGS: usize = 24 << 20;

/// Files up to this size are read whole, which is twice as fast: all published vocabularies of the family are smaller
/// (the largest, `tekken_240911.json` of mistral-common, has 19,280,963 bytes). Larger ones are read in pieces.
pub const WHOLE: u64 = 20 << 20;

/// The value of a text. It takes at most `limit` bytes of memory.
///
/// # Errors
/// The text is no JSON, a key is given twice, or the value takes more.
pub fn value(text: &[u8], limit: usize) -> Result<Value, Error> {
    read(text, Build::new(limit, &Cell::new(limit), &[]))
}

/// The object of a text, without the fields named `skipped`, which are not built. It takes at most `limit` bytes of
/// memory.
///
/// # Errors
/// As [`value`]; the text is no object.
pub fn object(text: &[u8], limit: usize, skipped: &[&str]) -> Result<Map<String, Value>, Error> {
    match read(text, Build::new(limit, &Cell::new(limit), skipped))? {
        Value::Object(map) => Ok(map),
        _ => Err(Error::custom("is not a JSON object")),
    }
}

/// A text as a type. What is built on the way takes at most `limit` bytes of memory, and so does the result.
///
/// # Errors
/// As [`value`]; the value is not of the type.
pub fn typed<T: DeserializeOwned>(text: &[u8], limit: usize) -> Result<T, Error> {
    serde_json::from_value(value(text, limit)?)
}

/// The fields of a text that a type has; all others are passed over. How much memory they take is the type's own affair.
///
/// # Errors
/// The text is no JSON, or not of the type.
pub fn part<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    read(text, PhantomData)
}

/// Some fields of a text: the type must have none that grows, and passes over all others.
///
/// # Errors
/// The text is no JSON, or not of the type.
pub fn skimmed<'text, T: Deserialize<'text>>(text: &'text [u8]) -> Result<T, Error> {
    serde_json::from_slice(without_mark(text))
}

/// A large file's text: in memory, or still to be read.
pub enum Text {
    /// All of it.
    Whole(Vec<u8>),
    /// Read in pieces while it is looked at.
    InPieces(Box<dyn Read>),
}

impl Text {
    /// The text as a type, whose own affair it is how much memory it takes.
    ///
    /// # Errors
    /// The file cannot be read, or its text is no JSON or not of the type.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, Error> {
        match self {
            Self::Whole(text) => read(&text, PhantomData),
            Self::InPieces(file) => in_pieces(file, PhantomData),
        }
    }
}

/// What `seed` makes of a text that is read in pieces.
fn in_pieces<S, T>(text: impl Read, seed: S) -> Result<T, Error>
where
    S: for<'de> DeserializeSeed<'de, Value = T>,
{
    let text = BufReader::with_capacity(1 << 16, Guarded::new(text));
    let mut deserializer = serde_json::Deserializer::from_reader(text);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// A text without a byte order mark at its start.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)
}

/// What is wrong with a JSON file, for a message that begins with the file's name.
pub fn rule(error: &Error) -> String {
    match error.is_data() {
        true => error.to_string(),
        false => format!("is not valid JSON: {error}"),
    }
}

fn read<'text, S: DeserializeSeed<'text>>(text: &'text [u8], seed: S) -> Result<S::Value, Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(without_mark(text));
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// An error for a key that an object has twice.
pub fn twice<E: de::Error>(key: &str) -> E {
    E::custom(format_args!("the key {} is given twice", quoted(key)))
}

/// A value of at most `LIMIT` bytes of memory, as a field of a type that is read piece by piece.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounded<const LIMIT: usize>(pub Value);

impl<'de, const LIMIT: usize> Deserialize<'de> for Bounded<LIMIT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Build::new(LIMIT, &Cell::new(LIMIT), &[]).deserialize(deserializer).map(Self)
    }
}

/// A list of at most `MOST` items: counted while they are read, not after.
#[derive(Clone, Debug, PartialEq)]
pub struct Capped<T, const MOST: usize>(pub Vec<T>);

impl<T, const MOST: usize> Default for Capped<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Capped<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for List<T, MOST> {
            type Value = Capped<T, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    if items.len() == MOST {
                        return Err(too_many(MOST));
                    }
                    items.push(item);
                }
                Ok(Capped(items))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// A map in which no key comes twice, and that has at most `most` entries.
#[derive(Debug)]
pub struct Unique<K, V> {
    most: usize,
    kind: PhantomData<(K, V)>,
}

impl<K, V> Unique<K, V> {
    /// At most `most` entries.
    pub fn new(most: usize) -> Self {
        Self { most, kind: PhantomData }
    }
}

impl<'de, K, V> DeserializeSeed<'de> for Unique<K, V>
where
    K: Deserialize<'de> + Eq + Hash + fmt::Display,
    V: Deserialize<'de>,
{
    type Value = HashMap<K, V>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, K, V> Visitor<'de> for Unique<K, V>
where
    K: Deserialize<'de> + Eq + Hash + fmt::Display,
    V: Deserialize<'de>,
{
    type Value = HashMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = HashMap::new();
        while let Some(key) = map.next_key::<K>()? {
            insert_new(&mut entries, key, map.next_value()?)?;
            if entries.len() > self.most {
                return Err(too_many(self.most));
            }
        }
        Ok(entries)
    }
}

/// Adds an entry that is not there yet.
fn insert_new<K, V, S, E>(entries: &mut HashMap<K, V, S>, key: K, value: V) -> Result<(), E>
where
    K: Eq + Hash + fmt::Display,
    S: BuildHasher,
    E: de::Error,
{
    match entries.contains_key(&key) {
        true => Err(twice(&key.to_string())),
        false => {
            entries.insert(key, value);
            Ok(())
        }
    }
}

fn too_many<E: de::Error>(most: usize) -> E {
    E::custom(format_args!("has more than {most} entries, the limit"))
}

/// Builds a value while there is memory left for it.
#[derive(Clone, Copy)]
struct Build<'a> {
    limit: usize,
    left: &'a Cell<usize>,
    /// Fields of the outermost object that are not built.
    skipped: &'a [&'a str],
}

/// Bytes of memory, none of them too few. Lists and maps double as they grow, and begin with room for four entries;
/// an allocation takes 16 bytes more than is asked for.
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

    /// For what lies within.
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

#[cfg(test)]
mod tests;

//! Lists and maps whose entries are counted while they are parsed.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use crate::system::quote::quoted;

/// Returns the error for a duplicate key in an object.
pub fn twice<E: de::Error>(key: &str) -> E {
    E::custom(format_args!("the key {} is given twice", quoted(key)))
}

/// A list of at most `MOST` items, counted while they are parsed.
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

/// Parses a map without duplicate keys and with at most `most` entries.
#[derive(Debug)]
pub struct Unique<K, V> {
    most: usize,
    kind: PhantomData<(K, V)>,
}

impl<K, V> Unique<K, V> {
    /// Creates a parser for a map of at most `most` entries.
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

/// Adds an entry, or returns an error if the key exists.
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

/// Returns the error for a list or map with more entries than the limit.
pub(super) fn too_many<E: de::Error>(most: usize) -> E {
    E::custom(format_args!("has more than {most} entries, the limit"))
}

//! The index of a checkpoint in shards: `{"weight_map": {TENSOR: FILE, …}}`. Of its entries the files are kept.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::Error;
use super::entries::{too_many, twice};
use super::infinite::as_python_does;
use super::text::without_mark;

/// Most entries. The largest published models have 92,000 tensors.
const MOST: usize = 1 << 17;

/// The files that an index of shards names.
///
/// # Errors
/// The text is no such index, names a tensor twice, or has more entries than a model has tensors.
pub fn shards(text: &[u8]) -> Result<BTreeSet<String>, Error> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: Files,
    }
    let read = |text: &_| serde_json::from_slice(without_mark(text));
    let Index { weight_map: Files(files) } = as_python_does(text, read)?;
    Ok(files)
}

struct Files(BTreeSet<String>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OfEntries)
    }
}

struct OfEntries;

impl<'de> Visitor<'de> for OfEntries {
    type Value = Files;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of tensors and their files")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Files, A::Error> {
        let (mut names, mut files) = (HashSet::new(), BTreeSet::new());
        while let Some((Text(name), Text(file))) = map.next_entry::<Text, Text>()? {
            if names.len() == MOST {
                return Err(too_many(MOST));
            }
            if let Some(name) = names.replace(name) {
                return Err(twice(&name));
            }
            if !files.contains(file.as_ref()) {
                files.insert(file.into_owned());
            }
        }
        Ok(Files(files))
    }
}

/// A text that stays where it is, if it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'text>(#[serde(borrow)] Cow<'text, str>);

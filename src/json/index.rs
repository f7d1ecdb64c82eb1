//! The index of a sharded checkpoint: `{"weight_map": {TENSOR: FILE, …}}`. Only the file names are kept.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::Error;
use super::entries::{too_many, twice};
use super::infinite::with_infinite;
use super::text::without_mark;

/// Maximum number of entries. The largest published models have 92,000 tensors.
const MOST: usize = 1 << 17;

/// Returns the files that an index of shards names.
///
/// # Errors
/// The text is not an index, names a tensor twice, or has more than 131,072 entries.
pub fn shards(text: &[u8]) -> Result<BTreeSet<String>, Error> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: Files,
    }
    let read = |text: &_| serde_json::from_slice(without_mark(text));
    let Index { weight_map: Files(files) } = with_infinite(text, read)?;
    Ok(files)
}

struct Files(BTreeSet<String>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FilesVisitor)
    }
}

struct FilesVisitor;

impl<'de> Visitor<'de> for FilesVisitor {
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

/// A string that borrows from the text unless it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'text>(#[serde(borrow)] Cow<'text, str>);

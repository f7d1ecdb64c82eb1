//! Ids with their tokens or their text, written piece by piece, so that a long list is never in memory twice.

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::tokenizer::Tokenizer;

/// Ids with their tokens: `{"ids": [...], "tokens": [...]}`.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    /// The ids.
    pub ids: &'a [u32],
    /// The tokenizer that they belong to.
    pub tokenizer: &'a Tokenizer,
}

/// Ids that begin a text, with the text: `{"ids": [...], "text": "..."}`. Displays the text.
#[derive(Clone, Copy, Debug)]
pub struct Decoded<'a> {
    /// The ids.
    pub ids: &'a [u32],
    /// The tokenizer that they belong to.
    pub tokenizer: &'a Tokenizer,
}

/// The token of each id.
struct Tokens<'a>(Encoded<'a>);

/// The text of the ids.
struct Text<'a>(Decoded<'a>);

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Encoded", 2)?;
        object.serialize_field("ids", self.ids)?;
        object.serialize_field("tokens", &Tokens(*self))?;
        object.end()
    }
}

impl Serialize for Tokens<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Encoded { ids, tokenizer } = self.0;
        serializer.collect_seq(ids.iter().map(|id| tokenizer.token(*id).unwrap_or_default()))
    }
}

impl fmt::Display for Decoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut detokenizer = self.tokenizer.detokenizer_at_start();
        self.ids.iter().try_for_each(|id| f.write_str(detokenizer.push(*id)))?;
        f.write_str(detokenizer.flush())
    }
}

impl Serialize for Decoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Decoded", 2)?;
        object.serialize_field("ids", self.ids)?;
        object.serialize_field("text", &Text(*self))?;
        object.end()
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

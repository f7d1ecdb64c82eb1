//! Parses a text, in memory or as a stream, to a type.

use std::io::{BufReader, Read};
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

use super::Error;
use super::guard::Guarded;
use super::infinite::with_infinite;

/// Files up to this size are read whole, which is twice as fast. All published vocabularies of the family are
/// smaller (the largest, `tekken_240911.json` of mistral-common, has 19,280,963 bytes). Larger files are parsed as
/// a stream.
pub const WHOLE: u64 = 20 << 20;

/// Parses the fields of a text that a type has, and skips all others. The type must limit their memory.
///
/// # Errors
/// The text is not JSON, or not of the type.
pub fn part<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    Ok(with_infinite(text, |text| read(text, PhantomData))?)
}

/// Parses a few fields of a text and skips all others. The type must not have a field that can grow.
///
/// # Errors
/// The text is not JSON, or not of the type.
pub fn skimmed<'text, T: Deserialize<'text>>(text: &'text [u8]) -> Result<T, Error> {
    Ok(serde_json::from_slice(without_mark(text))?)
}

/// The text of a large file: in memory, or a stream.
pub enum Text {
    /// The whole text.
    Whole(Vec<u8>),
    /// A stream that is parsed while it is read.
    InPieces(Box<dyn Read>),
}

impl Text {
    /// Parses the text to a type, which must limit the memory that it takes.
    ///
    /// # Errors
    /// The file cannot be read, or its text is not JSON or not of the type.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, Error> {
        match self {
            Self::Whole(text) => Ok(with_infinite(&text, |text| read(text, PhantomData))?),
            Self::InPieces(file) => Ok(in_pieces(file, PhantomData)?),
        }
    }
}

/// Parses a stream with `seed`.
pub(super) fn in_pieces<S, T>(text: impl Read, seed: S) -> Result<T, serde_json::Error>
where
    S: for<'de> DeserializeSeed<'de, Value = T>,
{
    let text = BufReader::with_capacity(1 << 16, Guarded::new(text));
    let mut deserializer = serde_json::Deserializer::from_reader(text);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Returns the text without a byte order mark at its start.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)
}

/// Returns the error of a JSON file, for a message that begins with the file's name.
pub fn rule(error: &Error) -> String {
    match error.is_data() {
        true => error.to_string(),
        false => format!("is not valid JSON: {error}"),
    }
}

/// Parses a text in memory with `seed`.
pub(super) fn read<'text, S: DeserializeSeed<'text>>(
    text: &'text [u8],
    seed: S,
) -> Result<S::Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(without_mark(text));
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

//! From a text, whole or in pieces, to a type.

use std::io::{BufReader, Read};
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

use super::Error;
use super::guard::Guarded;
use super::infinite::as_python_does;

/// Files up to this size are read whole, which is twice as fast: all published vocabularies of the family are smaller
/// (the largest, `tekken_240911.json` of mistral-common, has 19,280,963 bytes). Larger ones are read in pieces.
pub const WHOLE: u64 = 20 << 20;

/// The fields of a text that a type has; all others are passed over. How much memory they take is the type's own affair.
///
/// # Errors
/// The text is no JSON, or not of the type.
pub fn part<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    Ok(as_python_does(text, |text| read(text, PhantomData))?)
}

/// Some fields of a text: the type must have none that grows, and passes over all others.
///
/// # Errors
/// The text is no JSON, or not of the type.
pub fn skimmed<'text, T: Deserialize<'text>>(text: &'text [u8]) -> Result<T, Error> {
    Ok(serde_json::from_slice(without_mark(text))?)
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
            Self::Whole(text) => Ok(as_python_does(&text, |text| read(text, PhantomData))?),
            Self::InPieces(file) => Ok(in_pieces(file, PhantomData)?),
        }
    }
}

/// What `seed` makes of a text that is read in pieces.
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

/// What `seed` makes of a text in memory.
pub(super) fn read<'text, S: DeserializeSeed<'text>>(
    text: &'text [u8],
    seed: S,
) -> Result<S::Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(without_mark(text));
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

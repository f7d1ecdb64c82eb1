//! Parses lists of token ids, from words or from JSON.

use serde::Deserialize;

use crate::json::{self, Capped};
use crate::system::numbers::{Expected, at_least};
use crate::system::quote::quoted;

/// Maximum number of ids in a JSON list.
const MOST_IDS: usize = 1 << 24;

/// A text that is not a list of ids.
#[derive(Debug, thiserror::Error)]
pub enum IdsError {
    /// A word is not an id.
    #[error("{} is no token id: {expected}", quoted(word))]
    Word {
        /// The word.
        word: String,
        /// The expected form.
        expected: Expected,
    },
    /// The text is not JSON, or has a field of another type.
    #[error(transparent)]
    Json(json::Error),
    /// A JSON object has no list of ids.
    #[error("it has neither ids nor output_ids")]
    NoIds,
}

/// The JSON of `mist tokenize`, or that of `mist generate`, which has the ids of the generated text in `output_ids`.
#[derive(Deserialize)]
struct Object {
    ids: Option<Capped<u32, MOST_IDS>>,
    output_ids: Option<Capped<u32, MOST_IDS>>,
}

/// Parses words as ids.
///
/// # Errors
/// [`IdsError::Word`].
pub fn ids<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<u32>, IdsError> {
    let id =
        |word: &str| at_least(0)(word).map_err(|expected| IdsError::Word { word: word.to_owned(), expected });
    words.map(id).collect()
}

/// Parses the lists of ids in a text. Each JSON object, as `mist tokenize` and `mist generate` print it, has one list;
/// any other text is one list, with spaces, commas or brackets between the numbers.
///
/// # Errors
/// [`IdsError`].
pub fn lists(text: &str) -> Result<Vec<Vec<u32>>, IdsError> {
    if !text.trim_start().starts_with('{') {
        let words = text.split([',', ' ', '\n', '\r', '\t', '[', ']']).filter(|word| !word.is_empty());
        return Ok(vec![ids(words)?]);
    }
    let list = |object: Result<Object, serde_json::Error>| {
        let object = object.map_err(|error| IdsError::Json(error.into()))?;
        object.ids.or(object.output_ids).map(|Capped(ids)| ids).ok_or(IdsError::NoIds)
    };
    serde_json::Deserializer::from_str(text).into_iter().map(list).collect()
}

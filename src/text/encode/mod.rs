//! Encodes text to ids: takes out added tokens, normalizes the text between them, cuts it into words and merges the
//! symbols of each word.
//!
//! Knows about a tokenizer's model, but not about the file that it came from, or about conversations.
//!
//! | file | idea |
//! |---|---|
//! | `encoder` | [`Encoder`]: the steps for a stretch of text |
//! | `added` | tokens that are found in a text before it is cut |
//! | `normalizer` | changes a text before it is cut: Unicode's forms, the space at the start |
//! | `words` | cutting a text into words |
//! | `bpe` | merging the symbols of a word |
//! | `map` | the hash map that the tables use |
//!
//! The ids are those of sentencepiece, tiktoken or `tokenizers`, whichever the model was made for. The encoder is our own
//! because none of the three reads all files, and `tokenizers` takes 8 to 26 times as long (`benches/tokenize.rs`).

mod added;
mod bpe;
mod encoder;
mod map;
mod normalizer;
pub(super) mod words;

pub(super) use self::added::Finder;
pub(super) use self::encoder::Encoder;
pub(super) use self::normalizer::{Normalizer, Place};

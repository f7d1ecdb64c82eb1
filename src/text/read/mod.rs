//! Reads a tokenizer from the files of a folder, or from the metadata of a GGUF file.
//!
//! Knows about the formats of these files. Never encodes text or opens weights.
//!
//! | file | reads |
//! |---|---|
//! | `source` | (what every reader gives) |
//! | `folder` | the vocabulary among a folder's files, and the settings beside it |
//! | `settings` | the files beside it: names of tokens, added tokens, the chat template |
//! | `written` | lists of added tokens in the JSON of the settings |
//! | `added` | added tokens that only the settings declare |
//! | `hugging_face`, `merges`, `parts` | `tokenizer.json` |
//! | `steps` | its steps before the model and after |
//! | `post_processor` | the ids that it puts around a text |
//! | `sentence_piece` | `tokenizer.model`, also `.v1` to `.v7` |
//! | `tekken` | `tekken.json` |
//! | `gguf` | a [`Vocabulary`](super::Vocabulary) |
//! | `style` | the expressions that a GGUF's pre-tokenizer name stands for |
//!
//! # Folders with several vocabularies
//!
//! Mistral publishes its own file (`tekken.json`, `tokenizer.model.v3`) beside a `tokenizer.json` that others made from
//! it. The order is: tekken, the highest version of `tokenizer.model.v*`, `tokenizer.json`, `tokenizer.model`. There is
//! one exception: if the chat template does not write `[INST]`, the model was fine-tuned on another format, whose
//! tokens are in `tokenizer.json`, which then comes first.

mod added;
mod folder;
mod gguf;
mod hugging_face;
mod merges;
mod parts;
mod post_processor;
mod sentence_piece;
mod settings;
mod source;
mod steps;
mod style;
mod tekken;
#[cfg(test)]
mod tests;
mod written;

pub(super) use self::folder::{folder, is_at, is_vocabulary};
pub(super) use self::gguf::{
    BYTE, CONTROL, NORMAL, SCORE_OF_ADDED, UNKNOWN, UNUSED, USER_DEFINED, read as vocabulary,
};
pub(super) use self::hugging_face::AddedToken;
pub(super) use self::source::{Around, MAX_CONTROLS, Names, Source};
pub(super) use self::style::Style;
pub use self::written::config_beside;

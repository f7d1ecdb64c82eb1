//! Writes a tokenizer in the formats of other programs. Knows about the model and these formats, but not about files on
//! disk.
//!
//! | file | writes |
//! |---|---|
//! | `hugging_face` | `tokenizer.json` and `tokenizer_config.json` |
//! | `pairs` | (the merges as a list of pairs, for both) |
//! | `gguf` | a [`Vocabulary`](super::Vocabulary) |

mod gguf;
mod hugging_face;
mod pairs;

pub(super) use self::gguf::vocabulary;
pub(super) use self::hugging_face::files;

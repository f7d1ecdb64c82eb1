//! Writes a tokenizer in the formats of other programs. Knows a model and those formats, never a file of the disk.
//!
//! | file | writes |
//! |---|---|
//! | `hugging_face` | `tokenizer.json` and `tokenizer_config.json` |
//! | `pairs` | (the merges, as both need them) |
//! | `gguf` | a [`Vocabulary`](super::Vocabulary) |

mod gguf;
mod hugging_face;
mod pairs;

pub(super) use self::gguf::vocabulary;
pub(super) use self::hugging_face::files;

//! Writes a tokenizer in the formats of other programs. Knows the model and these formats. Never knows files on the
//! disk.
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

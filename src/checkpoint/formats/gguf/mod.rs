//! Reads and writes GGUF files: metadata entries and tensors.
//!
//! | file | what |
//! |---|---|
//! | `read` | reads and checks a file of version 2 or 3: metadata, and memory-mapped tensors |
//! | `cursor` | a cursor over the header, and the values of metadata |
//! | `split` | opens a checkpoint in several files, as `llama-gguf-split` writes it |
//! | `vocabulary` | reads the tokenizer's entries |
//! | `keys` | checks the tokenizer's keys for missing and misspelt keys |
//! | `write` | writes a file of version 3 |

mod cursor;
mod keys;
pub(in crate::checkpoint) mod read;
pub(in crate::checkpoint) mod split;
mod vocabulary;
pub(in crate::checkpoint) mod write;

pub use cursor::Value;
pub use read::*;

//! GGUF files: entries of metadata, and tensors.
//!
//! | file | what it knows |
//! |---|---|
//! | `read` | a file of version 2 or 3, checked: metadata, and tensors over the map |
//! | `cursor` | a position in the header, and the values that metadata holds |
//! | `split` | a checkpoint in several files, as `llama-gguf-split` cuts it |
//! | `vocabulary` | the tokenizer's entries |
//! | `keys` | which entries of a tokenizer must be there, and which unknown one is a misspelt one |
//! | `write` | a file of version 3 as bytes |

mod cursor;
mod keys;
pub(in crate::checkpoint) mod read;
pub(in crate::checkpoint) mod split;
mod vocabulary;
pub(in crate::checkpoint) mod write;

pub use cursor::Value;
pub use read::*;

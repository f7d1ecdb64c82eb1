//! GGUF files: entries of metadata, and tensors.

mod cursor;
mod keys;
pub(in crate::checkpoint) mod read;
pub(in crate::checkpoint) mod split;
mod vocabulary;
pub(in crate::checkpoint) mod write;

pub use cursor::Value;
pub use read::*;

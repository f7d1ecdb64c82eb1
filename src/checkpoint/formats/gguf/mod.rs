//! GGUF files: entries of metadata, and tensors.

mod cursor;
mod keys;
pub(in crate::checkpoint) mod read;
pub(in crate::checkpoint) mod split;

pub use cursor::Value;
pub use read::*;

//! Reads and writes safetensors files.

mod header;
mod read;
pub(in crate::checkpoint) mod write;

pub use read::*;

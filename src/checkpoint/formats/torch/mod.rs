//! Reads and writes PyTorch's files: a zip archive with a pickle. The pickle is read as data and never executed.

mod machine;
mod objects;
mod pickle;
mod read;
pub(in crate::checkpoint) mod write;
mod zip;

pub use read::*;

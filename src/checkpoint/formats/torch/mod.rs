//! PyTorch's files: a zip archive with a pickle, of which data is read and nothing is executed.

mod machine;
mod objects;
mod pickle;
mod read;
pub(in crate::checkpoint) mod write;
mod zip;

pub use read::*;

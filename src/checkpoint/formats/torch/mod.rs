//! PyTorch's files: a zip archive with a pickle, of which data is read and nothing is executed.
//!
//! | file | what it knows |
//! |---|---|
//! | `read` | tensors of a file, over the map |
//! | `zip` | the archive: entries stored as they are, found through the central directory |
//! | `pickle` | the instructions of a state dict's pickle, read as data |
//! | `machine` | the values, the stack and the memo of a pickle, all bounded |
//! | `objects` | what a pickle names and calls: storages, and tensors as views of them |
//! | `write` | a state dict as `torch.save` writes it |

mod machine;
mod objects;
mod pickle;
mod read;
pub(in crate::checkpoint) mod write;
mod zip;

pub use read::*;

//! Reads and writes PyTorch's files: a zip archive with a pickle. The pickle is read as data and never executed.
//!
//! | file | what |
//! |---|---|
//! | `read` | reads the tensors of a file, memory-mapped |
//! | `zip` | the archive: uncompressed entries, found through the central directory |
//! | `pickle` | the instructions of a state dict's pickle, read as data |
//! | `machine` | the values, the stack and the memo of a pickle, limited in size |
//! | `objects` | the objects of a pickle: storages, and tensors as views of them |
//! | `write` | writes a state dict as `torch.save` does |

mod machine;
mod objects;
mod pickle;
mod read;
pub(in crate::checkpoint) mod write;
mod zip;

pub use read::*;

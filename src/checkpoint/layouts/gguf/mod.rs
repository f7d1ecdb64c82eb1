//! GGUF files of the architecture `llama`.
//!
//! | file | what |
//! |---|---|
//! | `config` | reads and writes the description in the metadata |
//! | `entries` | metadata entries that change nothing |
//! | `names` | names of fields and tensors |
//! | `read` | reads the tensors under Hugging Face's names |
//! | `write` | writes a file that llama.cpp loads |

pub(in crate::checkpoint) mod config;
mod entries;
pub(in crate::checkpoint) mod names;
pub(in crate::checkpoint) mod read;
pub(in crate::checkpoint) mod write;

pub use config::from_gguf;
pub use write::plan;

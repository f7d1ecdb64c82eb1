//! GGUF of the architecture `llama`.
//!
//! | file | what it knows |
//! |---|---|
//! | `config` | metadata as a description, and back |
//! | `entries` | entries of metadata that change nothing |
//! | `names` | its names of fields and tensors |
//! | `read` | its tensors under our names |
//! | `write` | a file that llama.cpp loads |

pub(in crate::checkpoint) mod config;
mod entries;
pub(in crate::checkpoint) mod names;
pub(in crate::checkpoint) mod read;
pub(in crate::checkpoint) mod write;

pub use config::from_gguf;
pub use write::plan;

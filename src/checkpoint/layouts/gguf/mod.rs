//! GGUF of the architecture `llama`.

pub(in crate::checkpoint) mod config;
mod entries;
pub(in crate::checkpoint) mod names;
pub(in crate::checkpoint) mod read;
pub(in crate::checkpoint) mod write;

pub use config::from_gguf;
pub use write::plan;

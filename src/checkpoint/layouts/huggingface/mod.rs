//! Hugging Face's layout: `config.json` beside safetensors.

pub(in crate::checkpoint) mod config;
mod harmless;
pub(in crate::checkpoint) mod json;
pub(in crate::checkpoint) mod read;
pub(in crate::checkpoint) mod write;

pub use config::from_json;
pub use write::*;

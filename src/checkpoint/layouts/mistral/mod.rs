//! Mistral's layout: `params.json` beside `consolidated*.safetensors`.

pub(in crate::checkpoint) mod config;
pub(in crate::checkpoint) mod names;
pub(in crate::checkpoint) mod read;

pub use config::from_params;

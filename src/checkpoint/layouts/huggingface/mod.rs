//! Hugging Face's layout: `config.json` beside safetensors.
//!
//! | file | what |
//! |---|---|
//! | `config` | reads `config.json` in the old and the new spelling |
//! | `harmless` | fields of `config.json` that do not change what the weights compute |
//! | `json` | writes `config.json` |
//! | `read` | reads a folder: its description and its weights |
//! | `write` | writes a folder that transformers loads, in shards |

pub(in crate::checkpoint) mod config;
mod harmless;
pub(in crate::checkpoint) mod json;
pub(in crate::checkpoint) mod read;
pub(in crate::checkpoint) mod write;

pub use config::from_json;
pub use write::*;

//! Hugging Face's folders: `config.json` beside safetensors.
//!
//! | file | what it knows |
//! |---|---|
//! | `config` | `config.json` as a description, in its old and its new spelling |
//! | `harmless` | fields of it that change nothing about what the weights compute |
//! | `json` | `config.json` as it is written |
//! | `read` | which files hold the weights |
//! | `write` | a folder that transformers loads, in shards |

pub(in crate::checkpoint) mod config;
mod harmless;
pub(in crate::checkpoint) mod json;
pub(in crate::checkpoint) mod read;
pub(in crate::checkpoint) mod write;

pub use config::from_json;
pub use write::*;

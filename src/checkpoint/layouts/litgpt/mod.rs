//! litgpt's layout: `lit_model.pth` beside `model_config.yaml`, until March 2024 `lit_config.json`.

pub(in crate::checkpoint) mod config;
pub(in crate::checkpoint) mod names;
pub(in crate::checkpoint) mod read;
pub(in crate::checkpoint) mod write;

pub use config::{from_lit_json, from_lit_yaml};
pub use write::plan;

//! Layouts of checkpoints: what the files of a folder are called, how they describe a model, and how they name its tensors.
//! Each folder has a layout's config, reading and writing.

pub mod gguf;
pub mod huggingface;
pub mod litgpt;
pub mod mist;
pub mod mistral;

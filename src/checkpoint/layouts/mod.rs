//! Layouts of checkpoints: the names of a folder's files, the description of the model, and the names of its tensors.
//! Each folder here holds one layout: its config, its reader and its writer.

pub mod gguf;
pub mod huggingface;
pub mod litgpt;
pub mod mist;
pub mod mistral;

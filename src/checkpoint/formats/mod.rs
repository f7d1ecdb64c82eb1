//! Containers of tensors and of settings: how bytes become names, shapes and values. What they mean for a model is a
//! [layout](super::layouts)'s.
//!
//! | folder or file | what |
//! |---|---|
//! | [`safetensors`], [`gguf`], [`torch`] | containers of tensors |
//! | `fields` | the fields of a JSON object, taken one by one |
//! | `yaml` | the YAML that litgpt writes |

pub mod fields;
pub mod gguf;
pub mod safetensors;
pub mod torch;
pub(super) mod yaml;

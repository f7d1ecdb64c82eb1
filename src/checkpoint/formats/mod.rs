//! File formats of tensors and of settings: they turn bytes into names, shapes and values. The
//! [layouts](super::layouts) define what these mean for a model.
//!
//! | folder or file | what |
//! |---|---|
//! | [`safetensors`], [`gguf`], [`torch`] | containers of tensors |
//! | `fields` | the fields of a JSON object, checked as they are read |
//! | `yaml` | the YAML that litgpt writes |

pub mod fields;
pub mod gguf;
pub mod safetensors;
pub mod torch;
pub(super) mod yaml;

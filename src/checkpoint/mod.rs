//! Checkpoints on disk: file formats, name tables, and the one gate through which every untrusted file goes.
//!
//! Knows bytes, names, shapes and the description of a model ([`Config`]). Never knows how a model computes,
//! nor text. What comes out is a [`Checkpoint`]: a checked config, and every layer's weights as matrices over
//! the mapped files. Between the two lies [`gate`]: sizes, caps, checked arithmetic, spans, names, and shapes
//! against the config, before anything is allocated by a number from a file.
//!
//! | file | what |
//! |---|---|
//! | [`config`] | the model's description, and how each layout says it |
//! | `map` | memory maps |
//! | `read`, `yaml` | small files beside the weights |
//! | `tensors` | names, shapes and bytes as a file gives them |
//! | [`safetensors`], [`gguf`], [`torch`] | the formats; GGUF and PyTorch's are also written |
//! | `shards` | the files that together hold the weights |
//! | `names` | renaming between layouts, as data |
//! | [`gate`] | tensors against the config: what is used is what is there |
//! | [`open`] | which layout a folder or file is |
//! | [`suggestions`] | how the publishers say that tokens should be chosen |
//! | `published`, `rows` | a checkpoint's tensors as others have them: apart, under their names |
//! | [`huggingface`] | writing a Hugging Face folder |
//! | `mistral` | reading Mistral's own layout |
//! | [`litgpt`] | reading and writing litgpt's folders |
//! | [`manifest`], [`origin`], [`convert`] | the `mist` format |
//! | [`mix`] | which scheme each matrix takes when a model is quantized |
//! | [`output`] | a tensor to be written: its type, and its bytes made on all cores |
//! | [`plan`] | a conversion before it happens, its writing, and its proof |

pub mod config;
pub mod convert;
pub mod error;
pub mod gate;
pub mod gguf;
pub mod huggingface;
pub mod litgpt;
pub mod manifest;
pub(crate) mod map;
mod mistral;
pub mod mix;
mod names;
pub mod open;
pub mod origin;
pub mod output;
pub mod plan;
mod published;
mod read;
mod rows;
pub mod safetensors;
mod shards;
mod sidecar;
pub mod suggestions;
pub mod tensors;
pub mod torch;
mod yaml;

pub use config::Config;
pub use error::Error;
pub use gate::{Experts, LayerWeights, Mlp, Weights};
pub use open::{Checkpoint, Format, Tokenizing};
pub use origin::Origin;
pub use suggestions::Suggestions;

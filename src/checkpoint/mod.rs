//! Checkpoints on disk: every untrusted file becomes a checked config and matrices over the mapped bytes.
//!
//! Knows bytes, names, shapes and the description of a model. Never knows how a model computes. What comes out is a
//! [`Checkpoint`]. Between the two lies [`validate`]: sizes, caps, checked arithmetic, spans, names, and shapes
//! against the config, before anything is allocated by a number from a file.
//!
//! | folder or file | what |
//! |---|---|
//! | [`open`] | which layout a folder or file is |
//! | [`layouts`] | Hugging Face, Mistral, litgpt, GGUF, `mist`: config, reading, writing |
//! | [`formats`] | the containers: safetensors, GGUF, PyTorch's; JSON fields and YAML |
//! | [`validate`] | tensors against the config: what is used is what is there |
//! | [`convert`] | a conversion before it happens, its writing, and its proof |
//! | `tensors`, `shards` | names, shapes and bytes as files give them; the files that together hold the weights |
//! | `names` | renaming between layouts, as data |
//! | `read` | files as every layout reads them |
//! | [`suggestions`] | how the publishers say that tokens should be chosen |
//! | [`error`] | what can be wrong |

pub mod convert;
pub mod error;
pub mod formats;
pub mod layouts;
mod names;
pub mod open;
pub(crate) mod read;
mod shards;
pub mod suggestions;
pub mod tensors;
pub mod validate;

pub use error::Error;
pub use layouts::mist::Provenance;
pub use open::{Checkpoint, Format, Tokenizing};
pub use suggestions::Suggestions;

//! Opens and converts checkpoints. An untrusted folder or file becomes a [`Checkpoint`]: a checked config, and matrices
//! over memory-mapped bytes.
//!
//! Knows about bytes, names, shapes and the description of a model, but not how a model computes. Readers check sizes,
//! limits, spans and names with checked arithmetic before they allocate by a number from a file. Then [`validate`]
//! checks the shapes against the config.
//!
//! | folder or file | what |
//! |---|---|
//! | [`open`] | finds the layout of a folder or file, and opens it |
//! | [`layouts`] | Hugging Face, Mistral, litgpt, GGUF, `mist`: config, reading, writing |
//! | [`formats`] | the containers: safetensors, GGUF, PyTorch's; JSON fields and YAML |
//! | [`validate`] | checks tensors against the config: none is missing, none is left over |
//! | [`convert`] | plans, writes and verifies conversions |
//! | `tensors`, `shards` | tensors with their names, shapes and bytes; the files that together hold the weights |
//! | `names` | tables of tensor names, to rename between layouts |
//! | `read` | reads files as every layout needs them |
//! | `finite` | checks that every weight is a finite number |
//! | [`suggestions`] | the publishers' suggested sampling settings |
//! | [`error`] | errors and their hints |

pub mod convert;
pub mod error;
mod finite;
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
pub use finite::NotFinite;
pub use layouts::mist::Provenance;
pub use open::{Checkpoint, Format, Tokenizing};
pub use suggestions::Suggestions;

//! The model's own words: its description, its weights, and the names of its tensors.
//!
//! Knows shapes. Never knows files, nor devices.
//!
//! | file | what |
//! |---|---|
//! | [`config`] | the description of a model |
//! | `naming` | what a layout calls the fields of it |
//! | [`schema`] | the tensors of a model: what each does, its shape, its names, its order |
//! | [`weights`] | all weights of a model, layer by layer |

pub mod config;
mod naming;
pub mod schema;
pub mod weights;

pub use config::{Architecture, Config, ExpertCount, Rope, RopeScaling};
pub use naming::FieldNames;
pub use weights::{Experts, LayerWeights, Mlp, Weights};

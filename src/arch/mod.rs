//! The model's own words: its description, its weights, and the names of its tensors.
//!
//! Knows shapes. Never knows files, nor devices.
//!
//! | file | what |
//! |---|---|
//! | [`config`] | the description of a model |
//! | `naming` | what a layout calls the fields of it |
//! | [`names`] | what matrices do, by their published names |
//! | [`weights`] | all weights of a model, layer by layer |

pub mod config;
pub mod names;
mod naming;
pub mod weights;

pub use config::{Architecture, Config, ExpertCount, Rope, RopeScaling};
pub use naming::FieldNames;
pub use weights::{Experts, LayerWeights, Mlp, Weights};

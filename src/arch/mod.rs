//! The model's own words: its description, its weights, and the names of its tensors.
//!
//! Knows shapes. Never knows files, nor devices.
//!
//! | file | what |
//! |---|---|
//! | [`config`] | the description of a model |
//! | `naming` | what each layout calls a field of it |
//! | [`names`] | what each layout calls a tensor |
//! | [`weights`] | all weights of a model, layer by layer |

pub mod config;
pub mod names;
mod naming;
pub mod weights;

pub use config::{Architecture, Config, ExpertCount, Rope, RopeScaling};
pub use naming::Naming;
pub use weights::{Experts, LayerWeights, Mlp, Weights};

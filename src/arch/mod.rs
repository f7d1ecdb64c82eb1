//! The architecture of a model: its description, its weights, and the names of its tensors.
//!
//! Knows about shapes, but not about files or devices.
//!
//! | file | what |
//! |---|---|
//! | [`config`] | the description of a model |
//! | `describe` | the description in words |
//! | `naming` | the names of the description's fields in a layout |
//! | [`schema`] | the tensors of a model: their roles, shapes, names and order |
//! | [`weights`] | all weights of a model, layer by layer |

pub mod config;
mod describe;
mod naming;
pub mod schema;
pub mod weights;

pub use config::{Architecture, Config, ExpertCount, Rope, RopeScaling};
pub use naming::FieldNames;
pub use weights::{Experts, LayerWeights, Mlp, Weights};

//! Rows and weights wherever they live, and the operations on them: once for our kernels (CPU), once for candle (CUDA,
//! Metal).
//!
//! Knows devices. Never knows models. Every operation passes on what its device reports: memory that it does not have, a
//! kernel that it cannot run; its own `# Errors` names only what is found before.
//!
//! | file | what |
//! |---|---|
//! | [`weight`] | a weight matrix where the model's products find it |
//! | [`ops`] | the model's operations on rows, wherever they live |
//! | `generic` | the same through candle's operations |

pub mod generic;
pub mod ops;
pub mod weight;

pub use weight::{Arithmetic, Target, Vector, Weight, narrow};

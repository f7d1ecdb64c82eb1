//! Rows and weights on any device, and the operations on them: one implementation with the kernels (CPU), one with
//! candle (CUDA, Metal).
//!
//! Knows about devices, but not about models. Every operation passes on its device's errors, such as missing memory or
//! a kernel that cannot run. The `# Errors` sections name only what an operation checks itself.
//!
//! | file | what |
//! |---|---|
//! | [`weight`] | a weight matrix on the device that multiplies it |
//! | [`ops`] | the model's operations on rows, on any device |
//! | `generic` | the same operations with candle |
//! | `error` | [`DeviceError`]: device errors |

mod error;
pub mod generic;
pub mod ops;
pub mod weight;

pub use error::DeviceError;
pub use weight::{Arithmetic, Target, Vector, Weight, narrow};

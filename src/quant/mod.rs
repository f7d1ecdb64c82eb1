//! What weights and rows of activations are: the schemes that weights are stored in, the order in which their rows lie,
//! and the ways between blocks and f32.
//!
//! Knows bytes and schemes. Never knows models, nor what is computed with a matrix.
//!
//! | file | what |
//! |---|---|
//! | `activations` | how activations are rounded for products in integers |
//! | [`scheme`] | how weights are stored: dense types and ggml's block schemes |
//! | [`layout`] | how rows lie: one after another, or sixteen interleaved |
//! | `interleave` | rows made a panel, fast enough to do it while multiplying |
//! | [`matrix`] | a weight matrix over bytes that somebody else owns (a map of a file) |
//! | [`rows`] | rows of activations and their memory |
//! | `dequantize` | a row of any scheme as f32 |
//! | [`quantize`] | rows of f32 as blocks |
//! | [`mix`] | which scheme each matrix takes when a model is quantized |

mod activations;
pub mod dequantize;
pub(crate) mod interleave;
pub mod layout;
pub mod matrix;
pub mod mix;
pub mod quantize;
#[cfg(test)]
pub(crate) mod random;
pub mod rows;
pub mod scheme;

pub use activations::{ActivationBits, Blocks};
pub use interleave::ROWS;
pub use layout::Layout;
pub use matrix::Matrix;
pub use rows::{HostRows, Rows};
pub use scheme::Scheme;

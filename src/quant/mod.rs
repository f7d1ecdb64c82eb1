//! Weights and rows of activations: the schemes that weights are stored in, the order of their rows, and conversion
//! between blocks and f32.
//!
//! Knows about bytes and schemes, but not about models, or what is computed with a matrix.
//!
//! | file | what |
//! |---|---|
//! | `activations` | how activations are rounded for products in integers |
//! | [`scheme`] | how weights are stored: dense types and ggml's block schemes |
//! | [`layout`] | the order of rows: one after another, or sixteen interleaved |
//! | `interleave` | interleaves rows to a panel, fast enough to do it during a product |
//! | [`matrix`] | a weight matrix over shared bytes, usually a memory-mapped file |
//! | [`rows`] | rows of activations and their memory |
//! | `dequantize` | converts weights of any scheme to f32 |
//! | [`quantize`] | converts f32 rows to blocks |
//! | [`mix`] | the scheme of each matrix when a model is quantized |

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

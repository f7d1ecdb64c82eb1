//! The arithmetic: functions over slices, for every weight scheme and instruction set, and the one seam to
//! candle ([`ops`]), through which the model reaches either these kernels (CPU) or candle's (CUDA, Metal).
//!
//! Knows slices, packed weights and instruction sets. Never knows models, names of tensors, or files.
//!
//! | file | what |
//! |---|---|
//! | [`scheme`] | how weights are stored: dense types and ggml's block schemes |
//! | [`layout`] | how rows lie: one after another, or sixteen interleaved |
//! | `dequantize` | a row of any scheme as f32 |
//! | [`quantize`] | rows of f32 as blocks |
//! | [`matrix`] | a weight matrix over bytes that somebody else owns (a map of a file) |
//! | [`pages`] | hints to the system about mapped weights |
//! | `interleave` | rows made a strip, fast enough to do it while multiplying |
//! | `matmul` | activations times a weight matrix, in f32 |
//! | [`packed`] | the same in integers where a scheme has them, over rows interleaved for the dot-product instructions |
//! | [`attention`] | tiles of queries over the cache |
//! | [`pointwise`] | norms, rotary positions, gated activation |
//! | [`rows`] | rows of activations and their memory |
//! | [`cpu`] | which instruction set is in use |
//! | `fused` | the fused multiply-add of processors without one |
//! | `simd` | vectors of f32 in every instruction set |
//! | `prefetch` | asking for memory before it is loaded |
//! | [`pool`] | the threads |
//! | [`ops`] | the model's operations on rows, wherever they live |
//!
//! **A row's result never depends on how many rows, chunks or threads it is computed with**: each output
//! element is summed in one fixed order. Threads divide output elements; only attention divides what is summed as well, at
//! fixed positions, and adds the parts in their order.

pub mod attention;
pub mod cpu;
pub mod dequantize;
mod fused;
mod interleave;
pub mod layout;
pub mod matmul;
pub mod matrix;
pub mod ops;
pub mod packed;
pub mod pages;
pub mod pointwise;
pub mod pool;
mod prefetch;
pub mod quantize;
#[cfg(test)]
mod random;
pub mod rows;
pub mod scheme;
mod simd;
pub mod weight;

pub use layout::Layout;
pub use matrix::Matrix;
pub use rows::Rows;
pub use scheme::Scheme;
pub use weight::{ActivationBits, Arithmetic, Vector, Weight};

//! The arithmetic: functions over slices, for every weight scheme and instruction set.
//!
//! Knows slices, matrices and instruction sets. Never knows where bytes came from, models, or names of tensors.
//!
//! | file | what |
//! |---|---|
//! | `matmul` | activations times a weight matrix, in f32 |
//! | [`packed`] | the same in integers where a scheme has them, over rows interleaved for the dot-product instructions |
//! | [`attention`] | tiles of queries over the cache |
//! | [`pointwise`] | norms, rotary positions, gated activation |
//!
//! **A row's result never depends on how many rows, chunks or threads it is computed with**: each output
//! element is summed in one fixed order. Threads divide output elements; only attention divides what is summed as well, at
//! fixed positions, and adds the parts in their order.

pub mod attention;
pub mod matmul;
pub mod packed;
pub mod pointwise;

//! CPU kernels: arithmetic over slices, for every weight scheme and instruction set.
//!
//! Knows about slices, matrices and instruction sets, but not about models, tensor names, or the source of the bytes.
//!
//! | file | what |
//! |---|---|
//! | `matmul` | activations times a weight matrix, in f32 |
//! | [`packed`] | the same product in integers, for schemes with integer kernels |
//! | [`attention`] | attention over the KV cache |
//! | [`pointwise`] | norms, rotary position embedding, gated activation |
//!
//! **A row's result never depends on how many rows, chunks or threads it is computed with.** Each output element is
//! summed in one fixed order. Threads divide the output elements. Only attention also divides the summation, at
//! fixed positions, and adds the parts in order.

pub mod attention;
pub mod matmul;
pub mod packed;
pub mod pointwise;

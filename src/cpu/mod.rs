//! The processor: its instruction sets, its SIMD vectors, and the pool of threads.
//!
//! Knows registers and threads. Never knows what is computed with them.
//!
//! | file | what |
//! |---|---|
//! | [`level`](mod@level) | which instruction set is in use |
//! | `fused` | the fused multiply-add of processors without one |
//! | `simd` | vectors of f32 in every instruction set |
//! | `prefetch` | asking for memory before it is loaded |
//! | [`pool`] | the threads |

mod fused;
pub mod level;
pub mod pool;
pub(crate) mod prefetch;
pub(crate) mod simd;

pub use level::*;

//! The processor: instruction sets, SIMD vectors and the thread pool.
//!
//! Knows about registers and threads, but not what is computed with them.
//!
//! | file | what |
//! |---|---|
//! | [`level`](mod@level) | the instruction set in use |
//! | `fused` | fused multiply-add for processors without the instruction |
//! | `simd` | vectors of f32 in every instruction set |
//! | `prefetch` | prefetching memory |
//! | [`pool`] | the thread pool |

mod fused;
pub mod level;
pub mod pool;
pub(crate) mod prefetch;
pub(crate) mod simd;

pub use level::*;

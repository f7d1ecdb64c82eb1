//! Kernels for AVX2, AVX-VNNI and AVX512-VNNI from one source; an instruction set's registers and instructions are
//! its [`Lanes`].
//!
//! | file | what |
//! |---|---|
//! | `lanes` | the operations that kernels need from an instruction set |
//! | `avx2`, `avx512` | the instruction sets |
//! | `block` | loads and unpacks a block |
//! | `block32` | blocks of 32 weights by any number of rows |
//! | `k_quant` | k-quants by a few rows |
//! | `unpack`, `tile` | k-quants by many rows, unpacked to the L1 cache |
//! | `dispatch` | selects the kernel for a product |
//!
//! Lanes are rows: sixteen in an AVX512 register, eight in an AVX2 register. Four broadcast activations are
//! multiplied by four weights of each row, and there are no horizontal sums. The layout needs no shuffle: a
//! register of weights is one load. Blocks of a panel are not aligned to cache lines, so half of AVX512's loads
//! touch two lines.
//!
//! The instructions multiply unsigned by signed bytes, and the weights are the unsigned operand. Unsigned weights
//! exceed the signed ones by an offset, so the offset times the sum of the activations is subtracted from the result.

mod avx2;
mod avx512;
mod block;
mod block32;
mod dispatch;
mod k_quant;
mod lanes;
mod tile;
mod unpack;

#[cfg(test)]
pub use avx2::AS_AVX512;
pub use avx2::{PAIRS, VNNI, Ymm};
pub use avx512::Avx512;
pub use block::{KFields, add, combine_planes, times_sums};
pub use dispatch::panels;
pub use lanes::Lanes;
pub use unpack::{UnpackBlock32, UnpackKQuant};

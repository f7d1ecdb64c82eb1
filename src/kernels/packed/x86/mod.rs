//! AVX2, AVX-VNNI and AVX512-VNNI: one text, whose registers and instructions are a set's [`Lanes`].
//!
//! | file | what |
//! |---|---|
//! | `lanes` | what a kernel asks of an instruction set |
//! | `avx2`, `avx512` | the sets |
//! | `block` | a block's bytes in registers |
//! | `block32` | blocks of 32 weights by any number of rows |
//! | `k_quant` | k-quants by a few rows |
//! | `unpack`, `tile` | k-quants by many rows: through the first-level cache |
//! | `dispatch` | which kernel a product takes |
//!
//! Lanes are rows: sixteen in a register of AVX512, eight in one of AVX2. Four activations, broadcast, meet four weights of
//! each row, and there are no horizontal sums. The layout needs no shuffle: a register of weights is one load. Blocks of a
//! panel do not begin on lines, so half of AVX512's loads touch two.
//!
//! The instructions multiply unsigned by signed bytes, and weights are the unsigned ones: what makes them signed, an offset,
//! is taken away again as the offset times the activations' sum.

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
pub use block::{KFields, add, by_sums, whole};
pub use dispatch::panels;
pub use lanes::Lanes;
pub use unpack::{UnpackBlock32, UnpackKQuant};

//! The packed product with AMX: one instruction multiplies sixteen rows of activations by a panel, for 64 columns.
//!
//! A piece of a panel, four bytes of sixteen rows, is already a line of the instruction's second operand. Sixteen
//! rows of activations are the first operand. Only the scales need extra work:
//!
//! - The scales of a k-quant's groups are multiplied into the weights, exactly, as two bytes. Sums over 256
//!   columns are then those of the high bytes and of the low bytes, with no work per group (`k`).
//! - Blocks of 32 columns have f32 scales, so sums end after 32 columns, half of what an instruction can take
//!   (`blocks`).
//!
//! Weights are unpacked, and sums are scaled and added, with AVX512. The instructions are written as assembly
//! because their intrinsics are not stable. With few rows AVX512 is as fast.
//!
//! Each call configures the tiles and releases them: released tiles cost nothing at a context switch.

mod blocks;
mod dispatch;
mod k;
#[cfg(test)]
mod model;
mod scratch;
mod tiles;

pub use dispatch::panels;

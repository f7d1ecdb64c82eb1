//! The packed product with AMX: sixteen rows of activations by a panel in one instruction, for 64 columns.
//!
//! A piece of a panel, four bytes of sixteen rows, is a line of the instruction's second operand as it lies, and sixteen rows
//! of activations are its first. So only scales are in the way:
//!
//! - Scales of a k-quant's groups are multiplied into the weights, exactly, as two bytes: the products' sums of 256 columns are
//!   those of the high bytes and of the low bytes, and there is nothing to do for a group (`k`).
//! - Blocks of 32 columns have scales in f32, so that sums end after 32 columns, half of what an instruction can take
//!   (`blocks`).
//!
//! Weights are unpacked as for AVX512, and what becomes of the sums is done there too. The instructions are written as
//! assembly, since their intrinsics are not stable. With few rows AVX512 is as fast.
//!
//! Tiles are set up and released by each call: released, they cost nothing when the system switches threads.

mod blocks;
mod dispatch;
mod k;
#[cfg(test)]
mod model;
mod scratch;
mod tiles;

pub use dispatch::panels;

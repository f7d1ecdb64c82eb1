//! Matrix products in integers: activations quantized to 8 or 16 bits, times quantized weights in panels of 16
//! interleaved rows.
//!
//! | file | what |
//! |---|---|
//! | `scheme` | the schemes that have integer kernels |
//! | `rounding` | rounds a block of activations to 8-bit integers |
//! | `activations` | rows of such blocks |
//! | `tile` | up to 16 of those rows, as kernels read them |
//! | `product` | the product with a whole [`Matrix`](crate::quant::Matrix): parts, layouts, threads |
//! | `dispatch` | calls the kernels of an instruction set |
//! | `portable` | the twin in plain Rust that all kernels match bit for bit |
//! | `unpacked` | 256 columns of a panel, unpacked |
//! | `x86` | one source for AVX2 (8 rows in a register), AVX-VNNI and AVX512-VNNI (16 rows) |
//! | `amx` | 16 rows of activations by a panel in one instruction |
//! | `neon` | 4 rows in a register |
//!
//! # Layout
//!
//! A panel is 16 rows. For each block of columns, the 16 blocks of the rows are interleaved piece by piece, in the
//! order of the standard block: f16 numbers one at a time, all other bytes four at a time. A piece of four bytes of
//! each row is 64 bytes, a block of a panel is as long as 16 standard blocks, and no byte is added. The rows after
//! the last full panel keep their order; they are padded with zero rows and multiplied as a panel.
//!
//! - One lane of `vpdpbusd`, `vpmaddubsw` + `vpmaddwd` or `sdot` adds up four bytes of one row. Lanes are rows:
//!   there are no horizontal sums, and a block's scales apply to 16 rows as one vector.
//! - Activations are broadcast four bytes at a time: a memory operand on AVX2 and AVX512, a lane of `sdot` on
//!   NEON.
//! - The 16 rows of a panel fill one AVX512 register, two AVX2 registers, four NEON registers, or one row of an
//!   AMX tile.
//! - The 12 bytes of 6-bit scales in q4_k and q5_k need no special order: their three words, side by side for all
//!   rows, unpack in place with masks and shifts.
//! - Blocks of a panel begin at multiples of 32 bytes, not 64 (q8_0: 544).
//!
//! Rows that are not interleaved in storage are interleaved 256 columns at a time into the L1 cache and multiplied
//! there by the same kernels, so the result has the same bits. Interleaving whole rows into the L2 cache is slower, and so
//! is interleaving in registers between the multiplications.
//!
//! # Order of summation
//!
//! All instruction sets give the same bits. Integer sums within a block of columns are exact in any order. The f32
//! operations after them have this order, and every multiply-add is fused:
//!
//! 1. With 16 bits, combine the sums of a row's two planes: `254 · first + second` (see `activations`).
//! 2. Multiply by the scale of the weights. If the scheme has minima, add the minimum times the sum of the
//!    activations' integers.
//! 3. Multiply by the scale of the activations and add to the row's sum. Blocks are added in order; the first is
//!    added to zero.
//!
//! # Performance
//!
//! `cargo bench --bench packed` measures it. docs/performance.md has the results, and what the following choices gain.
//!
//! - Decode prefetches twice: 4 KiB ahead into the L2 cache, which accepts more requests at once than L1, and 2 KiB ahead
//!   from L2 into L1. Requests have to be evenly spaced, so panels are unpacked a cache line at a time.
//! - AVX512 alternates between the blocks of two panels, because memory is read faster from two places than from one.
//!
//! The NEON kernels were compared bit for bit with the portable ones in an emulator. They have not been timed on
//! any machine.

mod activations;
#[cfg(target_arch = "x86_64")]
mod amx;
mod dispatch;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod product;
mod rounding;
mod scheme;
mod tile;
#[cfg(target_arch = "x86_64")]
mod unpacked;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use product::{Product, multiply, multiply_all};
pub use scheme::Width;

use crate::quant::Scheme;
use scheme::Packed;

/// Returns the width of the activation blocks that a scheme's kernels take. `None` if the scheme has no kernels:
/// such weights are multiplied in f32.
pub fn activation_block(scheme: Scheme) -> Option<Width> {
    Packed::new(scheme).map(Packed::width)
}

#[cfg(test)]
mod tests;

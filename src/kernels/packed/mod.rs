//! Products in integers: activations of 8 or 16 bits, quantized once for all parts of a matrix, times weights in panels of 16
//! interleaved rows.
//!
//! | file | what |
//! |---|---|
//! | `scheme` | the schemes that have kernels |
//! | `rounding` | a block of activations as 8-bit integers |
//! | `activations` | rows of such blocks |
//! | `tile` | up to 16 of those rows, as kernels read them |
//! | `product` | the product with a whole [`Matrix`](crate::quant::Matrix): its parts and layouts, threads |
//! | `dispatch` | the kernels of a set |
//! | `portable` | the oracle |
//! | `unpacked` | what 256 columns of a panel are unpacked to |
//! | `x86` | one text for AVX2 (8 rows in a register), AVX-VNNI and AVX512-VNNI (16 rows) |
//! | `amx` | 16 rows of activations by a panel in one instruction |
//! | `neon` | 4 rows in a register |
//!
//! # The layout
//!
//! A panel is 16 rows. Block after block of columns, their 16 blocks are interleaved piece by piece in the standard block's
//! order: f16 numbers one at a time, all other bytes four at a time. So a piece of a panel is 64 bytes, a panel's block is 16
//! standard blocks, and no byte is added. Rows left over after the last full panel lie as they were; they are multiplied as
//! a panel with zeros.
//!
//! - One lane of `vpdpbusd`, `vpmaddubsw` + `vpmaddwd` or `sdot` adds up four bytes of one row. Lanes are rows: there are no
//!   horizontal sums, and a block's scales apply to 16 rows as one vector.
//! - Activations are a broadcast of four bytes: an operand in memory for AVX2 and AVX512, a lane of `sdot` for NEON.
//! - A panel's 16 rows are one register of AVX512, two of AVX2, four of NEON, and a row of an AMX tile.
//! - The 12 bytes of q4_k's and q5_k's 6-bit scales need no order of their own: their three words, side by side
//!   for all rows, unpack with masks and shifts in place.
//! - Blocks of a panel begin at multiples of 32 bytes, not 64 (q8_0: 544).
//!
//! Plain rows are interleaved 256 columns at a time into the first-level cache and multiplied there by the same kernels,
//! so that they have the same bits. Whole rows at a time into the second-level cache took a quarter longer, and interleaving
//! in registers, between the multiplications, a tenth.
//!
//! # The order of sums
//!
//! Every set gives the same bits. Sums of integers within a block of columns are exact in any order. What follows is f32, in
//! this order, every multiply-add fused:
//!
//! 1. with 16 bits, the sums of a row's two planes become one, `254 · first + second` (see `activations`);
//! 2. times the weights' scale; where they have minima, plus the minimum times the sum of the activations' integers;
//! 3. times the activations' scale, added to the row's sum: block after block from the first, which is added to zero.
//!
//! # Performance
//!
//! `cargo bench --bench packed` measures it; docs/performance.md has results. On a Sapphire Rapids, decode reads panels at 89 %
//! to 111 % of the rate at which the same buffer is summed, and AMX multiplies 128 rows at 402 to 694 GFLOP/s a thread.
//!
//! Decode is fast because weights are prefetched 4 KiB ahead into the second-level cache, which takes more requests at once than
//! the first (84 % to 99 % with q4_k and one thread), and 2 KiB ahead from there into the first (loads that touch two lines
//! ran at a quarter of the rate out of the second-level cache). With two threads that was 3 % (q8_0) and 7 % (q4_0) faster than 8
//! and 1 KiB, medians of 3 alternating runs. Requests must be even: q4_k unpacked 256 columns at a time had 75 % of the read rate,
//! a line at a time 90 % and more. AVX512 takes the blocks of two panels in turn: a 7B model's tokens came 5 % (q8_0, q4_0) and
//! 3 % (q4_k) faster, medians of 4 alternating runs, as plain sums with the same prefetches read 31.7 GB/s in one place and 35.0
//! in two.
//!
//! NEON's kernels were compared bit for bit with the portable ones in an emulator, and not timed on any machine.

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

/// The blocks of activations that a scheme's kernels take. `None` where there are no kernels: such weights are multiplied in
/// f32.
pub fn activation_block(scheme: Scheme) -> Option<Width> {
    Packed::new(scheme).map(Packed::width)
}

#[cfg(test)]
mod tests;

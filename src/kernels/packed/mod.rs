//! Products in integers: activations of 8 or 16 bits, quantized once for all parts of a matrix, times rows interleaved for the
//! processors' dot-product instructions.
//!
//! | file | what |
//! |---|---|
//! | `activations` | rows of f32 as blocks of 8-bit integers |
//! | `rounding` | one block of them |
//! | `scheme` | the schemes that have kernels |
//! | `product` | the product with a whole [`Matrix`](crate::quant::Matrix): its parts and layouts, threads |
//! | `portable` | the oracle |
//! | `span` | what 256 columns of a strip are unpacked to |
//! | `avx2` | eight rows a register |
//! | `avx512` | sixteen rows a register |
//! | `amx` | sixteen rows of activations by a strip in one instruction |
//! | `neon` | four rows a register |
//!
//! # The layout
//!
//! Sixteen rows are a strip. In a strip, block after block of columns, the sixteen blocks are interleaved piece by
//! piece in the standard block's order: f16 numbers one at a time, all other bytes four at a time. So a piece of
//! sixteen rows is 64 bytes, a strip's block is sixteen standard blocks, and no byte is added. Rows left over
//! after the last full strip lie as they were; they are multiplied as a strip with zeros.
//!
//! - Four bytes of each row is what one lane of `vpdpbusd`, `maddubs` + `madd` or `sdot` adds up. Lanes are rows: no
//!   horizontal sums, and a block's scales apply to sixteen rows as one vector.
//! - Activations are a broadcast of four bytes: an operand in memory for AVX2 and AVX512, a lane of `sdot` for NEON.
//! - Sixteen rows are an AVX512 register, two of AVX2, four of NEON, and a row of an AMX tile.
//! - The 12 bytes of q4_k's and q5_k's 6-bit scales need no order of their own: their three words, side by side
//!   for all rows, unpack with masks and shifts in place.
//! - Blocks of a strip begin at multiples of 32 bytes, not 64 (q8_0: 544).
//!
//! Plain rows are interleaved 256 columns at a time into the first-level cache and multiplied there by the same kernels,
//! so that they have the same bits. Whole rows at a time into the second-level cache took a quarter longer, and interleaving
//! in registers, between the multiplications, a tenth.
//!
//! # The order of sums
//!
//! Every set gives the same bits. Of a block of columns the sums of integers are exact, in whatever order. What follows is f32,
//! in this order, every multiply-add fused:
//!
//! 1. in 16 bits the sums of a row's two planes become one, `254 · first + second` (see `activations`);
//! 2. times the weights' scale; where they have minima, plus the minimum times the sum of the activations' integers;
//! 3. times the activations' scale, and added to the row's sum: block after block, from the first, which is added to zero.
//!
//! # Measured
//!
//! `cargo bench --bench packed`, 2 threads. Decode over 1.25 GiB of weights in percent of the rate at which the same
//! buffer is summed in the same repetition.
//!
//! On an Intel server core with AVX512-VNNI and AMX (Sapphire Rapids, 2.6 to 3.9 GHz, read 20 to 24 GB/s) that others used,
//! medians of 15. The buffer's sum suffers from others too, so shares are good to a few percent and can pass 100:
//!
//! | decode | strips | rows | f32 |
//! |---|---|---|---|
//! | q4_0 | 98 | 86 | 17 |
//! | q4_1 | 98 | 94 | 15 |
//! | q5_0 | 89 | 73 | 11 |
//! | q5_1 | 89 | 81 | 12 |
//! | q8_0 | 111 | 104 | 32 |
//! | q4_k | 98 | 84 | 17 |
//! | q5_k | 92 | 90 | 19 |
//! | q6_k | 93 | 89 | 19 |
//!
//! With `MIST_CPU=avx2` strips of q4_0, q8_0, q4_k and q6_k had 85, 91, 90 and 93, medians of 7, before AVX2 multiplied one
//! row as it unpacks.
//!
//! | several rows, GFLOP/s a thread, 1 / 4 / 8 / 16 / 128 / 512 rows | strips | rows |
//! |---|---|---|
//! | q4_0 | 68 / 197 / 274 / 345 / 471 / 430 | 48 / 135 / 203 / 229 / 403 / 367 |
//! | q4_1 | 74 / 229 / 303 / 328 / 430 / 393 | 48 / 148 / 211 / 223 / 390 / 359 |
//! | q5_0 | 66 / 193 / 266 / 347 / 469 / 400 | 35 / 110 / 178 / 208 / 399 / 338 |
//! | q5_1 | 45 / 152 / 228 / 272 / 402 / 365 | 32 / 101 / 169 / 184 / 349 / 342 |
//! | q8_0 | 47 / 176 / 309 / 332 / 464 / 387 | 34 / 109 / 190 / 201 / 410 / 327 |
//! | q4_k | 76 / 240 / 310 / 363 / 694 / 659 | 58 / 168 / 228 / 247 / 576 / 523 |
//! | q5_k | 48 / 154 / 277 / 339 / 652 / 671 | 39 / 122 / 191 / 221 / 553 / 534 |
//! | q6_k | 57 / 157 / 229 / 276 / 571 / 752 | 39 / 109 / 186 / 178 / 496 / 577 |
//!
//! 9 rows and more are those of AMX. One thread over 4096 columns by 768 rows, in the cache: AVX512 254 to 341 and AVX2 128 to
//! 222 with 128 rows. q4_k's 128 rows are of an earlier run: in this one, disturbed, strips had 447. f32 reaches 34 with 16 rows
//! at the least and 58 with 128 at the most.
//!
//! What limits AMX: alone, its instructions for a tile of a k-scheme's block would do 2600, those of blocks of 32 columns
//! 1780. They share their port with the stores of tiles, and half of the columns take as long as all. With sums of
//! registers added beside them they lose nothing; yet as it is the product takes as long as both one after the other. Why is
//! not known: neither asking for activations ahead nor adding a whole tile later changed it.
//!
//! What made decode fast: asking for weights 4 KiB ahead in the second-level cache, which takes more requests at once than
//! the first (84 to 99 % with q4_k strips and one thread), and 2 KiB ahead from there in the first (strips that do not
//! begin on lines were multiplied at a quarter of the rate out of the second-level cache). With two threads that was 3 %
//! (q8_0) and 7 % (q4_0) faster than 8 and 1 KiB, medians of 3 by turns. Asking evenly: unpacked 256 columns at a time, q4_k
//! had 75 % of read, and two strips side by side 84; a line at a time it has 90 and more. The eight registers of fifth bits
//! of a q5_k block, loaded at its start, cost a tenth. And a block of each of two strips in turn (AVX512): a 7B's tokens came
//! 5 % (q8_0, q4_0) and 3 % (q4_k) faster, medians of 4 by turns, as memory gives more where it is read in two places at once:
//! plain sums with the same prefetches 31.7 GB/s in one place and 35.0 in two.
//!
//! On a Zen 3 with AVX2 alone, shared and never quiet for long, an earlier version had 91 to 102 % with strips of q8_0, q4_k
//! and q4_0.
//!
//! NEON's were compared bit for bit with the portable ones in an emulator, and not timed on any machine.

mod activations;
#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod product;
mod rounding;
mod scheme;
#[cfg(target_arch = "x86_64")]
mod span;

pub use product::{Product, multiply, multiply_all};
pub use scheme::Width;

use crate::cpu::Level;
use crate::quant::{ROWS, Scheme};
use scheme::Packed;

/// The blocks of activations that a scheme's kernels take. `None` where there are no kernels: such weights are multiplied in
/// f32.
pub fn activation_block(scheme: Scheme) -> Option<Width> {
    Packed::new(scheme).map(Packed::width)
}

/// Strips that are best multiplied together: they share the loads of activations.
const STRIPS: usize = 2;

/// Columns that a kernel takes at a time: whole blocks of any width.
const SPAN: usize = 256;

const _: () = {
    assert!(SPAN.is_multiple_of(Width::Of32.columns()) && SPAN.is_multiple_of(Width::Of256.columns()));
};

/// Adds to `sums[s · rows + i][r]` the product of row i of the activations with row r of strip s.
///
/// All strips' bytes are whole blocks of the same columns, which begin with the row's block `first`; any number of
/// strips is allowed, and [`STRIPS`] at a time are best. `sums` are as many times the activations' rows.
fn multiply_strips(
    level: Level,
    scheme: Packed,
    strips: &[&[u8]],
    x: &activations::Activations,
    first: usize,
    sums: &mut [[f32; ROWS]],
) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a level is only where the processor was found to have what it names.
    #[allow(unsafe_code)]
    unsafe {
        match level {
            Level::Amx => return amx::strips(scheme, strips, x, first, sums),
            Level::Avx512 => return avx512::strips(scheme, strips, x, first, sums),
            Level::Avx2 => return avx2::strips(scheme, strips, x, first, sums),
            Level::Portable => {}
        }
    }
    #[cfg(target_arch = "aarch64")]
    if level == Level::Neon {
        // SAFETY: a level is only where the processor was found to have what it names.
        #[allow(unsafe_code)]
        return unsafe { neon::strips(scheme, strips, x, first, sums) };
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = level;
    for (strip, sums) in strips.iter().zip(sums.chunks_mut(x.rows().max(1))) {
        portable::strip(scheme, strip, ROWS, x, first, sums);
    }
}

#[cfg(test)]
mod tests;

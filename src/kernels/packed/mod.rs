//! Products in integers over packed weights: 8-bit activations, quantized once, times rows interleaved for the
//! processors' dot-product instructions. Not in use by [`Matrix`](super::Matrix)'s products yet.
//!
//! | file | what |
//! |---|---|
//! | `activations` | rows of f32 as blocks of 8-bit integers |
//! | `portable` | the oracle, and the rows that fill no strip |
//! | `avx2` | eight rows a register |
//! | `avx512` | sixteen rows a register |
//!
//! # The layout
//!
//! Sixteen rows are a strip. In a strip, block after block of columns, the sixteen blocks are interleaved piece by
//! piece in the standard block's order: f16 numbers one at a time, all other bytes four at a time. So a piece of
//! sixteen rows is 64 bytes, a strip's block is sixteen standard blocks, and no byte is added. Rows left over
//! after the last full strip lie as they were: a strip of one row is the plain row.
//!
//! - Four bytes of each row is what one lane of `vpdpbusd`, `maddubs` + `madd` or `sdot` adds up. Lanes are rows: no
//!   horizontal sums, and a block's scales apply to sixteen rows as one vector.
//! - Activations are a broadcast of four bytes: an operand in memory for AVX2 and AVX512, a lane of `sdot` for NEON.
//! - Sixteen rows are an AVX512 register, two of AVX2, four of NEON, and a row of an AMX tile.
//! - The 12 bytes of q4_k's and q5_k's 6-bit scales need no order of their own: their three words, side by side
//!   for all rows, unpack with masks and shifts in place.
//! - Blocks of a strip begin at multiples of 32 bytes, not 64 (q8_0: 544). AVX2 then never crosses a line.
//!
//! # Measured
//!
//! `cargo bench --bench packed`, 2 threads. Decode over 1.25 GiB of weights in percent of the rate at which the same
//! buffer is summed in the same repetition; shares beyond 100 % say that the kernel asks for memory further ahead than
//! the sum does. "Plain" is the same arithmetic over standard rows, with AVX2.
//!
//! On an Intel core with AVX512-VNNI (2.6 GHz, read 20.6 GB/s), a quiet machine, medians of 15:
//!
//! | decode | AVX512 packed | AVX2 packed | AVX2 plain | f32 |
//! |---|---|---|---|---|
//! | q8_0 | 119 | 104 | 115 | 36 |
//! | q4_k | 101 | 96 | 105 | 21 |
//! | q4_0 | 100 | 99 | 91 | 22 |
//!
//! | prompt, GFLOP/s a thread, 16 / 128 / 512 rows | AVX512 packed | AVX2 packed, 128 rows | f32 |
//! |---|---|---|---|
//! | q8_0 | 270 / 297 / 278 | 130 | 50 / 63 / 60 |
//! | q4_k | 341 / 354 / 295 | 235 | 50 / 67 / 61 |
//! | q4_0 | 292 / 309 / 284 | 194 | 53 / 65 / 60 |
//!
//! On a Zen 3 with AVX2 alone, shared and never quiet for long, ranges over several runs: q8_0 91 to 98, q4_k 91 to 102,
//! q4_0 96 to 116 packed; 90 to 105, 76 to 90, 68 to 74 plain. A prefetch of 8 KiB ahead is worth more than the layout:
//! without it q4_k had 66 to 68 % packed and 51 to 56 % plain. Strips of eight rows had a few points more there than
//! sixteen.
//!
//! So plain rows decode as fast where the memory is the limit; what decides for strips is q4_0, and prompts, where plain
//! rows pay for scales and horizontal sums row by row. Sixteen rows are one AVX512 register, and as many lanes as an AMX
//! tile has rows.

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
mod product;

pub use product::multiply;

use super::Scheme;
use super::cpu::Level;
use super::layout::ROWS;

/// The block of activations that a scheme's kernels take: 32 or 256. `None` where there are no kernels: such weights
/// are multiplied in f32.
pub fn activation_block(scheme: Scheme) -> Option<usize> {
    match scheme {
        Scheme::Q4_0 | Scheme::Q4_1 | Scheme::Q5_0 | Scheme::Q5_1 | Scheme::Q8_0 => Some(32),
        Scheme::Q4K | Scheme::Q5K | Scheme::Q6K => Some(256),
        _ => None,
    }
}

/// Adds to `sums[i][r]` the product of the tile's row i with row r of a strip, or of some of its blocks.
fn multiply_strip<const M: usize>(
    level: Level,
    scheme: Scheme,
    strip: &[u8],
    x: activations::Tile,
    sums: &mut [[f32; ROWS]; M],
) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a level is only where the processor was found to have what it names.
    #[allow(unsafe_code)]
    unsafe {
        match level {
            Level::Avx512 => return avx512::strip(scheme, strip, x, sums),
            Level::Avx2 => return avx2::strip(scheme, strip, x, sums),
            Level::Portable => {}
        }
    }
    portable::strip(scheme, strip, ROWS, x, sums);
}

#[cfg(test)]
mod tests;

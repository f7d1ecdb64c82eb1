//! Products in integers: 8-bit activations, quantized once for all parts of a matrix, times rows interleaved for the
//! processors' dot-product instructions.
//!
//! | file | what |
//! |---|---|
//! | `activations` | rows of f32 as blocks of 8-bit integers |
//! | `product` | the product with a whole [`Matrix`](super::Matrix): its parts and layouts, threads |
//! | `portable` | the oracle |
//! | `avx2` | eight rows a register |
//! | `avx512` | sixteen rows a register |
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
//! # Measured
//!
//! `cargo bench --bench packed`, 2 threads. Decode over 1.25 GiB of weights in percent of the rate at which the same
//! buffer is summed in the same repetition.
//!
//! On an Intel server core with AVX512-VNNI (Sapphire Rapids, 2.6 GHz, read 24 to 25 GB/s) that others used a little,
//! medians of 15; AVX2 is the same machine with `MIST_CPU=avx2`:
//!
//! | decode | AVX512 strips | AVX512 rows | AVX2 strips | AVX2 rows | f32 |
//! |---|---|---|---|---|---|
//! | q4_0 | 92 | 82 | 85 | 77 | 17 |
//! | q4_1 | 89 | 83 | 86 | 81 | 14 |
//! | q5_0 | 86 | 78 | 78 | 69 | 12 |
//! | q5_1 | 86 | 79 | 76 | 69 | 12 |
//! | q8_0 | 96 | 93 | 94 | 92 | 26 |
//! | q4_k | 92 | 85 | 86 | 79 | 15 |
//! | q5_k | 87 | 83 | 77 | 70 | 16 |
//! | q6_k | 84 | 87 | 80 | 77 | 20 |
//!
//! | several rows, GFLOP/s a thread, 1 / 4 / 8 / 16 / 128 / 512 rows | AVX512 strips | AVX512 rows | AVX2 strips, 128 rows |
//! |---|---|---|---|
//! | q4_0 | 74 / 173 / 219 / 268 / 270 / 268 | 48 / 124 / 180 / 227 / 278 / 250 | 169 |
//! | q4_1 | 61 / 163 / 209 / 243 / 271 / 247 | 45 / 126 / 170 / 221 / 267 / 235 | 160 |
//! | q5_0 | 51 / 145 / 204 / 253 / 277 / 252 | 34 / 106 / 161 / 211 / 270 / 239 | 161 |
//! | q5_1 | 46 / 134 / 182 / 224 / 234 / 226 | 33 / 94 / 141 / 191 / 227 / 217 | 154 |
//! | q8_0 | 37 / 137 / 205 / 251 / 273 / 252 | 32 / 105 / 149 / 204 / 264 / 251 | 124 |
//! | q4_k | 68 / 177 / 237 / 286 / 288 / 237 | 55 / 142 / 198 / 251 / 274 / 232 | 172 |
//! | q5_k | 54 / 153 / 215 / 260 / 290 / 232 | 44 / 123 / 185 / 235 / 281 / 228 | 171 |
//! | q6_k | 43 / 122 / 178 / 210 / 238 / 195 | 32 / 99 / 149 / 200 / 235 / 194 | 162 |
//!
//! f32 reaches 33 to 47 with 16 rows and 51 to 60 with 128. Four rows take 1.1 to 1.7 times as long as one, eight 1.4 to
//! 2.7 times.
//!
//! What made decode fast: asking for weights 8 KiB ahead in the second-level cache, which takes more requests at once than
//! the first (84 to 99 % with q4_k strips and one thread), and 1 KiB ahead from there in the first (strips that do not
//! begin on lines were multiplied at a quarter of the rate out of the second-level cache). From the caches a thread
//! multiplies strips at 28 to 40 GB/s, rows at 16 to 22.
//!
//! On a Zen 3 with AVX2 alone, shared and never quiet for long, an earlier version had 91 to 102 % with strips of q8_0, q4_k
//! and q4_0.

mod activations;
#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
mod product;
#[cfg(target_arch = "x86_64")]
mod span;

pub use product::{Product, multiply, multiply_all};

use super::Scheme;
use super::cpu::Level;
use super::layout::ROWS;

/// How far ahead of its loads a kernel asks for weights, in bytes: for the second-level cache, which takes more requests at
/// once than the first, and from there for the first, where a load of two lines would otherwise wait for both.
#[cfg(target_arch = "x86_64")]
const AHEAD: [usize; 2] = [8192, 1024];

/// The block of activations that a scheme's kernels take: 32 or 256. `None` where there are no kernels: such weights
/// are multiplied in f32.
pub fn activation_block(scheme: Scheme) -> Option<usize> {
    match scheme {
        Scheme::Q4_0 | Scheme::Q4_1 | Scheme::Q5_0 | Scheme::Q5_1 | Scheme::Q8_0 => Some(32),
        Scheme::Q4K | Scheme::Q5K | Scheme::Q6K => Some(256),
        _ => None,
    }
}

/// Strips that are best multiplied together: they share the loads of activations.
const STRIPS: usize = 2;

/// Columns that a kernel takes at a time.
#[cfg(target_arch = "x86_64")]
const SPAN: usize = 256;

/// Adds to `sums[s · rows + i][r]` the product of row i of the activations with row r of strip s.
///
/// All strips' bytes are whole blocks of the same columns, which begin with the row's block `first`; any number of
/// strips is allowed, and [`STRIPS`] at a time are best. `sums` are as many times the activations' rows.
fn multiply_strips(
    level: Level,
    scheme: Scheme,
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
    #[cfg(not(target_arch = "x86_64"))]
    let _ = level;
    for (strip, sums) in strips.iter().zip(sums.chunks_mut(x.rows().max(1))) {
        portable::strip(scheme, strip, ROWS, x, first, sums);
    }
}

#[cfg(test)]
mod tests;

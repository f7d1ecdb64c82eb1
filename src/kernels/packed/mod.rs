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

pub use activations::Activations;

use activations::TILE;

use rayon::prelude::*;

use super::Scheme;
use super::cpu::{self, Level};
use super::layout::ROWS;
use super::matmul::Columns;

/// A weight matrix as strips, as [`pack`](super::layout::pack) makes it.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    scheme: Scheme,
    rows: usize,
    columns: usize,
    bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    /// A matrix of `rows` by `columns` over packed bytes.
    ///
    /// `None` if the scheme has no packed kernel, or the bytes are not those of the shape.
    pub fn new(scheme: Scheme, rows: usize, columns: usize, bytes: &'a [u8]) -> Option<Self> {
        activation_block(scheme)?;
        let fits = scheme.row_bytes(columns)?.checked_mul(rows)? == bytes.len();
        fits.then_some(Self { scheme, rows, columns, bytes })
    }
}

/// The block of activations that a scheme's kernels take: 32 or 256. `None` where there are no kernels yet.
pub fn activation_block(scheme: Scheme) -> Option<usize> {
    match scheme {
        Scheme::Q4_0 | Scheme::Q8_0 => Some(32),
        Scheme::Q4K => Some(256),
        _ => None,
    }
}

/// `out (m, n) = x (m, k) · wᵀ (k, n)`, where `w` has n rows and k columns.
///
/// The activations are in the scheme's [`activation_block`]s and as wide as the matrix, and `out` holds m · n
/// values: the caller's promise, without which nothing is computed. Threads are those of rayon's pool.
pub fn multiply(x: &Activations, w: &Packed, out: &mut [f32]) {
    multiply_with(cpu::level(), x, w, out);
}

/// The same with one of the processor's [`available`](Level::available) sets.
fn multiply_with(level: Level, x: &Activations, w: &Packed, out: &mut [f32]) {
    let (m, n) = (x.rows(), w.rows);
    let promised =
        x.columns() == w.columns && Some(x.block()) == activation_block(w.scheme) && out.len() == m * n;
    if !promised || m == 0 || n == 0 {
        return;
    }
    let row_bytes = w.bytes.len() / n;
    let columns = Columns { out: out.as_mut_ptr(), n };
    // Full strips, then the rows left over, each a strip of one.
    let full = n / ROWS;
    (0..full + n % ROWS).into_par_iter().for_each(|i| {
        let (first, rows) = if i < full { (i * ROWS, ROWS) } else { (full * ROWS + i - full, 1) };
        let strip = &w.bytes[first * row_bytes..][..rows * row_bytes];
        for row in (0..m).step_by(TILE) {
            let tile = x.tile(row);
            let mut sums = [[0.0; ROWS]; TILE];
            match sums.first_chunk_mut::<1>() {
                Some(sums) if tile.rows == 1 => multiply_strip(level, w.scheme, strip, rows, tile, sums),
                _ => multiply_strip(level, w.scheme, strip, rows, tile, &mut sums),
            }
            for (i, sums) in sums.iter().take(tile.rows).enumerate() {
                for (r, sum) in sums.iter().take(rows).enumerate() {
                    // SAFETY: row + i < m and first + r < n, so the element is within `out`; strips share no
                    // column, and each (row, column) of a strip is written once.
                    #[allow(unsafe_code)]
                    unsafe {
                        columns.write(row + i, first + r, *sum);
                    }
                }
            }
        }
    });
}

fn multiply_strip<const M: usize>(
    level: Level,
    scheme: Scheme,
    strip: &[u8],
    rows: usize,
    x: activations::Tile,
    sums: &mut [[f32; ROWS]; M],
) {
    #[cfg(target_arch = "x86_64")]
    if rows == ROWS {
        // SAFETY: a level is only where the processor was found to have what it names.
        #[allow(unsafe_code)]
        unsafe {
            return match (level, scheme) {
                (Level::Avx512, Scheme::Q4_0) => avx512::q4_0(strip, x, sums),
                (Level::Avx512, Scheme::Q8_0) => avx512::q8_0(strip, x, sums),
                (Level::Avx512, _) => avx512::q4_k(strip, x, sums),
                (Level::Avx2, Scheme::Q4_0) => avx2::q4_0(strip, x, sums),
                (Level::Avx2, Scheme::Q8_0) => avx2::q8_0(strip, x, sums),
                (Level::Avx2, _) => avx2::q4_k(strip, x, sums),
                (Level::Portable, _) => portable::strip(scheme, strip, rows, x, sums),
            };
        }
    }
    portable::strip(scheme, strip, rows, x, sums);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Matrix, layout::pack, matmul::matmul};
    use rand::{Rng, SeedableRng};

    const SCHEMES: [Scheme; 3] = [Scheme::Q4_0, Scheme::Q8_0, Scheme::Q4K];

    /// Rows of activations, rows and columns of weights: below, at and beyond a strip and a tile.
    const SIZES: [(usize, usize, usize); 6] =
        [(1, 1, 256), (1, 16, 512), (2, 15, 256), (3, 33, 1024), (31, 50, 256), (70, 47, 768)];

    struct Case {
        scheme: Scheme,
        m: usize,
        n: usize,
        k: usize,
        x: Vec<f32>,
        plain: Vec<u8>,
    }

    /// Every case, with random bytes as blocks: any are valid whose f16 numbers are.
    fn cases() -> impl Iterator<Item = Case> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(9);
        let sizes = SCHEMES.into_iter().flat_map(|s| SIZES.map(|size| (s, size)));
        sizes.map(move |(scheme, (m, n, k))| {
            let x = (0..m * k).map(|_| rng.random_range(-1.0..1.0)).collect();
            let mut plain: Vec<u8> = (0..scheme.row_bytes(k).unwrap() * n).map(|_| rng.random()).collect();
            for block in plain.chunks_exact_mut(scheme.block_bytes()) {
                for scale in block[..if scheme == Scheme::Q4K { 4 } else { 2 }].chunks_exact_mut(2) {
                    scale.copy_from_slice(&half::f16::from_f32(rng.random_range(-0.01..0.01)).to_le_bytes());
                }
            }
            Case { scheme, m, n, k, x, plain }
        })
    }

    impl Case {
        fn activations(&self) -> Activations {
            let mut x = Activations::default();
            x.fill(&self.x, self.k, activation_block(self.scheme).unwrap());
            x
        }

        /// The product, which is the same bit for bit on every set that this processor runs.
        fn product(&self) -> Vec<f32> {
            let bytes = pack(self.scheme, self.n, self.k, &self.plain).unwrap();
            let (x, w) = (self.activations(), Packed::new(self.scheme, self.n, self.k, &bytes).unwrap());
            let mut products = Level::available().map(|level| {
                let mut out = vec![f32::NAN; self.m * self.n];
                multiply_with(level, &x, &w, &mut out);
                out
            });
            let first = products.next().unwrap();
            let bits = |product: &[f32]| product.iter().map(|y| y.to_bits()).collect::<Vec<_>>();
            assert!(products.all(|other| bits(&other) == bits(&first)), "{}", self.scheme);
            first
        }
    }

    #[test]
    fn is_the_portable_product_of_the_plain_rows_bit_for_bit() {
        for case in cases() {
            let (x, row_bytes) = (case.activations(), case.plain.len() / case.n);
            let out = case.product();
            for first in (0..case.m).step_by(TILE) {
                for (column, plain) in case.plain.chunks_exact(row_bytes).enumerate() {
                    let mut sums = [[0.0; ROWS]; TILE];
                    portable::strip(case.scheme, plain, 1, x.tile(first), &mut sums);
                    for (row, sums) in (first..case.m).zip(sums) {
                        let y = out[row * case.n + column];
                        assert_eq!(sums[0].to_bits(), y.to_bits(), "{}", case.scheme);
                    }
                }
            }
        }
    }

    #[test]
    fn the_portable_strip_is_the_portable_rows_bit_for_bit() {
        for case in cases().filter(|c| c.n >= ROWS) {
            let (x, row_bytes) = (case.activations(), case.plain.len() / case.n);
            let plain = &case.plain[..ROWS * row_bytes];
            let packed = pack(case.scheme, ROWS, case.k, plain).unwrap();
            let tile = x.tile(0);
            let (mut together, mut alone) = ([[0.0; ROWS]; TILE], [[0.0; ROWS]; TILE]);
            portable::strip(case.scheme, &packed, ROWS, tile, &mut together);
            for (r, plain) in plain.chunks_exact(row_bytes).enumerate() {
                let mut sums = [[0.0; ROWS]; TILE];
                portable::strip(case.scheme, plain, 1, tile, &mut sums);
                alone.iter_mut().zip(sums).for_each(|(alone, sums)| alone[r] = sums[0]);
            }
            assert_eq!(together, alone, "{}", case.scheme);
        }
    }

    /// The twin in f32 has the same weights, so they differ by the activations' rounding: each is off by at most
    /// half a step, the largest of its block / 254.
    #[test]
    fn is_the_f32_product_within_the_rounding_of_the_activations() {
        for case in cases() {
            let w = Matrix::new(case.scheme, case.n, case.k, case.plain.clone().into()).unwrap();
            let (out, weights) = (case.product(), w.to_f32());
            let mut exact = vec![0.0; case.m * case.n];
            matmul(&case.x, &w, &mut exact);
            for (i, (y, exact)) in out.iter().zip(&exact).enumerate() {
                let weights = &weights[i % case.n * case.k..][..case.k];
                let bound: f32 = weights.iter().map(|w| w.abs() / 254.0).sum();
                assert!((y - exact).abs() <= bound * 1.001, "{} {y} {exact} {bound}", case.scheme);
            }
        }
    }

    #[test]
    fn a_row_is_the_same_bit_for_bit_alone_and_among_others() {
        for case in cases() {
            let together = case.product();
            for row in 0..case.m {
                let x = case.x[row * case.k..][..case.k].to_vec();
                let alone = Case { m: 1, x, plain: case.plain.clone(), ..case }.product();
                assert_eq!(alone, together[row * case.n..][..case.n]);
            }
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        for case in cases() {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| case.product())
            };
            assert_eq!(run(1), run(3));
        }
    }

    /// The largest magnitudes that a file can hold: no 16-bit sum may overflow.
    #[test]
    fn extreme_weights_do_not_overflow() {
        for scheme in SCHEMES {
            let (n, k) = (ROWS, 256);
            for byte in [0x80, 0xff] {
                let mut plain = vec![byte; scheme.row_bytes(k).unwrap() * n];
                for block in plain.chunks_exact_mut(scheme.block_bytes()) {
                    block[..2].copy_from_slice(&[0, 0x3c]);
                    if scheme == Scheme::Q4K {
                        block[2..4].fill(0);
                    }
                }
                let w = Matrix::new(scheme, n, k, plain.clone().into()).unwrap();
                for x in [1.0, -1.0] {
                    let case = Case { scheme, m: 1, n, k, x: vec![x; k], plain: plain.clone() };
                    let mut exact = vec![0.0; n];
                    matmul(&case.x, &w, &mut exact);
                    for (y, exact) in case.product().iter().zip(&exact) {
                        assert!((y - exact).abs() <= exact.abs() * 1e-5, "{scheme} {byte} {y} {exact}");
                    }
                }
            }
        }
    }
}

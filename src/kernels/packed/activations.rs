//! Activations as integers of 8 or 16 bits, quantized once for all parts of a matrix.

use std::ops::Range;

use super::rounding::{self, STEPS};
use super::scheme::Width;
use crate::cpu::{Level, pool};
use crate::quant::ActivationBits;

/// Rows of quants that lie side by side: as many as an AMX tile has.
pub const TILE: usize = 16;

/// Minimum number of values for which it is worth using a second thread: several microseconds of work.
const PIECE: usize = 1 << 15;

/// Rows of activations `(M, K)` as blocks of signed bytes with one f32 scale each: x ≈ q · scale, |q| <= 127.
///
/// With 16 bits, a row has two planes, stored as two consecutive rows of bytes. The first plane holds the quants of
/// the row. The second holds the quants of the remainder, x - q · scale, in steps that are 254 times finer. So x ≈
/// (254 · first + second) · scale, where the scale is that of the second plane. A kernel multiplies both planes
/// like any two rows in integers and combines their sums first: see [`STEPS`].
///
/// Blocks of 32 are ggml's `q8_0`, with the scale in f32 instead of f16. Blocks of 256 are its `q8_k`, but with |q|
/// <= 127, so that no pair of products overflows 16 bits. Blocks lie in the order in which kernels read them: by
/// tile of 16 rows, within a tile by block of columns, within a block by row. So 256 columns of a tile are 4 KiB of
/// contiguous memory. Both broadcasts and AMX tiles of 16 rows by 64 columns can read them, and no two rows share a
/// cache set, as rows 4096 bytes apart would.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    /// Number of rows of quants.
    pub(super) rows: usize,
    /// Rows of quants per row of activations; divides [`TILE`].
    planes: usize,
    /// Columns per block.
    pub(super) block: usize,
    /// Blocks per row.
    pub(super) blocks: usize,
    /// The quants, 64 to a cache line, followed by [`PADDING`] initialized lines: kernels that read a whole tile
    /// read past the last row.
    pub(super) quants: Vec<Line>,
    pub(super) scales: Vec<f32>,
    /// Negated sums of the quants, for blocks of 32.
    pub(super) bsums: Vec<i32>,
    /// `bsums` in f32. The entry of a second plane holds the combined sum of both planes.
    pub(super) bsums_f32: Vec<f32>,
    /// Sums of the quants, for blocks of 256.
    pub(super) sums: Sums,
}

/// A cache line of quants.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Line([i8; 64]);

/// Cache lines after the last row: 256 columns of a tile.
const PADDING: usize = TILE * 256 / 64;

/// Sums over a row's block of 256 columns, one entry per block: see [`rounding::Sums`].
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub(super) bsums32: Vec<[i32; 4]>,
    pub(super) bsums16: Vec<[i32; 8]>,
    pub(super) bsums8: Vec<[i32; 32]>,
}

impl Activations {
    /// Quantizes rows of `columns` values in blocks of the given width, and replaces the previous content.
    ///
    /// A row's result does not depend on the other rows. Columns after the last whole block and values after the
    /// last whole row are ignored. A block with a value that is not finite gets a scale that is not finite, so the
    /// result is not finite either.
    pub fn fill(&mut self, level: Level, x: &[f32], columns: usize, width: Width, bits: ActivationBits) {
        let filling = self.prepare(level, x, columns, width, bits.planes());
        let units = filling.units();
        let pieces = (x.len() / PIECE).min(units);
        if pieces <= 1 {
            // SAFETY: this thread fills every unit once.
            #[allow(unsafe_code)]
            return unsafe { filling.fill(0..units) };
        }
        pool::run(pieces, |i| {
            // SAFETY: the ranges are disjoint.
            #[allow(unsafe_code)]
            unsafe {
                filling.fill(units * i / pieces..units * (i + 1) / pieces);
            }
        });
    }

    /// Makes room for the rows. [`Filling::fill`], on any threads, has to quantize them before they are read.
    fn prepare<'a>(
        &'a mut self,
        level: Level,
        x: &'a [f32],
        columns: usize,
        width: Width,
        planes: usize,
    ) -> Filling<'a> {
        let rows = planes * x.len().checked_div(columns).unwrap_or(0);
        let block = width.columns();
        let blocks = columns / block;
        (self.rows, self.planes, self.block, self.blocks) = (rows, planes, block, blocks);
        let count = rows * blocks;
        self.quants.resize((count * block).div_ceil(64) + PADDING, Line([0; 64]));
        // Kernels also read the scales of a whole tile past the last row.
        self.scales.resize(count + TILE, 0.0);
        let (bsums, sums) = match width {
            Width::Block32 => (count + TILE, 0),
            Width::Block256 => (0, count + TILE),
        };
        self.bsums.resize(bsums, 0);
        self.bsums_f32.resize(bsums, 0.0);
        self.sums.bsums32.resize(sums, [0; 4]);
        self.sums.bsums16.resize(sums, [0; 8]);
        self.sums.bsums8.resize(sums, [0; 32]);
        Filling {
            level,
            x,
            columns,
            rows,
            planes,
            width,
            blocks,
            quants: self.quants.as_mut_ptr().cast(),
            scales: self.scales.as_mut_ptr(),
            bsums: self.bsums.as_mut_ptr(),
            bsums_f32: self.bsums_f32.as_mut_ptr(),
            bsums32: self.sums.bsums32.as_mut_ptr(),
            bsums16: self.sums.bsums16.as_mut_ptr(),
            bsums8: self.sums.bsums8.as_mut_ptr(),
            all: std::marker::PhantomData,
        }
    }

    /// Returns the number of rows of activations.
    pub fn rows(&self) -> usize {
        self.rows_of(self.rows)
    }

    /// Converts a number of rows of quants to rows of activations. It avoids a division because kernels are called
    /// for few columns at a time.
    pub fn rows_of(&self, quants: usize) -> usize {
        if self.planes == 2 { quants / 2 } else { quants }
    }

    /// Returns the number of rows of quants.
    #[cfg(any(test, target_arch = "x86_64"))]
    pub fn quant_rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of rows of quants per row of activations: one or two.
    pub fn planes(&self) -> usize {
        self.planes
    }
}

/// Activations while they are quantized, in units: a unit is the rows of a tile in one block of columns.
struct Filling<'a> {
    level: Level,
    x: &'a [f32],
    columns: usize,
    /// Number of rows of quants.
    rows: usize,
    /// Rows of quants per row of activations; divides [`TILE`].
    planes: usize,
    width: Width,
    blocks: usize,
    quants: *mut i8,
    scales: *mut f32,
    bsums: *mut i32,
    bsums_f32: *mut f32,
    bsums32: *mut [i32; 4],
    bsums16: *mut [i32; 8],
    bsums8: *mut [i32; 32],
    all: std::marker::PhantomData<&'a mut Activations>,
}

// SAFETY: the pointers point into what `all` borrows, and threads fill different units, as `fill` requires.
#[allow(unsafe_code)]
unsafe impl Sync for Filling<'_> {}

impl Filling<'_> {
    fn units(&self) -> usize {
        self.rows.div_ceil(TILE) * self.blocks
    }

    /// Quantizes some units.
    ///
    /// # Safety
    /// The units are below [`units`](Self::units), and no other thread fills any of them.
    #[allow(unsafe_code)]
    unsafe fn fill(&self, units: Range<usize>) {
        let block = self.width.columns();
        for unit in units {
            let (first, b) = (unit / self.blocks * TILE, unit % self.blocks);
            let rows = TILE.min(self.rows - first);
            for row in (0..rows).step_by(self.planes) {
                let at = first * self.blocks + b * rows + row;
                let x = &self.x[(first + row) / self.planes * self.columns + b * block..][..block];
                // SAFETY: at < rows · blocks, the length of each array, and so is the index of the next plane; both
                // belong to one unit, which only this thread fills.
                unsafe {
                    match self.width {
                        Width::Block32 => self.fill_32(&x.as_chunks().0[0], at),
                        Width::Block256 => self.fill_256(&x.as_chunks().0[0], at),
                    }
                }
            }
        }
    }

    /// Quantizes a block of 32 columns: block `at` in the order of storage, and the block of the second plane after
    /// it.
    ///
    /// # Safety
    /// `at + planes <= rows · blocks`, and no other thread accesses these blocks.
    #[allow(unsafe_code)]
    unsafe fn fill_32(&self, x: &[f32; 32], at: usize) {
        // SAFETY: each array has `rows · blocks` entries; the caller guarantees that only this thread accesses
        // these.
        let (quants, scales, bsums, bsums_f32) = unsafe {
            (
                std::slice::from_raw_parts_mut(self.quants.add(at * 32).cast::<[i8; 32]>(), self.planes),
                std::slice::from_raw_parts_mut(self.scales.add(at), self.planes),
                std::slice::from_raw_parts_mut(self.bsums.add(at), self.planes),
                std::slice::from_raw_parts_mut(self.bsums_f32.add(at), self.planes),
            )
        };
        rounding::block32(self.level, x, quants, scales, bsums);
        bsums_f32[0] = bsums[0] as f32;
        if let [first, second] = bsums {
            // Exact in f32: neither sum reaches 2^13.
            bsums_f32[1] = (STEPS * *first + *second) as f32;
        }
    }

    /// Quantizes a block of 256 columns, like [`fill_32`](Self::fill_32).
    ///
    /// # Safety
    /// `at + planes <= rows · blocks`, and no other thread accesses these blocks.
    #[allow(unsafe_code)]
    unsafe fn fill_256(&self, x: &[f32; 256], at: usize) {
        // SAFETY: as above.
        let (quants, scales, sums) = unsafe {
            let sums = rounding::Sums {
                bsums32: std::slice::from_raw_parts_mut(self.bsums32.add(at), self.planes),
                bsums16: std::slice::from_raw_parts_mut(self.bsums16.add(at), self.planes),
                bsums8: std::slice::from_raw_parts_mut(self.bsums8.add(at), self.planes),
            };
            (
                std::slice::from_raw_parts_mut(self.quants.add(at * 256).cast::<[i8; 256]>(), self.planes),
                std::slice::from_raw_parts_mut(self.scales.add(at), self.planes),
                sums,
            )
        };
        rounding::block256(self.level, x, quants, scales, sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu;

    /// Returns all quants, with the padding.
    fn quants(a: &Activations) -> Vec<i8> {
        a.quants.iter().flat_map(|line| line.0).collect()
    }

    fn quantized(x: &[f32], columns: usize, width: Width, bits: ActivationBits) -> Activations {
        let mut out = Activations::default();
        out.fill(cpu::level(), x, columns, width, bits);
        out
    }

    #[test]
    fn values_are_the_nearest_multiples_of_the_scale() {
        let x: Vec<f32> = (0..512).map(|i| ((i * 7919 % 1009) as f32 - 500.0) / 37.0).collect();
        for width in Width::ALL {
            let (a, block) = (quantized(&x, 256, width, ActivationBits::Eight), width.columns());
            let quants = quants(&a);
            assert_eq!((a.rows(), a.blocks), (2, 256 / block));
            for (i, x) in x.iter().enumerate() {
                let (row, b, within) = (i / 256, i % 256 / block, i % block);
                let at = b * 2 + row;
                let y = f32::from(quants[at * block + within]) * a.scales[at];
                assert!((x - y).abs() <= a.scales[at] * 0.5001, "{x} {y}");
            }
            let sum = |q: &[i8]| q.iter().map(|q| i32::from(*q)).sum::<i32>();
            for (bsums, q) in a.bsums.iter().zip(quants.chunks(32)) {
                assert_eq!(*bsums, -sum(q));
            }
            for (sums, q) in a.sums.bsums8.iter().zip(quants.chunks(256)) {
                for (bsums, q) in sums.iter().zip(q.chunks(8)) {
                    assert_eq!(*bsums, -32 * sum(q));
                }
            }
            let two = |pair: &i32| [*pair << 16 >> 16, *pair >> 16];
            for (pair, q) in a.sums.bsums16.as_flattened().iter().zip(quants.chunks(32)) {
                assert_eq!(two(pair), [&q[..16], &q[16..]].map(sum));
            }
            for (pair, q) in a.sums.bsums32.as_flattened().iter().zip(quants.chunks(64)) {
                assert_eq!(two(pair), [&q[..32], &q[32..]].map(sum));
            }
        }
    }

    /// The rows fill more than one tile, so that planes in the second tile are tested too.
    #[test]
    fn in_16_bits_two_planes_are_a_row_to_a_part_in_64000_of_the_largest() {
        let x: Vec<f32> = (0..11 * 256).map(|i| ((i * 7919 % 1009) as f32 - 500.0) / 37.0).collect();
        for width in Width::ALL {
            let (a, block) = (quantized(&x, 256, width, ActivationBits::Sixteen), width.columns());
            let quants = quants(&a);
            assert_eq!((a.rows(), a.quant_rows(), a.blocks), (11, 22, 256 / block));
            for (i, x) in x.iter().enumerate() {
                let (row, b, within) = (2 * (i / 256), i % 256 / block, i % block);
                let (first, rows) = (row / TILE * TILE, TILE.min(22 - row / TILE * TILE));
                let at = first * a.blocks + b * rows + row - first;
                let plane = |at: usize| f64::from(quants[at * block + within]) * f64::from(a.scales[at]);
                let error = (f64::from(*x) - plane(at) - plane(at + 1)).abs();
                assert!(error <= f64::from(a.scales[at]) / 508.0 * 1.001, "{x} {error}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_so_and_what_is_tiny_becomes_zero() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0; 32];
            x[7] = bad;
            for bits in [ActivationBits::Eight, ActivationBits::Sixteen] {
                let a = quantized(&x, 32, Width::Block32, bits);
                let scales = &a.scales[..bits.planes()];
                assert!(scales.iter().all(|scale| !scale.is_finite()) && quants(&a)[..32] == [0; 32]);
            }
        }
        let a = quantized(&[1e-40; 32], 32, Width::Block32, ActivationBits::Eight);
        assert_eq!(quants(&a)[..32], [0; 32]);
    }
}

//! Activations as integers of 8 or 16 bits, quantized once for all parts of a matrix.

use std::ops::Range;

use super::rounding::{self, STEPS};
use super::scheme::Width;
#[cfg(target_arch = "x86_64")]
use crate::cpu::prefetch;
use crate::cpu::{Level, pool};
use crate::quant::ActivationBits;

/// Rows of activations that lie side by side: those of a tile of AMX.
pub(super) const TILE: usize = 16;

/// Values for which a second thread is worth it: several microseconds' work.
const PIECE: usize = 1 << 15;

/// Rows of activations `(M, K)` as blocks of signed bytes with one f32 scale each: x ≈ q · scale, |q| <= 127.
///
/// In 16 bits a row is two planes, rows of bytes one after the other: its own quants, and those of what they leave of it,
/// x - q · scale, in steps that are 254 times finer. So x ≈ (254 · first + second) · scale, of the second's scale. A kernel
/// multiplies both like any two rows in integers, and puts their sums together before anything else: see
/// [`STEPS`].
///
/// Blocks of 32 are ggml's `q8_0` (with its scale in f32, not f16), blocks of 256 its `q8_k` (with |q| <= 127, so
/// that no pair of products overflows 16 bits). They lie in the order in which kernels read them: tile after tile
/// of 16 rows, in a tile block after block of columns, in that row after row. So 256 columns of a tile are 4 KiB in one
/// piece: broadcasts and tiles of 16 rows by 64 columns read them alike, and no two rows share a cache set, as rows that
/// are 4096 bytes apart would.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    /// Rows of quants.
    rows: usize,
    /// Rows of quants of a row of activations; divides [`TILE`].
    planes: usize,
    /// Width of a block.
    block: usize,
    /// Blocks of columns.
    blocks: usize,
    /// The quants, 64 to a cache line, and a tile of 256 columns of anything initialized beyond: a tile that is read beyond the
    /// last row reads those.
    quants: Vec<Line>,
    scales: Vec<f32>,
    /// Of blocks of 32 the sum of quants, times -1.
    below: Vec<i32>,
    /// The same in f32; at a second plane that of both planes.
    below_f32: Vec<f32>,
    /// Of blocks of 256.
    sums: Sums,
}

/// A cache line of quants.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([i8; 64]);

/// Beyond the last row.
const BEYOND: usize = TILE * 256 / 64;

/// Sums over a row's block of 256 columns: see [`rounding::Sums`].
#[derive(Clone, Debug, Default)]
struct Sums {
    thirty_twos: Vec<[i32; 4]>,
    sixteens: Vec<[i32; 8]>,
    eights: Vec<[i32; 32]>,
}

impl Activations {
    /// Quantizes rows of `columns` values in blocks of a width, over what was held before.
    ///
    /// A row's result does not depend on the others. Columns or rows beyond a whole number of blocks or rows are
    /// left out. A block that is not finite gets a scale that is not, so that the result is not finite either.
    pub fn fill(&mut self, level: Level, x: &[f32], columns: usize, width: Width, bits: ActivationBits) {
        let filling = self.prepare(level, x, columns, width, bits.planes());
        let units = filling.units();
        let pieces = (x.len() / PIECE).min(units);
        if pieces <= 1 {
            // SAFETY: every unit is filled once.
            #[allow(unsafe_code)]
            return unsafe { filling.fill(0..units) };
        }
        pool::run(pieces, |i| {
            // SAFETY: the ranges share no unit.
            #[allow(unsafe_code)]
            unsafe {
                filling.fill(units * i / pieces..units * (i + 1) / pieces);
            }
        });
    }

    /// Makes room for those rows. They are quantized by [`Filling::fill`], by whichever threads, before anything is read.
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
        self.quants.resize((count * block).div_ceil(64) + BEYOND, Line([0; 64]));
        // A tile's can be read beyond the last row, too.
        self.scales.resize(count + TILE, 0.0);
        let (below, sums) = match width {
            Width::Of32 => (count + TILE, 0),
            Width::Of256 => (0, count + TILE),
        };
        self.below.resize(below, 0);
        self.below_f32.resize(below, 0.0);
        self.sums.thirty_twos.resize(sums, [0; 4]);
        self.sums.sixteens.resize(sums, [0; 8]);
        self.sums.eights.resize(sums, [0; 32]);
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
            below: self.below.as_mut_ptr(),
            below_f32: self.below_f32.as_mut_ptr(),
            thirty_twos: self.sums.thirty_twos.as_mut_ptr(),
            sixteens: self.sums.sixteens.as_mut_ptr(),
            eights: self.sums.eights.as_mut_ptr(),
            all: std::marker::PhantomData,
        }
    }

    /// Rows of activations.
    pub fn rows(&self) -> usize {
        self.rows.checked_div(self.planes).unwrap_or(0)
    }

    /// Rows of quants.
    #[cfg(any(test, target_arch = "x86_64"))]
    pub fn quant_rows(&self) -> usize {
        self.rows
    }

    /// Rows of quants of a row of activations: one, or two.
    pub fn planes(&self) -> usize {
        self.planes
    }

    /// The tile that begins with row `row` of quants, a multiple of [`TILE`], from its block of columns `block` on.
    #[inline(always)]
    pub fn tile(&self, row: usize, block: usize) -> Tile<'_> {
        let rows = TILE.min(self.rows - row);
        Tile { all: self, start: row * self.blocks + block * rows, rows }
    }

    /// All tiles, each with its first row of activations.
    #[inline(always)]
    pub fn tiles(&self, block: usize) -> impl Iterator<Item = (usize, Tile<'_>)> {
        (0..self.rows).step_by(TILE).map(move |row| (row / self.planes, self.tile(row, block)))
    }

    /// All quants, and what is beyond.
    #[inline(always)]
    fn quants(&self) -> &[i8] {
        // SAFETY: a line is 64 bytes and nothing else.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts(self.quants.as_ptr().cast(), self.quants.len() * 64)
        }
    }
}

/// Activations that are being quantized: unit after unit, each the rows of a tile in one block of columns.
struct Filling<'a> {
    level: Level,
    x: &'a [f32],
    columns: usize,
    /// Rows of quants.
    rows: usize,
    /// Rows of quants of a row of activations; divides [`TILE`].
    planes: usize,
    width: Width,
    blocks: usize,
    quants: *mut i8,
    scales: *mut f32,
    below: *mut i32,
    below_f32: *mut f32,
    thirty_twos: *mut [i32; 4],
    sixteens: *mut [i32; 8],
    eights: *mut [i32; 32],
    all: std::marker::PhantomData<&'a mut Activations>,
}

// SAFETY: the pointers are to what `all` borrows for this, and threads fill different units, by `fill`'s promise.
#[allow(unsafe_code)]
unsafe impl Sync for Filling<'_> {}

impl Filling<'_> {
    fn units(&self) -> usize {
        self.rows.div_ceil(TILE) * self.blocks
    }

    /// Quantizes some units.
    ///
    /// # Safety
    /// They are below [`units`](Self::units), and no other thread fills any of them.
    #[allow(unsafe_code)]
    unsafe fn fill(&self, units: Range<usize>) {
        let block = self.width.columns();
        for unit in units {
            let (first, b) = (unit / self.blocks * TILE, unit % self.blocks);
            let rows = TILE.min(self.rows - first);
            for row in (0..rows).step_by(self.planes) {
                let at = first * self.blocks + b * rows + row;
                let x = &self.x[(first + row) / self.planes * self.columns + b * block..][..block];
                // SAFETY: at < rows · blocks, as many as there are of each, and so is the next plane's; each is of one unit,
                // which is filled by this thread alone.
                unsafe {
                    match self.width {
                        Width::Of32 => self.fill_32(&x.as_chunks().0[0], at),
                        Width::Of256 => self.fill_256(&x.as_chunks().0[0], at),
                    }
                }
            }
        }
    }

    /// Quantizes the block `at`, counted over all, and the next plane's behind it.
    ///
    /// # Safety
    /// `at + planes <= rows · blocks`, and no other thread accesses these blocks.
    #[allow(unsafe_code)]
    unsafe fn fill_32(&self, x: &[f32; 32], at: usize) {
        // SAFETY: there are `rows · blocks` of each, and this thread alone has these, by the caller's promise.
        let (quants, scales, below, below_f32) = unsafe {
            (
                std::slice::from_raw_parts_mut(self.quants.add(at * 32).cast::<[i8; 32]>(), self.planes),
                std::slice::from_raw_parts_mut(self.scales.add(at), self.planes),
                std::slice::from_raw_parts_mut(self.below.add(at), self.planes),
                std::slice::from_raw_parts_mut(self.below_f32.add(at), self.planes),
            )
        };
        rounding::of_32(self.level, x, quants, scales, below);
        below_f32[0] = below[0] as f32;
        if let [first, second] = below {
            // Exact: neither reaches 2^13.
            below_f32[1] = (STEPS * *first + *second) as f32;
        }
    }

    /// The same of blocks of 256.
    ///
    /// # Safety
    /// As above.
    #[allow(unsafe_code)]
    unsafe fn fill_256(&self, x: &[f32; 256], at: usize) {
        // SAFETY: as above.
        let (quants, scales, sums) = unsafe {
            let sums = rounding::Sums {
                thirty_twos: std::slice::from_raw_parts_mut(self.thirty_twos.add(at), self.planes),
                sixteens: std::slice::from_raw_parts_mut(self.sixteens.add(at), self.planes),
                eights: std::slice::from_raw_parts_mut(self.eights.add(at), self.planes),
            };
            (
                std::slice::from_raw_parts_mut(self.quants.add(at * 256).cast::<[i8; 256]>(), self.planes),
                std::slice::from_raw_parts_mut(self.scales.add(at), self.planes),
                sums,
            )
        };
        rounding::of_256(self.level, x, quants, scales, sums);
    }
}

/// Some rows of the activations, from some column on.
#[derive(Clone, Copy)]
pub struct Tile<'a> {
    all: &'a Activations,
    /// The first block of the first row, counted over all.
    start: usize,
    /// How many rows of quants.
    pub rows: usize,
}

/// `R` of the tile's rows of quants in one block of columns, `B` wide.
#[derive(Clone, Copy)]
pub struct Block<'a, const B: usize, const R: usize> {
    pub quants: &'a [[i8; B]; R],
    pub scales: &'a [f32; R],
}

impl<'a> Tile<'a> {
    /// Rows `row` to `row + R` in the tile's block of columns `b`. The width must be that of the activations.
    #[inline(always)]
    pub fn block<const B: usize, const R: usize>(&self, b: usize, row: usize) -> Block<'a, B, R> {
        let start = self.start + b * self.rows + row;
        Block {
            quants: &self.all.quants().as_chunks().0[start..].as_chunks().0[0],
            scales: self.scales(b, row),
        }
    }

    /// The sums of the same rows, times -1: of blocks of 32.
    #[inline(always)]
    pub fn below<const R: usize>(&self, b: usize, row: usize) -> &'a [i32; R] {
        &self.all.below[self.start + b * self.rows + row..].as_chunks().0[0]
    }

    /// The same in f32, at a second plane of both planes: an operand in memory, for those who multiply it.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn below_f32<const R: usize>(&self, b: usize, row: usize) -> &'a [f32; R] {
        &self.all.below_f32[self.start + b * self.rows + row..].as_chunks().0[0]
    }

    /// The sums of 32 columns of the same rows, two side by side: of blocks of 256.
    #[inline(always)]
    pub fn thirty_twos<const R: usize>(&self, b: usize, row: usize) -> &'a [[i32; 4]; R] {
        &self.all.sums.thirty_twos[self.start + b * self.rows + row..].as_chunks().0[0]
    }

    /// The sums of 16 columns.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn sixteens<const R: usize>(&self, b: usize, row: usize) -> &'a [[i32; 8]; R] {
        &self.all.sums.sixteens[self.start + b * self.rows + row..].as_chunks().0[0]
    }

    /// The sums of 8 columns, times -32.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn eights<const R: usize>(&self, b: usize, row: usize) -> &'a [[i32; 32]; R] {
        &self.all.sums.eights[self.start + b * self.rows + row..].as_chunks().0[0]
    }

    /// Where the quants of the tile's block of columns `b` begin, row after row; 16 rows can be read, if not all of them
    /// are the tile's.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn quants(&self, b: usize) -> &'a [i8] {
        let (start, block) = (self.start + b * self.rows, self.all.block);
        &self.all.quants()[start * block..][..TILE * block]
    }

    /// Asks for the first 256 columns of the tile below. They lie a whole tile's width further on, which no processor
    /// predicts: with 512 rows, more than the second-level cache holds, it makes up to a third of the time.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn prefetch_below(&self) {
        let (start, block) = (self.start + TILE * self.all.blocks, self.all.block);
        let quants = self.all.quants.as_ptr().cast::<i8>().wrapping_add(start * block);
        for line in 0..TILE * 256 / 64 {
            prefetch::line(quants.wrapping_add(line * 64));
        }
    }

    /// The scales of rows `row` to `row + R` in the tile's block of columns `b`.
    #[inline(always)]
    pub fn scales<const R: usize>(&self, b: usize, row: usize) -> &'a [f32; R] {
        &self.all.scales[self.start + b * self.rows + row..].as_chunks().0[0]
    }
}

/// What the last of row r's P planes has: the scale of the row's integers, or their sum.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub fn last<const P: usize>(of_planes: &[f32], r: usize) -> f32 {
    of_planes[P * r + P - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu;

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
            assert_eq!((a.rows(), a.blocks), (2, 256 / block));
            for (i, x) in x.iter().enumerate() {
                let (row, b, within) = (i / 256, i % 256 / block, i % block);
                let at = b * 2 + row;
                let y = f32::from(a.quants()[at * block + within]) * a.scales[at];
                assert!((x - y).abs() <= a.scales[at] * 0.5001, "{x} {y}");
            }
            let sum = |q: &[i8]| q.iter().map(|q| i32::from(*q)).sum::<i32>();
            for (below, q) in a.below.iter().zip(a.quants().chunks(32)) {
                assert_eq!(*below, -sum(q));
            }
            for (sums, q) in a.sums.eights.iter().zip(a.quants().chunks(256)) {
                for (below, q) in sums.iter().zip(q.chunks(8)) {
                    assert_eq!(*below, -32 * sum(q));
                }
            }
            let two = |pair: &i32| [*pair << 16 >> 16, *pair >> 16];
            for (pair, q) in a.sums.sixteens.as_flattened().iter().zip(a.quants().chunks(32)) {
                assert_eq!(two(pair), [&q[..16], &q[16..]].map(sum));
            }
            for (pair, q) in a.sums.thirty_twos.as_flattened().iter().zip(a.quants().chunks(64)) {
                assert_eq!(two(pair), [&q[..32], &q[32..]].map(sum));
            }
        }
    }

    /// Rows that are more than a tile, so that a row's planes lie in the second one, too.
    #[test]
    fn in_16_bits_two_planes_are_a_row_to_a_part_in_64000_of_the_largest() {
        let x: Vec<f32> = (0..11 * 256).map(|i| ((i * 7919 % 1009) as f32 - 500.0) / 37.0).collect();
        for width in Width::ALL {
            let (a, block) = (quantized(&x, 256, width, ActivationBits::Sixteen), width.columns());
            assert_eq!((a.rows(), a.quant_rows(), a.blocks), (11, 22, 256 / block));
            for (i, x) in x.iter().enumerate() {
                let (row, b, within) = (2 * (i / 256), i % 256 / block, i % block);
                let (first, rows) = (row / TILE * TILE, TILE.min(22 - row / TILE * TILE));
                let at = first * a.blocks + b * rows + row - first;
                let plane = |at: usize| f64::from(a.quants()[at * block + within]) * f64::from(a.scales[at]);
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
                let a = quantized(&x, 32, Width::Of32, bits);
                let scales = &a.scales[..bits.planes()];
                assert!(scales.iter().all(|scale| !scale.is_finite()) && a.quants()[..32] == [0; 32]);
            }
        }
        let a = quantized(&[1e-40; 32], 32, Width::Of32, ActivationBits::Eight);
        assert_eq!(a.quants()[..32], [0; 32]);
    }
}

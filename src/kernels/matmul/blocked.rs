//! Multiplies in tiles whose operands stay in the caches.
//!
//! Multiplies all weights of a task by a few rows of activations at a time, and by [`COLUMNS`] columns at a time so
//! that these stay in the L1 cache. Up to [`FEW`] rows, the weights are read from the matrix, prefetched a tile ahead:
//! converting them in registers costs less than a copy. With more rows, they are converted once into the L2 cache.

use std::ops::Range;

use super::scratch::Scratch;
use super::tiles::{BF16, F16, F32, Tile, WIDENED, avx2, avx512, size_of_weight};
use crate::cpu::{LANES, Level};
use crate::quant::Scheme;
use crate::quant::matrix::Part;

/// Columns of a tile. For eight rows of activations they take half of an L1 cache of 48 KiB. A multiple of the 256
/// columns that panels are converted by. 512, 1024 and 1536 were slower in decode or with 128 rows.
const COLUMNS: usize = 768;

/// Maximum number of rows of activations for which dense weights are converted in registers.
const FEW: usize = 32;

/// Bytes of converted weights that are multiplied with all activations before more are converted: half of an L2
/// cache.
const PANEL_BYTES: usize = 1 << 20;

/// Passes the products of the rows of `x`, k columns each, with some rows of a part to `write(row, column, value)`.
pub(super) fn some_rows(
    level: Level,
    x: &[f32],
    k: usize,
    part: &Part,
    rows: Range<usize>,
    scratch: &mut Scratch,
    write: impl Fn(usize, usize, f32),
) {
    let Scratch { panel, sums } = scratch;
    let n = rows.len();
    if let Some(bytes) = part.dense(rows.clone()).filter(|_| x.len() / k <= FEW) {
        let weights = Weights { bytes, columns: 0..k, n, row_bytes: Some(part.row_bytes) };
        let product = Product { level, x, k, tallest: if level >= Level::Avx512 { 8 } else { 3 } };
        return match part.scheme {
            Scheme::F32 => product.add::<F32>(&weights, sums, write),
            Scheme::F16 => product.add::<F16>(&weights, sums, write),
            _ => product.add::<BF16>(&weights, sums, write),
        };
    }
    let product = Product { level, x, k, tallest: if level >= Level::Avx512 { 6 } else { 3 } };
    let wide = (PANEL_BYTES / size_of::<f32>() / n / COLUMNS).max(1) * COLUMNS;
    for start in (0..k).step_by(wide) {
        let columns = start..k.min(start + wide);
        let panel = aligned(panel, columns.len() * n);
        part.widen_blocks(rows.clone(), columns.clone(), COLUMNS, panel);
        let weights = Weights { bytes: bytemuck::cast_slice(panel), columns, n, row_bytes: None };
        product.add::<WIDENED>(&weights, sums, &write);
    }
}

/// Some columns of n rows of weights.
struct Weights<'a> {
    bytes: &'a [u8],
    columns: Range<usize>,
    n: usize,
    /// Bytes of a row, if rows lie one after another. Otherwise the weights are in blocks of [`COLUMNS`] columns,
    /// the last perhaps narrower; each block has all rows.
    row_bytes: Option<usize>,
}

impl Weights<'_> {
    /// Returns the offset of a row at the first column of a block, and the bytes from one row to the next.
    fn at<const KIND: u8>(&self, row: usize, column: usize) -> (usize, usize) {
        let size = size_of_weight(KIND);
        if let Some(row_bytes) = self.row_bytes {
            return (row * row_bytes + column * size, row_bytes);
        }
        let width = COLUMNS.min(self.columns.end - column);
        (((column - self.columns.start) * self.n + row * width) * size, width * size)
    }

    /// Returns the address of the tile after the one that ends before `row`: in the same block, in the next block,
    /// or in the next rows.
    fn following<const KIND: u8>(&self, row: usize, block: Range<usize>) -> *const u8 {
        let (at, _) = if row < self.n {
            self.at::<KIND>(row, block.start)
        } else if block.end < self.columns.end {
            self.at::<KIND>(0, block.end)
        } else {
            (self.bytes.len(), 0)
        };
        self.bytes.as_ptr().wrapping_add(at)
    }
}

/// Activations, k columns each, and the kernels that multiply them.
struct Product<'a> {
    level: Level,
    x: &'a [f32],
    k: usize,
    /// Maximum number of rows of activations in a tile.
    tallest: usize,
}

impl Product<'_> {
    /// Adds the products with some columns to the partial sums, which start at zero with the first column. With the
    /// last column, it writes the complete sums.
    fn add<const KIND: u8>(&self, weights: &Weights, sums: &mut Vec<f32>, write: impl Fn(usize, usize, f32)) {
        let (k, n) = (self.k, weights.n);
        let m = self.x.len() / k;
        let tiles = m.div_ceil(self.tallest);
        // If these are all columns, the sums of one tile are enough, and they stay in the L1 cache.
        let all = weights.columns.len() < k;
        let sums = aligned(sums, if all { m } else { self.tallest } * n * LANES);
        for i in 0..tiles {
            // Tiles have about equal heights: 7 rows are 4 and 3, not 6 and 1.
            let rows = i * m / tiles..(i + 1) * m / tiles;
            let before = if all { rows.start } else { 0 };
            let sums = &mut sums[before * n * LANES..][..rows.len() * n * LANES];
            if weights.columns.start == 0 {
                sums.fill(0.0);
            }
            let x = &self.x[rows.start * k..rows.end * k];
            self.add_rows::<KIND>(rows.len(), x, weights, sums);
            if weights.columns.end == k {
                let write = |row, column, value| write(rows.start + row, column, value);
                self.finish::<KIND>(rows.len(), x, weights, sums, write);
            }
        }
    }

    /// Adds the products of a tile's rows of activations.
    fn add_rows<const KIND: u8>(&self, m: usize, x: &[f32], weights: &Weights, sums: &mut [f32]) {
        let n = weights.n;
        let widest = if self.level >= Level::Avx512 { avx512::widest(m) } else { avx2::widest(m) };
        for start in weights.columns.clone().step_by(COLUMNS) {
            let end = weights.columns.end.min(start + COLUMNS);
            let mut row = 0;
            while row < n {
                let wide = if n - row < widest { 1 } else { widest };
                let (at, w_stride) = weights.at::<KIND>(row, start);
                let tile = Tile {
                    m,
                    n: wide,
                    x: &x[start..],
                    x_stride: self.k,
                    w: &weights.bytes[at..],
                    w_stride,
                    following: weights.following::<KIND>(row + wide, start..end),
                    columns: (end - start) / LANES * LANES,
                    sums_stride: n,
                };
                let sums = &mut sums[row * LANES..];
                // SAFETY: a `Level` exists only where its features were detected.
                #[allow(unsafe_code)]
                unsafe {
                    match self.level >= Level::Avx512 {
                        true => avx512::add::<KIND>(tile, sums),
                        false => avx2::add::<KIND>(tile, sums),
                    }
                }
                row += wide;
            }
        }
    }

    /// Writes the sums of a tile's rows of activations. It adds the products of the last columns, fewer than
    /// [`LANES`].
    fn finish<const KIND: u8>(
        &self,
        m: usize,
        x: &[f32],
        weights: &Weights,
        sums: &[f32],
        write: impl Fn(usize, usize, f32),
    ) {
        let last = weights.columns.start + (weights.columns.len() - 1) / COLUMNS * COLUMNS;
        let columns = (self.k - last) / LANES * LANES;
        let (at, w_stride) = weights.at::<KIND>(0, last);
        let (n, w) = (weights.n, &weights.bytes[at..]);
        let following = w.as_ptr();
        let tile =
            Tile { m, n, x: &x[last..], x_stride: self.k, w, w_stride, following, columns, sums_stride: n };
        let tail = self.k - last - columns;
        // SAFETY: a `Level` exists only where its features were detected, and both levels include AVX2.
        #[allow(unsafe_code)]
        unsafe {
            avx2::finish::<KIND>(tile, tail, sums, write);
        }
    }
}

/// Returns `count` numbers of a buffer that begin at a cache line.
fn aligned(buffer: &mut Vec<f32>, count: usize) -> &mut [f32] {
    if buffer.len() < count + LANES {
        buffer.resize(count + LANES, 0.0);
    }
    let start = buffer.as_ptr().align_offset(64).min(LANES);
    &mut buffer[start..start + count]
}

//! A tile of activations: up to 16 rows of quants, as kernels read them.

use super::activations::{Activations, TILE};
#[cfg(target_arch = "x86_64")]
use crate::cpu::prefetch;

/// Up to [`TILE`] rows of quants, from some block of columns on.
#[derive(Clone, Copy)]
pub struct Tile<'a> {
    all: &'a Activations,
    /// Index of the first row's first block, in the order of storage.
    start: usize,
    /// Number of rows of quants.
    pub rows: usize,
    /// Number of blocks of columns.
    blocks: usize,
}

/// R rows of quants in a block of 32 columns.
pub struct Columns32<'a, const R: usize> {
    pub quants: &'a [[i8; 32]; R],
    pub scales: &'a [f32; R],
    /// Negated sums of the quants.
    pub bsums: &'a [i32; R],
    /// `bsums` in f32, as a memory operand. The entry of a second plane holds the combined sum of both planes.
    #[cfg(target_arch = "x86_64")]
    pub bsums_f32: &'a [f32; R],
}

/// R rows of quants in a block of 256 columns.
pub struct Columns256<'a, const R: usize> {
    pub quants: &'a [[i8; 256]; R],
    pub scales: &'a [f32; R],
    /// Sums of 32 columns, packed as pairs of 16 bits.
    pub bsums32: &'a [[i32; 4]; R],
    /// Sums of 16 columns, packed as pairs of 16 bits.
    #[cfg(target_arch = "x86_64")]
    pub bsums16: &'a [[i32; 8]; R],
    /// Sums of 8 columns, times -32.
    #[cfg(target_arch = "x86_64")]
    pub bsums8: &'a [[i32; 32]; R],
}

impl Activations {
    /// Returns the tile that begins with row `row` of quants, a multiple of [`TILE`], from block of columns `block`
    /// on.
    #[inline(always)]
    pub fn tile(&self, row: usize, block: usize) -> Tile<'_> {
        assert!(row < self.rows && block <= self.blocks);
        let rows = TILE.min(self.rows - row);
        Tile { all: self, start: row * self.blocks + block * rows, rows, blocks: self.blocks - block }
    }

    /// Returns all tiles, each with the index of its first row of activations.
    #[inline(always)]
    pub fn tiles(&self, block: usize) -> impl Iterator<Item = (usize, Tile<'_>)> {
        (0..self.rows).step_by(TILE).map(move |row| (self.rows_of(row), self.tile(row, block)))
    }
}

impl<'a> Tile<'a> {
    /// Returns rows `row` to `row + R` in the tile's block `b` of 32 columns. Rows after the tile's last, up to
    /// [`TILE`], have arbitrary content.
    #[inline(always)]
    pub fn columns32<const R: usize>(&self, b: usize, row: usize) -> Columns32<'a, R> {
        let (all, at) = (self.all, self.checked::<32, R>(b, row));
        // SAFETY: see `checked`.
        #[allow(unsafe_code)]
        unsafe {
            Columns32 {
                quants: array(all.quants.as_ptr().cast(), at),
                scales: array(all.scales.as_ptr(), at),
                bsums: array(all.bsums.as_ptr(), at),
                #[cfg(target_arch = "x86_64")]
                bsums_f32: array(all.bsums_f32.as_ptr(), at),
            }
        }
    }

    /// Returns rows `row` to `row + R` in the tile's block `b` of 256 columns, like [`columns32`](Self::columns32).
    #[inline(always)]
    pub fn columns256<const R: usize>(&self, b: usize, row: usize) -> Columns256<'a, R> {
        let (all, at) = (self.all, self.checked::<256, R>(b, row));
        // SAFETY: see `checked`.
        #[allow(unsafe_code)]
        unsafe {
            Columns256 {
                quants: array(all.quants.as_ptr().cast(), at),
                scales: array(all.scales.as_ptr(), at),
                bsums32: array(all.sums.bsums32.as_ptr(), at),
                #[cfg(target_arch = "x86_64")]
                bsums16: array(all.sums.bsums16.as_ptr(), at),
                #[cfg(target_arch = "x86_64")]
                bsums8: array(all.sums.bsums8.as_ptr(), at),
            }
        }
    }

    /// Returns the scale and the quants of row `row` in the tile's block `b` of B columns.
    #[inline(always)]
    pub fn row<const B: usize>(&self, b: usize, row: usize) -> (f32, &'a [i8; B]) {
        let at = self.checked::<B, 1>(b, row);
        // SAFETY: see `checked`.
        #[allow(unsafe_code)]
        unsafe {
            (self.all.scales[at], &array::<_, 1>(self.all.quants.as_ptr().cast(), at)[0])
        }
    }

    /// Returns the index, in the order of storage, of row `row` in the tile's block `b` of columns.
    ///
    /// The R entries from there on can be read: each array of a width has one entry per block and [`TILE`] more,
    /// and the quants have as many blocks.
    #[inline(always)]
    fn checked<const B: usize, const R: usize>(&self, b: usize, row: usize) -> usize {
        assert!(self.all.block == B && b < self.blocks && row + R <= TILE);
        self.start + b * self.rows + row
    }

    /// Prefetches the first 256 columns of the next tile. They are a whole tile's width further on, which no
    /// hardware prefetcher predicts. With 512 rows, more than the L2 cache holds, not prefetching costs up to a
    /// third of the time.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn prefetch_next(&self) {
        let (start, block) = (self.start + TILE * self.all.blocks, self.all.block);
        let quants = self.all.quants.as_ptr().cast::<i8>().wrapping_add(start * block);
        for line in 0..TILE * 256 / 64 {
            prefetch::line(quants.wrapping_add(line * 64));
        }
    }
}

/// Returns the R entries from index `at` on.
///
/// # Safety
/// The entries can be read for as long as the result lives.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn array<'a, T, const R: usize>(all: *const T, at: usize) -> &'a [T; R] {
    // SAFETY: guaranteed by the caller.
    unsafe { &*all.add(at).cast() }
}

/// Returns the entry of the last of row r's P planes: the scale of the row's integers, or their sum.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub fn last_plane<const P: usize>(of_planes: &[f32], r: usize) -> f32 {
    of_planes[P * r + P - 1]
}

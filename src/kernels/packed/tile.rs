//! A tile of activations: up to sixteen rows, as kernels read them.

use super::activations::{Activations, TILE};
#[cfg(target_arch = "x86_64")]
use crate::cpu::prefetch;

/// Some rows of the activations, from some column on.
#[derive(Clone, Copy)]
pub struct Tile<'a> {
    all: &'a Activations,
    /// The first block of the first row, counted over all.
    start: usize,
    /// Number of rows of quants.
    pub rows: usize,
    /// Number of blocks of columns.
    blocks: usize,
}

/// What R rows of quants have of a block of 32 columns.
pub struct Columns32<'a, const R: usize> {
    pub quants: &'a [[i8; 32]; R],
    pub scales: &'a [f32; R],
    /// The sums of the quants, times -1.
    pub bsums: &'a [i32; R],
    /// The same in f32, at a second plane of both planes: an operand in memory, for those who multiply it.
    #[cfg(target_arch = "x86_64")]
    pub bsums_f32: &'a [f32; R],
}

/// What R rows of quants have of a block of 256 columns.
pub struct Columns256<'a, const R: usize> {
    pub quants: &'a [[i8; 256]; R],
    pub scales: &'a [f32; R],
    /// The sums of 32 columns, two side by side.
    pub bsums32: &'a [[i32; 4]; R],
    /// The sums of 16 columns, two side by side.
    #[cfg(target_arch = "x86_64")]
    pub bsums16: &'a [[i32; 8]; R],
    /// The sums of 8 columns, times -32.
    #[cfg(target_arch = "x86_64")]
    pub bsums8: &'a [[i32; 32]; R],
}

impl Activations {
    /// The tile that begins with row `row` of quants, a multiple of [`TILE`], from its block of columns `block` on.
    #[inline(always)]
    pub fn tile(&self, row: usize, block: usize) -> Tile<'_> {
        assert!(row < self.rows && block <= self.blocks);
        let rows = TILE.min(self.rows - row);
        Tile { all: self, start: row * self.blocks + block * rows, rows, blocks: self.blocks - block }
    }

    /// All tiles, each with its first row of activations.
    #[inline(always)]
    pub fn tiles(&self, block: usize) -> impl Iterator<Item = (usize, Tile<'_>)> {
        (0..self.rows).step_by(TILE).map(move |row| (self.rows_of(row), self.tile(row, block)))
    }
}

impl<'a> Tile<'a> {
    /// Rows `row` to `row + R` in the tile's block of columns b, of 32. Rows beyond the tile's, up to [`TILE`], are anything.
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

    /// The same of blocks of 256.
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

    /// The scale and quants of row `row` in the tile's block of columns b, of B.
    #[inline(always)]
    pub fn row<const B: usize>(&self, b: usize, row: usize) -> (f32, &'a [i8; B]) {
        let at = self.checked::<B, 1>(b, row);
        // SAFETY: see `checked`.
        #[allow(unsafe_code)]
        unsafe {
            (self.all.scales[at], &array::<_, 1>(self.all.quants.as_ptr().cast(), at)[0])
        }
    }

    /// Which block that of row `row` in the tile's block of columns b is, counted over all.
    ///
    /// Activations with blocks of a width have as many of each number as they have blocks, and [`TILE`] more, and as many
    /// quants: of the R that begin here all can be read.
    #[inline(always)]
    fn checked<const B: usize, const R: usize>(&self, b: usize, row: usize) -> usize {
        assert!(self.all.block == B && b < self.blocks && row + R <= TILE);
        self.start + b * self.rows + row
    }

    /// Asks for the first 256 columns of the next tile. They lie a whole tile's width further on, which no processor
    /// predicts: with 512 rows, more than the second-level cache holds, it makes up to a third of the time.
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

/// The R that begin with the `at`-th.
///
/// # Safety
/// They can be read for as long as the result is.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn array<'a, T, const R: usize>(all: *const T, at: usize) -> &'a [T; R] {
    // SAFETY: by the caller's promise.
    unsafe { &*all.add(at).cast() }
}

/// What the last of row r's P planes has: the scale of the row's integers, or their sum.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub fn last<const P: usize>(of_planes: &[f32], r: usize) -> f32 {
    of_planes[P * r + P - 1]
}

//! The packed product with NEON's `sdot`: four rows in the four lanes of a register, four bytes of each.
//!
//! `sdot` multiplies four weights of each row with four activations, which are one lane of a register: 16 bytes of
//! activations serve four of them. Weights stay in registers and activations stream past: of four rows 64 columns are
//! sixteen registers, unpacked once for all the rows of a tile, and each row of activations is four loads and sixteen
//! `sdot`. One row alone, as in decode, is the same with nothing stored between unpacking and multiplying.

mod multiply;
mod unpack;

use std::arch::aarch64::*;

use super::activations::{Activations, TILE, Tile};
use super::scheme::{K, Of32, Packed};
use crate::quant::ROWS;
use multiply::{blocks, q6_k, with_minima};

/// Rows in a register.
const LANES: usize = 4;

/// Registers that hold one piece of each row of the strip.
const QUARTERS: usize = ROWS / LANES;

/// See [`multiply_strips`](super::multiply_strips).
#[target_feature(enable = "neon,dotprod")]
pub fn strips(scheme: Packed, strips: &[&[u8]], x: &Activations, first: usize, sums: &mut [[f32; ROWS]]) {
    let size = ROWS * scheme.block_bytes();
    for (strip, sums) in strips.iter().zip(sums.chunks_mut(x.rows().max(1))) {
        for (b, block) in strip.chunks_exact(size).enumerate() {
            for (above, tile) in x.tiles(first + b) {
                let sums = &mut sums[above..][..tile.rows / x.planes()];
                match (x.planes(), tile.rows) {
                    (1, 1) => of_rows::<1, 1>(scheme, block, tile, sums),
                    (1, _) => of_rows::<TILE, 1>(scheme, block, tile, sums),
                    (_, 2) => of_rows::<2, 2>(scheme, block, tile, sums),
                    _ => of_rows::<TILE, 2>(scheme, block, tile, sums),
                }
            }
        }
    }
}

/// The rows of quants of a tile, at most `MOST`, by a strip's block. P of them are planes of one row.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn of_rows<const MOST: usize, const P: usize>(
    scheme: Packed,
    block: &[u8],
    x: Tile,
    sums: &mut [[f32; ROWS]],
) {
    match scheme {
        Packed::Of32(Of32::Q4_0) => blocks::<MOST, P, 4, false>(block, x, sums),
        Packed::Of32(Of32::Q4_1) => blocks::<MOST, P, 4, true>(block, x, sums),
        Packed::Of32(Of32::Q5_0) => blocks::<MOST, P, 5, false>(block, x, sums),
        Packed::Of32(Of32::Q5_1) => blocks::<MOST, P, 5, true>(block, x, sums),
        Packed::Of32(Of32::Q8_0) => blocks::<MOST, P, 8, false>(block, x, sums),
        Packed::K(K::Q4) => with_minima::<MOST, P, 4>(block, x, sums),
        Packed::K(K::Q5) => with_minima::<MOST, P, 5>(block, x, sums),
        Packed::K(K::Q6) => q6_k::<MOST, P>(block, x, sums),
    }
}

/// A piece of 4 bytes of each row, quarter by quarter.
type Piece = [[u8; 4 * LANES]; QUARTERS];

fn pieces(bytes: &[u8]) -> &[Piece] {
    bytes.as_chunks().0.as_chunks().0
}

#[inline]
#[target_feature(enable = "neon")]
fn load(piece: &Piece, quarter: usize) -> uint8x16_t {
    let rows = &piece[quarter];
    // SAFETY: the array is 16 bytes; the load asks for no alignment.
    #[allow(unsafe_code)]
    unsafe {
        vld1q_u8(rows.as_ptr())
    }
}

//! The packed product with AVX2: eight rows in the eight lanes of a register, four bytes of each.
//!
//! Four activations, broadcast, meet four weights of each row in `maddubs`; the lanes are the rows' sums and need
//! no horizontal addition. Up to four rows of activations, and any number with blocks of 32, meet weights as these are
//! unpacked (`direct`). With more, blocks of 256 are unpacked to the first-level cache (`unpack`) and from there multiplied
//! with two rows at a time (`multiply`): the sums of four rows did not fit the sixteen registers and took a tenth longer.

mod direct;
mod multiply;
mod unpack;

use std::arch::x86_64::*;
use std::cell::RefCell;

use super::activations::{Activations, TILE, Tile};
use super::scheme::{K, Of32, Packed};
use super::span::{Lanes, Span};
use crate::quant::ROWS;
use multiply::k;

/// Rows in a register.
const LANES: usize = 8;

/// Registers that hold one piece of each row of the strip.
const HALVES: usize = ROWS / LANES;

/// Rows of quants that are multiplied at a time.
const HEIGHT: usize = 2;

/// Rows of quants that are multiplied as weights are unpacked.
const FEW: usize = 4;

thread_local! {
    static A_SPAN: RefCell<Span> = const { RefCell::new(Span::ZERO) };
}

/// See [`multiply_strips`](super::multiply_strips).
#[target_feature(enable = "avx2,fma,f16c")]
pub fn strips(scheme: Packed, strips: &[&[u8]], x: &Activations, first: usize, sums: &mut [[f32; ROWS]]) {
    for (strip, sums) in strips.iter().zip(sums.chunks_mut(x.rows().max(1))) {
        match scheme {
            Packed::K(scheme) if x.quant_rows() > FEW => unpacked(scheme, strip, x, first, sums),
            Packed::K(scheme) => {
                let tile = x.tile(0, first);
                match (x.planes(), x.quant_rows()) {
                    (_, 0) => {}
                    (1, 1) => few::<1, 1>(scheme, strip, tile, sums),
                    (1, 2) => few::<2, 1>(scheme, strip, tile, sums),
                    (1, 3) => few::<3, 1>(scheme, strip, tile, sums),
                    (1, _) => few::<FEW, 1>(scheme, strip, tile, sums),
                    (_, 2) => few::<2, 2>(scheme, strip, tile, sums),
                    _ => few::<FEW, 2>(scheme, strip, tile, sums),
                }
            }
            Packed::Of32(scheme) => {
                for (above, tile) in x.tiles(first) {
                    let sums = &mut sums[above..][..tile.rows / x.planes()];
                    match (x.planes(), sums.len()) {
                        (1, 1) => of_32::<1, 1>(scheme, strip, tile, sums),
                        (1, _) => of_32::<0, 1>(scheme, strip, tile, sums),
                        (_, 1) => of_32::<1, 2>(scheme, strip, tile, sums),
                        _ => of_32::<0, 2>(scheme, strip, tile, sums),
                    }
                }
            }
        }
    }
}

/// A strip of a k-scheme by any number of rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn unpacked(scheme: K, strip: &[u8], x: &Activations, first: usize, sums: &mut [[f32; ROWS]]) {
    let size = Packed::K(scheme).block_bytes() * ROWS;
    A_SPAN.with_borrow_mut(|span| {
        for (i, strip) in strip.chunks_exact(size).enumerate() {
            span.unpack_halves(scheme, strip);
            for (above, tile) in x.tiles(first + i) {
                if tile.rows == TILE {
                    tile.prefetch_below();
                }
                for row in (0..tile.rows).step_by(HEIGHT) {
                    let sums = &mut sums[above + row / x.planes()..];
                    match (x.planes(), tile.rows - row) {
                        (1, 1) => of_rows::<1, 1>(scheme, span, tile, row, sums),
                        (1, _) => of_rows::<HEIGHT, 1>(scheme, span, tile, row, sums),
                        _ => of_rows::<HEIGHT, 2>(scheme, span, tile, row, sums),
                    }
                }
            }
        }
    });
}

/// A strip of a k-scheme by R rows of quants, which are all there are; P of them are planes of one row.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn few<const R: usize, const P: usize>(scheme: K, strip: &[u8], x: Tile, sums: &mut [[f32; ROWS]]) {
    match scheme {
        K::Q4 => direct::nibbles_k::<R, P, 144, false>(strip, x, sums),
        K::Q5 => direct::nibbles_k::<R, P, 176, true>(strip, x, sums),
        K::Q6 => direct::q6_k::<R, P>(strip, x, sums),
    }
}

/// A strip with blocks of 32 by the first R rows of a tile, of P planes each; if R is 0, by all.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn of_32<const R: usize, const P: usize>(scheme: Of32, strip: &[u8], x: Tile, sums: &mut [[f32; ROWS]]) {
    match scheme {
        Of32::Q8_0 => direct::q8_0::<R, P>(strip, x, sums),
        Of32::Q4_0 => direct::nibbles::<R, P, 18, false, false>(strip, x, sums),
        Of32::Q4_1 => direct::nibbles::<R, P, 20, true, false>(strip, x, sums),
        Of32::Q5_0 => direct::nibbles::<R, P, 22, false, true>(strip, x, sums),
        Of32::Q5_1 => direct::nibbles::<R, P, 24, true, true>(strip, x, sums),
    }
}

/// R rows of quants of a tile, from its row `row` on, by a block of 256 of a strip.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn of_rows<const R: usize, const P: usize>(
    scheme: K,
    span: &Span,
    x: Tile,
    row: usize,
    sums: &mut [[f32; ROWS]],
) {
    match scheme {
        K::Q4 => k::<R, P, 4>(span, x, row, sums),
        K::Q5 => k::<R, P, 5>(span, x, row, sums),
        K::Q6 => k::<R, P, 6>(span, x, row, sums),
    }
}

/// One half of a line.
#[inline]
#[target_feature(enable = "avx2")]
fn load(lanes: &Lanes, half: usize) -> __m256i {
    let half: &[u8; 4 * LANES] = &lanes.0.as_chunks().0[half];
    // SAFETY: these are 32 bytes; the load asks for no alignment.
    #[allow(unsafe_code)]
    unsafe {
        _mm256_loadu_si256(half.as_ptr().cast())
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(lanes: &mut Lanes, half: usize, register: __m256i) {
    let half: &mut [u8; 4 * LANES] = &mut lanes.0.as_chunks_mut().0[half];
    // SAFETY: these are 32 bytes; the store asks for no alignment.
    #[allow(unsafe_code)]
    unsafe {
        _mm256_storeu_si256(half.as_mut_ptr().cast(), register);
    }
}

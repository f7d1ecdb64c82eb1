//! The packed product with AVX2: eight rows in the eight lanes of a register, four bytes of each.
//!
//! Four activations, broadcast, meet four weights of each row in `maddubs`; the lanes are the rows' sums and need
//! no horizontal addition. As with AVX512, 256 columns at a time are unpacked to the first-level cache (`unpack`), and from
//! there multiplied with up to four rows of activations (`multiply`), whose sums of a strip's two halves are in eight
//! registers.

mod multiply;
mod unpack;

use std::arch::x86_64::*;
use std::cell::RefCell;

use super::SPAN;
use super::activations::{Activations, TILE, Tile};
use super::span::{Lanes, Span};
use crate::kernels::Scheme;
use crate::kernels::layout::ROWS;
use multiply::{blocks, k};

/// Rows in a register.
const LANES: usize = 8;

/// Registers that hold one piece of each row of the strip.
const HALVES: usize = ROWS / LANES;

/// Rows of activations that are multiplied at a time.
const HEIGHT: usize = 4;

thread_local! {
    static A_SPAN: RefCell<Span> = const { RefCell::new(Span::ZERO) };
}

/// See [`multiply_strips`](super::multiply_strips).
#[target_feature(enable = "avx2,fma,f16c")]
pub fn strips(scheme: Scheme, strips: &[&[u8]], x: &Activations, first: usize, sums: &mut [[f32; ROWS]]) {
    let blocks = SPAN / scheme.block_len();
    let size = blocks * scheme.block_bytes() * ROWS;
    A_SPAN.with_borrow_mut(|span| {
        for (strip, sums) in strips.iter().zip(sums.chunks_mut(x.rows().max(1))) {
            for (i, strip) in strip.chunks(size).enumerate() {
                span.unpack_halves(scheme, strip);
                for (above, tile) in x.tiles(first + i * blocks) {
                    if tile.rows == TILE {
                        tile.prefetch_below();
                    }
                    for (row, sums) in sums[above..][..tile.rows].chunks_mut(HEIGHT).enumerate() {
                        let row = row * HEIGHT;
                        match sums.len() {
                            1 => of_rows::<1>(scheme, span, tile, row, sums),
                            2 => of_rows::<2>(scheme, span, tile, row, sums),
                            3 => of_rows::<3>(scheme, span, tile, row, sums),
                            _ => of_rows::<HEIGHT>(scheme, span, tile, row, sums),
                        }
                    }
                }
            }
        }
    });
}

/// R rows of a tile, from its row `row` on, by a strip's span.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn of_rows<const R: usize>(scheme: Scheme, span: &Span, x: Tile, row: usize, sums: &mut [[f32; ROWS]]) {
    match scheme {
        Scheme::Q8_0 => blocks::<R, 0, true, false>(span, x, row, sums),
        Scheme::Q4_0 => blocks::<R, 3, false, false>(span, x, row, sums),
        Scheme::Q5_0 => blocks::<R, 4, false, false>(span, x, row, sums),
        Scheme::Q4_1 | Scheme::Q5_1 => blocks::<R, 0, false, true>(span, x, row, sums),
        Scheme::Q4K => k::<R, 4>(span, x, row, sums),
        Scheme::Q5K => k::<R, 5>(span, x, row, sums),
        Scheme::Q6K => k::<R, 6>(span, x, row, sums),
        _ => {}
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

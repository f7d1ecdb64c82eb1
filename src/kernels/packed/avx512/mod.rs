//! The packed product with AVX512-VNNI: sixteen rows in the sixteen lanes of a register, four bytes of each.
//!
//! The layout needs no shuffle: a register of weights is one load, four activations are one broadcast. Blocks of a strip do
//! not begin on lines, so half of the loads touch two.
//!
//! The instruction multiplies unsigned by signed bytes, and weights are the unsigned ones: what makes them signed, an
//! offset, is taken away again as the offset times the activations' sum, with which the sum of products begins.
//!
//! Up to eight rows of activations meet weights as these are unpacked (`direct`). For more, 256 columns at a time are
//! unpacked, bytes and scales, to the first-level cache (`unpack`), and from there multiplied with eight of the rows by two
//! strips, whose sums fill the registers (`multiply`): two loads of weights and eight broadcasts feed sixteen instructions.

mod direct;
mod multiply;
mod unpack;

use std::arch::x86_64::*;
use std::cell::RefCell;

use super::SPAN;
use super::activations::{Activations, TILE, Tile};
use super::scheme::{K, Of32, Packed};
use super::span::{Lanes, Span};
use crate::kernels::layout::ROWS;
pub(super) use multiply::{add, floats, with_minima};
use multiply::{blocks, k};

/// Rows of activations that are multiplied at a time.
const HEIGHT: usize = 8;

/// Strips that are multiplied at a time.
const WIDTH: usize = 2;

thread_local! {
    static SPANS: RefCell<[Span; WIDTH]> = const { RefCell::new([Span::ZERO; WIDTH]) };
}

/// See [`multiply_strips`](super::multiply_strips).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn strips(scheme: Packed, strips: &[&[u8]], x: &Activations, first: usize, sums: &mut [[f32; ROWS]]) {
    let rows = x.rows();
    if (1..=HEIGHT).contains(&rows) {
        let x = x.tile(0, first);
        match rows {
            1 => few::<1>(scheme, strips, x, sums),
            2 => few::<2>(scheme, strips, x, sums),
            3 => few::<3>(scheme, strips, x, sums),
            4 => few::<4>(scheme, strips, x, sums),
            5 => few::<5>(scheme, strips, x, sums),
            6 => few::<6>(scheme, strips, x, sums),
            7 => few::<7>(scheme, strips, x, sums),
            _ => few::<HEIGHT>(scheme, strips, x, sums),
        }
        return;
    }
    SPANS.with_borrow_mut(|spans| {
        for (strips, sums) in strips.chunks(WIDTH).zip(sums.chunks_mut(WIDTH * rows.max(1))) {
            match strips {
                [a, b] => some(scheme, [a, b], x, first, spans, sums),
                [a] => some(scheme, [a], x, first, std::array::from_mut(&mut spans[0]), sums),
                // Chunks are one or two.
                _ => {}
            }
        }
    });
}

/// Strips by R rows, which are all there are.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn few<const R: usize>(scheme: Packed, strips: &[&[u8]], x: Tile, sums: &mut [[f32; ROWS]]) {
    let sums: &mut [[[f32; ROWS]; R]] = sums.as_chunks_mut().0;
    match scheme {
        Packed::Of32(Of32::Q8_0) => direct::q8_0(strips, x, sums),
        Packed::Of32(Of32::Q4_0) => direct::nibbles::<R, 18, false, false>(strips, x, sums),
        Packed::Of32(Of32::Q4_1) => direct::nibbles::<R, 20, true, false>(strips, x, sums),
        Packed::Of32(Of32::Q5_0) => direct::nibbles::<R, 22, false, true>(strips, x, sums),
        Packed::Of32(Of32::Q5_1) => direct::nibbles::<R, 24, true, true>(strips, x, sums),
        Packed::K(K::Q4) => direct::nibbles_k::<R, 144, false>(strips, x, sums),
        Packed::K(K::Q5) => direct::nibbles_k::<R, 176, true>(strips, x, sums),
        Packed::K(K::Q6) => direct::q6_k(strips, x, sums),
    }
}

/// The same of S strips.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn some<const S: usize>(
    scheme: Packed,
    strips: [&[u8]; S],
    x: &Activations,
    first: usize,
    spans: &mut [Span; S],
    sums: &mut [[f32; ROWS]],
) {
    let blocks = SPAN / scheme.width().columns();
    let size = blocks * scheme.block_bytes() * ROWS;
    for i in 0..strips[0].len().div_ceil(size) {
        for (span, strip) in spans.iter_mut().zip(strips) {
            span.unpack::<false>(scheme, &strip[i * size..strip.len().min((i + 1) * size)]);
        }
        for (above, tile) in x.tiles(first + i * blocks) {
            if tile.rows == TILE {
                tile.prefetch_below();
            }
            for row in (0..tile.rows).step_by(HEIGHT) {
                let out = Out { sums, stride: x.rows(), at: above + row };
                match tile.rows - row {
                    1 => of_rows::<1, S>(scheme, spans, tile, row, out),
                    2 => of_rows::<2, S>(scheme, spans, tile, row, out),
                    3 => of_rows::<3, S>(scheme, spans, tile, row, out),
                    4 => of_rows::<4, S>(scheme, spans, tile, row, out),
                    5 => of_rows::<5, S>(scheme, spans, tile, row, out),
                    6 => of_rows::<6, S>(scheme, spans, tile, row, out),
                    7 => of_rows::<7, S>(scheme, spans, tile, row, out),
                    _ => of_rows::<HEIGHT, S>(scheme, spans, tile, row, out),
                }
            }
        }
    }
}

/// R rows of a tile, from its row `row` on, by the spans of S strips.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn of_rows<const R: usize, const S: usize>(scheme: Packed, spans: &[Span; S], x: Tile, row: usize, out: Out) {
    match scheme {
        Packed::Of32(Of32::Q8_0) => blocks::<R, S, 7, false>(spans, x, row, out),
        Packed::Of32(Of32::Q4_0) => blocks::<R, S, 3, false>(spans, x, row, out),
        Packed::Of32(Of32::Q5_0) => blocks::<R, S, 4, false>(spans, x, row, out),
        Packed::Of32(Of32::Q4_1 | Of32::Q5_1) => blocks::<R, S, 0, true>(spans, x, row, out),
        Packed::K(K::Q4) => k::<R, S, 4>(spans, x, row, out),
        Packed::K(K::Q5) => k::<R, S, 5>(spans, x, row, out),
        Packed::K(K::Q6) => k::<R, S, 6>(spans, x, row, out),
    }
}

/// Where sums are added: those of strip s and row r at `s · stride + at + r`.
struct Out<'a> {
    sums: &'a mut [[f32; ROWS]],
    stride: usize,
    at: usize,
}

impl Out<'_> {
    /// Of each strip the sums of R rows, all within `sums`.
    #[inline(always)]
    fn rows<const R: usize, const S: usize>(self) -> [*mut [[f32; ROWS]; R]; S] {
        let sums = &mut self.sums[self.at..][..(S - 1) * self.stride + R];
        let first = sums.as_mut_ptr();
        std::array::from_fn(|s| first.wrapping_add(s * self.stride).cast())
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(lanes: &Lanes) -> __m512i {
    // SAFETY: these are 64 bytes on a multiple of 64.
    #[allow(unsafe_code)]
    unsafe {
        _mm512_load_si512(lanes.0.as_ptr().cast())
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(lanes: &mut Lanes, register: __m512i) {
    // SAFETY: these are 64 bytes on a multiple of 64.
    #[allow(unsafe_code)]
    unsafe {
        _mm512_store_si512(lanes.0.as_mut_ptr().cast(), register);
    }
}

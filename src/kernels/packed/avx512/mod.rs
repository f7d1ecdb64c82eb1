//! The packed product with AVX512-VNNI: sixteen rows in the sixteen lanes of a register, four bytes of each.
//!
//! The layout needs no shuffle: a register of weights is one load, four activations are one broadcast. Blocks of a strip do
//! not begin on lines, so half of the loads touch two.
//!
//! The instruction multiplies unsigned by signed bytes, and weights are the unsigned ones: what makes them signed, an
//! offset, is taken away again as the offset times the activations' sum, with which the sum of products begins.
//!
//! Up to eight rows of quants meet weights as these are unpacked (`direct`). For more, 256 columns at a time are
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
use crate::quant::ROWS;
pub(super) use multiply::{add, below, floats, whole};
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
    let (rows, quant_rows) = (x.rows(), x.quant_rows());
    if (1..=HEIGHT).contains(&quant_rows) {
        let tile = x.tile(0, first);
        match (x.planes(), quant_rows) {
            (1, 1) => few::<1, 1>(scheme, strips, tile, sums),
            (1, 2) => few::<2, 1>(scheme, strips, tile, sums),
            (1, 3) => few::<3, 1>(scheme, strips, tile, sums),
            (1, 4) => few::<4, 1>(scheme, strips, tile, sums),
            (1, 5) => few::<5, 1>(scheme, strips, tile, sums),
            (1, 6) => few::<6, 1>(scheme, strips, tile, sums),
            (1, 7) => few::<7, 1>(scheme, strips, tile, sums),
            (1, _) => few::<HEIGHT, 1>(scheme, strips, tile, sums),
            (_, 2) => few::<2, 2>(scheme, strips, tile, sums),
            (_, 4) => few::<4, 2>(scheme, strips, tile, sums),
            (_, 6) => few::<6, 2>(scheme, strips, tile, sums),
            _ => few::<HEIGHT, 2>(scheme, strips, tile, sums),
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

/// Strips by R rows of quants, which are all there are; P of them are planes of one row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn few<const R: usize, const P: usize>(scheme: Packed, strips: &[&[u8]], x: Tile, sums: &mut [[f32; ROWS]]) {
    match scheme {
        Packed::Of32(Of32::Q8_0) => direct::q8_0::<R, P>(strips, x, sums),
        Packed::Of32(Of32::Q4_0) => direct::nibbles::<R, P, 18, false, false>(strips, x, sums),
        Packed::Of32(Of32::Q4_1) => direct::nibbles::<R, P, 20, true, false>(strips, x, sums),
        Packed::Of32(Of32::Q5_0) => direct::nibbles::<R, P, 22, false, true>(strips, x, sums),
        Packed::Of32(Of32::Q5_1) => direct::nibbles::<R, P, 24, true, true>(strips, x, sums),
        Packed::K(K::Q4) => direct::nibbles_k::<R, P, 144, false>(strips, x, sums),
        Packed::K(K::Q5) => direct::nibbles_k::<R, P, 176, true>(strips, x, sums),
        Packed::K(K::Q6) => direct::q6_k::<R, P>(strips, x, sums),
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
                let out = Out { sums, stride: x.rows(), at: above + row / x.planes() };
                match (x.planes(), tile.rows - row) {
                    (1, 1) => of_rows::<1, 1, S>(scheme, spans, tile, row, out),
                    (1, 2) => of_rows::<2, 1, S>(scheme, spans, tile, row, out),
                    (1, 3) => of_rows::<3, 1, S>(scheme, spans, tile, row, out),
                    (1, 4) => of_rows::<4, 1, S>(scheme, spans, tile, row, out),
                    (1, 5) => of_rows::<5, 1, S>(scheme, spans, tile, row, out),
                    (1, 6) => of_rows::<6, 1, S>(scheme, spans, tile, row, out),
                    (1, 7) => of_rows::<7, 1, S>(scheme, spans, tile, row, out),
                    (1, _) => of_rows::<HEIGHT, 1, S>(scheme, spans, tile, row, out),
                    (_, 2) => of_rows::<2, 2, S>(scheme, spans, tile, row, out),
                    (_, 4) => of_rows::<4, 2, S>(scheme, spans, tile, row, out),
                    (_, 6) => of_rows::<6, 2, S>(scheme, spans, tile, row, out),
                    _ => of_rows::<HEIGHT, 2, S>(scheme, spans, tile, row, out),
                }
            }
        }
    }
}

/// R rows of quants of a tile, from its row `row` on, by the spans of S strips.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn of_rows<const R: usize, const P: usize, const S: usize>(
    scheme: Packed,
    spans: &[Span; S],
    x: Tile,
    row: usize,
    out: Out,
) {
    match scheme {
        Packed::Of32(Of32::Q8_0) => blocks::<R, P, S, 7, false>(spans, x, row, out),
        Packed::Of32(Of32::Q4_0) => blocks::<R, P, S, 3, false>(spans, x, row, out),
        Packed::Of32(Of32::Q5_0) => blocks::<R, P, S, 4, false>(spans, x, row, out),
        Packed::Of32(Of32::Q4_1 | Of32::Q5_1) => blocks::<R, P, S, 0, true>(spans, x, row, out),
        Packed::K(K::Q4) => k::<R, P, S, 4>(spans, x, row, out),
        Packed::K(K::Q5) => k::<R, P, S, 5>(spans, x, row, out),
        Packed::K(K::Q6) => k::<R, P, S, 6>(spans, x, row, out),
    }
}

/// Where sums are added: those of strip s and row r of activations at `s · stride + at + r`.
struct Out<'a> {
    sums: &'a mut [[f32; ROWS]],
    stride: usize,
    at: usize,
}

impl Out<'_> {
    /// Where each strip's sums of some rows begin, all within `sums`.
    #[inline(always)]
    fn rows<const S: usize>(self, rows: usize) -> [*mut [f32; ROWS]; S] {
        let sums = &mut self.sums[self.at..][..(S - 1) * self.stride + rows];
        let first = sums.as_mut_ptr();
        std::array::from_fn(|s| first.wrapping_add(s * self.stride))
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

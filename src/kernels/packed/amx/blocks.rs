//! The schemes with blocks of 32 columns.
//!
//! Sums end after 32 columns: an instruction takes half of what it could, in the same time, and a store and three
//! operations a row follow. Those are the limit: 48 operations for 16384 products and sums. A row's sums stay in registers
//! for eight blocks, and those of a tile of rows are added while the next is multiplied.

use std::arch::x86_64::*;

use super::super::activations::{Activations, TILE, Tile, last};
use super::super::avx512::{floats, load, whole};
use super::super::scheme::Packed;
use super::super::span::{Lanes, Span};
use super::tiles::{self, Tiles};
use super::{SPAN, Scratch};
use crate::quant::ROWS;

/// See [`multiply_strips`](super::super::multiply_strips), of activations whose rows have P planes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn strips<const P: usize, const MINIMUM: bool>(
    scheme: Packed,
    strips: &[&[u8]],
    x: &Activations,
    first: usize,
    scratch: &mut Scratch,
    sums: &mut [[f32; ROWS]],
) {
    let Scratch { spans, sums: stored, .. } = scratch;
    let blocks = SPAN / scheme.width().columns();
    let size = blocks * scheme.block_bytes() * ROWS;
    // SAFETY: this level is only where AMX may be used.
    #[allow(unsafe_code)]
    let _tiles = unsafe { Tiles::halves() };
    let tiles = x.quant_rows().div_ceil(TILE);
    let count = tiles * strips.len();
    for i in 0..strips[0].len().div_ceil(size) {
        for (span, strip) in spans.iter_mut().zip(strips) {
            span.unpack::<true>(scheme, &strip[i * size..strip.len().min((i + 1) * size)]);
        }
        let [now, before] = &mut *stored;
        let (mut now, mut before) = (now, before);
        // Each tile of activations by a strip, and then by the other.
        for unit in 0..=count {
            let of = |unit: usize| {
                let (t, s) = (unit / strips.len(), unit % strips.len());
                (x.tile(t * TILE, first + i * blocks), &spans[s], s * tiles + t)
            };
            let next = (unit < count).then(|| of(unit));
            let previous = (unit > 0).then(|| of(unit - 1));
            if let Some((tile, ..)) = next
                && unit % strips.len() == 0
            {
                tile.prefetch_below();
            }
            let at = previous.map_or(0, |(_, _, at)| at);
            let sums = &mut sums[at * (TILE / P)..][..TILE / P];
            multiply_and_add::<P, MINIMUM>(next, now, previous, before, sums);
            std::mem::swap(&mut now, &mut before);
        }
    }
}

/// A tile of activations, a strip's span, and where their sums are.
type Unit<'a> = (Tile<'a>, &'a Span, usize);

/// Multiplies a tile by the blocks of a span, and adds the products of the one before to its sums.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn multiply_and_add<const P: usize, const MINIMUM: bool>(
    next: Option<Unit>,
    now: &mut [[Lanes; ROWS]; SPAN / 32],
    previous: Option<Unit>,
    before: &[[Lanes; ROWS]; SPAN / 32],
    out: &mut [[f32; ROWS]],
) {
    let mut sums = [_mm512_setzero_ps(); TILE];
    for (sum, out) in sums.iter_mut().zip(&*out) {
        // SAFETY: the array is sixteen f32; the load asks for no alignment.
        #[allow(unsafe_code)]
        unsafe {
            *sum = _mm512_loadu_ps(out.as_ptr());
        }
    }
    for b in 0..SPAN / 32 {
        if let Some((x, span, _)) = next
            && b < span.blocks
        {
            let words: &[Lanes; 8] = &span.words.as_chunks().0[b];
            // SAFETY: tiles are set up; there are 16 rows of 32 activations, eight lines of weights, and 16 lines for sums.
            #[allow(unsafe_code)]
            unsafe {
                let (x, words, now) = (x.quants(b).as_ptr(), words.as_ptr(), now[b].as_mut_ptr());
                match b.is_multiple_of(2) {
                    true => tiles::product!("tmm0", "tmm4": x, 32, "tmm6": words, now),
                    false => tiles::product!("tmm1", "tmm5": x, 32, "tmm7": words, now),
                }
            }
        }
        if let Some((x, span, _)) = previous
            && b < span.blocks
        {
            let (scales, minima) = (floats(&span.scales[b]), floats(&span.minima[b]));
            let (of_rows, below) = (x.scales::<TILE>(b, 0), x.below_f32::<TILE>(b, 0));
            for (row, sum) in sums.iter_mut().enumerate().take(TILE / P) {
                let planes: [__m512i; P] = std::array::from_fn(|plane| load(&before[b][P * row + plane]));
                let mut term = _mm512_mul_ps(whole(&planes), scales);
                if MINIMUM {
                    term = _mm512_fnmadd_ps(_mm512_set1_ps(last::<P>(below, row)), minima, term);
                }
                *sum = _mm512_fmadd_ps(term, _mm512_set1_ps(last::<P>(of_rows, row)), *sum);
            }
        }
    }
    for (sum, out) in sums.into_iter().zip(out) {
        // SAFETY: the array is sixteen f32; the store asks for no alignment.
        #[allow(unsafe_code)]
        unsafe {
            _mm512_storeu_ps(out.as_mut_ptr(), sum);
        }
    }
}

//! Some strips by R rows of activations' quants, up to eight and as many as all there are: each line of weights meets them as
//! soon as it is unpacked, in registers. Of the rows P are planes of one; `sums` are those of each strip, R / P.
//!
//! So memory is asked at an even pace. Unpacked to the cache first, 256 columns at a time, one row of q4_k took a fifth
//! longer: then requests come in bursts, for which there is no room, and none in between. Two strips are multiplied a block
//! of each in turn: read in two places at once, memory gives more.

use std::arch::x86_64::*;

use super::super::activations::{Tile, last};
use super::unpack::{
    Small, add_fifths, again, byte, halves, nibble, registers, right_or_left, to_bit_4, widen,
};
use super::{add, whole};
use crate::cpu::prefetch::ahead;
use crate::quant::ROWS;

#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn q8_0<const R: usize, const P: usize>(strips: &[&[u8]], x: Tile, sums: &mut [[f32; ROWS]]) {
    for b in 0..blocks(strips, 34) {
        let (block_of_x, below) = (x.block::<32, R>(b, 0), x.below::<R>(b, 0));
        for (block, sums) in each(strips, b, 34).zip(sums.chunks_mut(R / P)) {
            let scales = _mm512_castsi512_ps(halves(block));
            let mut products = below.map(|below| _mm512_slli_epi32::<7>(_mm512_set1_epi32(below)));
            // Of few rows two sums each: a product waits for the one before it.
            let mut others = [_mm512_setzero_si512(); R];
            for s in 0..8 {
                let [w] = registers(&block[(2 + 4 * s) * ROWS..]);
                let w = _mm512_xor_si512(w, _mm512_set1_epi8(i8::MIN));
                match R <= 2 && s % 2 == 1 {
                    true => dot(w, block_of_x.quants, s, &mut others),
                    false => dot(w, block_of_x.quants, s, &mut products),
                }
            }
            if R <= 2 {
                for (products, others) in products.iter_mut().zip(others) {
                    *products = _mm512_add_epi32(*products, others);
                }
            }
            for (r, products) in products.as_chunks::<P>().0.iter().enumerate() {
                let term = _mm512_mul_ps(whole(products), scales);
                add(&mut sums[r], term, last::<P>(block_of_x.scales, r));
            }
        }
    }
}

/// q4_0, q4_1, q5_0 and q5_1, of N bytes: 4 bits of a weight, perhaps a fifth, and a minimum or else an offset.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn nibbles<const R: usize, const P: usize, const N: usize, const MINIMUM: bool, const FIFTHS: bool>(
    strips: &[&[u8]],
    x: Tile,
    sums: &mut [[f32; ROWS]],
) {
    for b in 0..blocks(strips, N) {
        let (block_of_x, below) = (x.block::<32, R>(b, 0), x.below::<R>(b, 0));
        let below_f32 = x.below_f32::<R>(b, 0);
        for (block, sums) in each(strips, b, N).zip(sums.chunks_mut(R / P)) {
            let (numbers, rest) = block.split_at(if MINIMUM { 4 * ROWS } else { 2 * ROWS });
            let (fifths, words) = rest.split_at(if FIFTHS { 4 * ROWS } else { 0 });
            let scales = _mm512_castsi512_ps(halves(numbers));
            let mut products = [_mm512_setzero_si512(); R];
            if !MINIMUM {
                for (products, below) in products.iter_mut().zip(below) {
                    let below = _mm512_set1_epi32(*below);
                    *products =
                        if FIFTHS { _mm512_slli_epi32::<4>(below) } else { _mm512_slli_epi32::<3>(below) };
                }
            }
            let [fifths] = registers(fifths);
            // Sums of products with high bits where they are, 16 times too large: the shift is of the sum.
            let mut high = [_mm512_setzero_si512(); R];
            for (s, packed) in registers::<4>(words).into_iter().enumerate() {
                if FIFTHS {
                    let w = [nibble(packed, 0), nibble(packed, 1)];
                    dot(add_fifths(w[0], fifths, s), block_of_x.quants, s, &mut products);
                    dot(add_fifths(w[1], fifths, 4 + s), block_of_x.quants, 4 + s, &mut products);
                } else {
                    dot(nibble(packed, 0), block_of_x.quants, s, &mut products);
                    dot(high_nibble(packed), block_of_x.quants, 4 + s, &mut high);
                }
            }
            if !FIFTHS {
                for (products, high) in products.iter_mut().zip(high) {
                    *products = _mm512_add_epi32(*products, _mm512_srai_epi32::<4>(high));
                }
            }
            for (r, products) in products.as_chunks::<P>().0.iter().enumerate() {
                let mut term = _mm512_mul_ps(whole(products), scales);
                if MINIMUM {
                    let minima = _mm512_castsi512_ps(halves(&numbers[2 * ROWS..]));
                    term = _mm512_fnmadd_ps(_mm512_set1_ps(last::<P>(below_f32, r)), minima, term);
                }
                add(&mut sums[r], term, last::<P>(block_of_x.scales, r));
            }
        }
    }
}

/// q4_k and q5_k, of N bytes. How sums of products meet their scales: see [`k`](super::multiply::k).
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn nibbles_k<const R: usize, const P: usize, const N: usize, const FIFTHS: bool>(
    strips: &[&[u8]],
    x: Tile,
    sums: &mut [[f32; ROWS]],
) {
    for b in 0..blocks(strips, N) {
        let (block_of_x, thirty_twos) = (x.block::<256, R>(b, 0), x.thirty_twos::<R>(b, 0));
        for (block, sums) in each(strips, b, N).zip(sums.chunks_mut(R / P)) {
            let (numbers, rest) = block.split_at(4 * ROWS);
            let (small, rest) = rest.split_at(12 * ROWS);
            let (fifths, words) = rest.split_at(if FIFTHS { 32 * ROWS } else { 0 });
            // A line of its own, which is loaded last and which no other load asks for.
            ahead(numbers.as_ptr());
            let small = Small::new(registers(small));
            let mut totals = [_mm512_setzero_si512(); R];
            two_groups::<0, R, FIFTHS>(words, fifths, &small, block_of_x.quants, &mut totals);
            two_groups::<1, R, FIFTHS>(words, fifths, &small, block_of_x.quants, &mut totals);
            two_groups::<2, R, FIFTHS>(words, fifths, &small, block_of_x.quants, &mut totals);
            two_groups::<3, R, FIFTHS>(words, fifths, &small, block_of_x.quants, &mut totals);
            let pairs: [__m512i; 4] =
                std::array::from_fn(|p| widen(small.minima[p / 2], p % 2 * 2, p % 2 * 2 + 1));
            let scales = _mm512_castsi512_ps(halves(numbers));
            let minima = _mm512_castsi512_ps(halves(&numbers[2 * ROWS..]));
            let mut below = [_mm512_setzero_si512(); R];
            for (below, sums) in below.iter_mut().zip(thirty_twos) {
                for (pair, sums) in pairs.into_iter().zip(sums) {
                    *below = _mm512_dpwssd_epi32(*below, pair, _mm512_set1_epi32(*sums));
                }
            }
            let rows = totals.as_chunks::<P>().0.iter().zip(below.as_chunks::<P>().0);
            for (r, (totals, below)) in rows.enumerate() {
                let term = _mm512_mul_ps(whole(totals), scales);
                let term = _mm512_fnmadd_ps(whole(below), minima, term);
                add(&mut sums[r], term, last::<P>(block_of_x.scales, r));
            }
        }
    }
}

/// Adds the sums of groups 2P and 2P + 1, which share their bytes, times the groups' scales. P is known when compiling, so
/// that nothing is shifted by a variable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn two_groups<const P: usize, const R: usize, const FIFTHS: bool>(
    words: &[u8],
    fifths: &[u8],
    small: &Small,
    x: &[[i8; 256]; R],
    totals: &mut [__m512i; R],
) {
    let scales = [2 * P, 2 * P + 1].map(|j| byte(small.scales[j / 4], j % 4));
    let mut products = [[_mm512_setzero_si512(); R]; 2];
    for s in 0..8 {
        let [packed] = registers(&words[(P * 8 + s) * 4 * ROWS..]);
        for (which, products) in products.iter_mut().enumerate() {
            let mut w = if FIFTHS || which == 0 { nibble(packed, which) } else { high_nibble(packed) };
            if FIFTHS {
                // Loaded where they are needed: eight at once, at a block's start, were a burst that took a tenth longer.
                let fifths = again(&fifths[s * 4 * ROWS..], P == 0 && which == 0);
                let fifth = _mm512_and_si512(to_bit_4(fifths, 2 * P + which), _mm512_set1_epi8(16));
                w = _mm512_or_si512(w, fifth);
            }
            dot(w, x, (2 * P + which) * 8 + s, products);
        }
        if !FIFTHS && s % 4 == 3 {
            // 16 times too large until here.
            products[1] = products[1].map(|high| _mm512_srai_epi32::<4>(high));
            for (products, scale) in products.iter_mut().zip(scales) {
                for (total, products) in totals.iter_mut().zip(products) {
                    *total = _mm512_dpwssd_epi32(*total, *products, scale);
                    *products = _mm512_setzero_si512();
                }
            }
        }
    }
    if FIFTHS {
        for (products, scale) in products.iter().zip(scales) {
            for (total, products) in totals.iter_mut().zip(products) {
                *total = _mm512_add_epi32(*total, _mm512_mullo_epi32(*products, scale));
            }
        }
    }
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn q6_k<const R: usize, const P: usize>(strips: &[&[u8]], x: Tile, sums: &mut [[f32; ROWS]]) {
    for b in 0..blocks(strips, 210) {
        let (block_of_x, eights) = (x.block::<256, R>(b, 0), x.eights::<R>(b, 0));
        for (block, sums) in each(strips, b, 210).zip(sums.chunks_mut(R / P)) {
            let (low, rest) = block.split_at(128 * ROWS);
            let (high, rest) = rest.split_at(64 * ROWS);
            let (small, scales) = rest.split_at(16 * ROWS);
            let small: [__m512i; 4] = registers(small);
            let mut totals = [_mm512_setzero_si512(); R];
            two_of_four::<0, 0, R>(low, high, &small, block_of_x.quants, eights, &mut totals);
            two_of_four::<0, 1, R>(low, high, &small, block_of_x.quants, eights, &mut totals);
            two_of_four::<1, 0, R>(low, high, &small, block_of_x.quants, eights, &mut totals);
            two_of_four::<1, 1, R>(low, high, &small, block_of_x.quants, eights, &mut totals);
            let scales = _mm512_castsi512_ps(halves(scales));
            for (r, totals) in totals.as_chunks::<P>().0.iter().enumerate() {
                let term = _mm512_mul_ps(whole(totals), scales);
                add(&mut sums[r], term, last::<P>(block_of_x.scales, r));
            }
        }
    }
}

/// The same of a block of q6_k. Each half of 128 columns is four times 32, over 64 bytes of low and 32 bytes of high bits:
/// groups P and P + 2 share their low bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn two_of_four<const HALF: usize, const P: usize, const R: usize>(
    low: &[u8],
    high: &[u8],
    small: &[__m512i; 4],
    x: &[[i8; 256]; R],
    eights: &[[i32; 32]; R],
    totals: &mut [__m512i; R],
) {
    let mut products = [[_mm512_setzero_si512(); R]; 2];
    for s in 0..8 {
        let [packed] = registers(&low[(HALF * 16 + P * 8 + s) * 4 * ROWS..]);
        let two = again(&high[(HALF * 8 + s) * 4 * ROWS..], P == 0);
        for (which, products) in products.iter_mut().enumerate() {
            let within = P + 2 * which;
            let group = 4 * HALF + within;
            if s % 2 == 0 {
                for (products, eights) in products.iter_mut().zip(eights) {
                    *products = _mm512_set1_epi32(eights[group * 4 + s / 2]);
                }
            }
            let top = _mm512_and_si512(right_or_left(two, within), _mm512_set1_epi8(0x30));
            let w = _mm512_or_si512(nibble(packed, which), top);
            dot(w, x, group * 8 + s, products);
            if s % 2 == 1 {
                let j = 2 * group + s / 4;
                let scale = byte(small[j / 4], j % 4);
                let scale = _mm512_and_si512(scale, _mm512_set1_epi32(0xffff));
                for (total, products) in totals.iter_mut().zip(products) {
                    *total = _mm512_dpwssd_epi32(*total, *products, scale);
                }
            }
        }
    }
}

/// How many blocks, of `bytes` for a row, each of some strips has.
#[inline]
fn blocks(strips: &[&[u8]], bytes: usize) -> usize {
    strips.first().map_or(0, |strip| strip.len() / (bytes * ROWS))
}

/// The b-th block of each.
#[inline]
fn each<'a>(strips: &[&'a [u8]], b: usize, bytes: usize) -> impl Iterator<Item = &'a [u8]> {
    strips.iter().map(move |strip| &strip[b * bytes * ROWS..][..bytes * ROWS])
}

/// The high 4 bits of each byte where they are.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn high_nibble(x: __m512i) -> __m512i {
    _mm512_and_si512(x, _mm512_set1_epi8(0xf0u8 as i8))
}

/// Adds the products of four columns, the `piece`-th as many.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn dot<const R: usize, const B: usize>(
    w: __m512i,
    x: &[[i8; B]; R],
    piece: usize,
    products: &mut [__m512i; R],
) {
    for (products, x) in products.iter_mut().zip(x) {
        let four: [i8; 4] = x.as_chunks().0[piece];
        let four = _mm512_set1_epi32(i32::from_le_bytes(four.map(|x| x as u8)));
        *products = _mm512_dpbusd_epi32(*products, w, four);
    }
}

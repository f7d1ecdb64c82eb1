//! A strip by a few rows of activations: the weights meet them as they are unpacked, in registers, so that memory is asked
//! at an even pace.
//!
//! Schemes with blocks of 32 are multiplied so with any number of rows: eight registers are a block of half a strip, which
//! stay while row after row passes. Blocks of 256 are with up to four rows; with more, [`Span`](super::Span)s are faster.

use std::arch::x86_64::*;

use super::super::activations::{TILE, Tile, last};
use super::HALVES;
use super::multiply::{add, whole};
use super::unpack::{Fifths, Small, again, halves, moved, nibble, registers, widen};
use crate::quant::ROWS;

/// The first R rows of a tile, of P planes each; if R is 0, as many as there are sums.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
pub fn q8_0<const R: usize, const P: usize>(strip: &[u8], x: Tile, sums: &mut [[f32; ROWS]]) {
    let sums = if R == 0 { sums } else { &mut sums[..R] };
    let ones = _mm256_set1_epi16(1);
    for (b, block) in strip.as_chunks::<{ 34 * ROWS }>().0.iter().enumerate() {
        let x = x.block::<32, TILE>(b, 0);
        for half in 0..HALVES {
            let scales = _mm256_castsi256_ps(halves(block, half));
            let w: [__m256i; 8] = registers(&block[2 * ROWS..], half);
            let magnitudes = w.map(|w| _mm256_abs_epi8(w));
            let rows = x.quants.as_chunks::<P>().0.iter().zip(x.scales.as_chunks::<P>().0);
            for (sums, (x, of_x)) in sums.iter_mut().zip(rows) {
                let mut products = [_mm256_setzero_si256(); P];
                for (products, x) in products.iter_mut().zip(x) {
                    for s in 0..8 {
                        // |w| · (x · sign w): 2 · 128 · 127 fits 16 bits.
                        let pairs = _mm256_maddubs_epi16(magnitudes[s], _mm256_sign_epi8(four(x, s), w[s]));
                        *products = _mm256_add_epi32(*products, _mm256_madd_epi16(pairs, ones));
                    }
                }
                add(sums, half, _mm256_mul_ps(whole(&products), scales), of_x[P - 1]);
            }
        }
    }
}

/// q4_0, q4_1, q5_0 and q5_1, of N bytes: 4 bits of a weight, perhaps a fifth, and a minimum or else an offset.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
pub fn nibbles<const R: usize, const P: usize, const N: usize, const MINIMUM: bool, const FIFTHS: bool>(
    strip: &[u8],
    x: Tile,
    sums: &mut [[f32; ROWS]],
) {
    let sums = if R == 0 { sums } else { &mut sums[..R] };
    let ones = _mm256_set1_epi16(1);
    for (b, block) in strip.chunks_exact(N * ROWS).enumerate() {
        let (x, below, below_f32) =
            (x.block::<32, TILE>(b, 0), x.below::<TILE>(b, 0), x.below_f32::<TILE>(b, 0));
        let (numbers, rest) = block.split_at(if MINIMUM { 4 * ROWS } else { 2 * ROWS });
        let (fifths, words) = rest.split_at(if FIFTHS { 4 * ROWS } else { 0 });
        for half in 0..HALVES {
            let scales = _mm256_castsi256_ps(halves(numbers, half));
            let mut minima = _mm256_setzero_ps();
            if MINIMUM {
                minima = _mm256_castsi256_ps(halves(&numbers[2 * ROWS..], half));
            }
            let packed: [__m256i; 4] = registers(words, half);
            let mut w = [[_mm256_setzero_si256(); 4]; 2];
            for (s, packed) in packed.into_iter().enumerate() {
                (w[0][s], w[1][s]) = (nibble(packed, 0), nibble(packed, 1));
            }
            if FIFTHS {
                let [fifths] = registers(fifths, half);
                let fifths = Fifths::new(fifths);
                for (s, w) in w.as_flattened_mut().iter_mut().enumerate() {
                    *w = fifths.add(*w, s);
                }
            }
            for (r, sums) in sums.iter_mut().enumerate().take(TILE / P) {
                let mut products = [_mm256_setzero_si256(); P];
                for (plane, products) in products.iter_mut().enumerate() {
                    let (x, below) = (&x.quants[P * r + plane], below[P * r + plane]);
                    let mut pairs = [_mm256_setzero_si256(); 2];
                    for (i, pairs) in pairs.iter_mut().enumerate() {
                        *pairs = _mm256_maddubs_epi16(w[i][0], four(x, 4 * i));
                        for (s, w) in w[i].iter().enumerate().skip(1) {
                            *pairs = _mm256_add_epi16(*pairs, _mm256_maddubs_epi16(*w, four(x, 4 * i + s)));
                        }
                    }
                    *products = match FIFTHS {
                        // 32 columns' reach 8 · 2 · 15 · 127, 16 columns' 4 · 2 · 31 · 127: either fits 16 bits.
                        false => _mm256_madd_epi16(_mm256_add_epi16(pairs[0], pairs[1]), ones),
                        true => {
                            let [first, last] = pairs.map(|pairs| _mm256_madd_epi16(pairs, ones));
                            _mm256_add_epi32(first, last)
                        }
                    };
                    if !MINIMUM {
                        let below = _mm256_set1_epi32(below);
                        let offset = if FIFTHS {
                            _mm256_slli_epi32::<4>(below)
                        } else {
                            _mm256_slli_epi32::<3>(below)
                        };
                        *products = _mm256_add_epi32(*products, offset);
                    }
                }
                let mut term = _mm256_mul_ps(whole(&products), scales);
                if MINIMUM {
                    term = _mm256_fnmadd_ps(_mm256_set1_ps(last::<P>(below_f32, r)), minima, term);
                }
                add(sums, half, term, last::<P>(x.scales, r));
            }
        }
    }
}

/// q4_k and q5_k, of N bytes.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
pub fn nibbles_k<const R: usize, const P: usize, const N: usize, const FIFTHS: bool>(
    strip: &[u8],
    x: Tile,
    sums: &mut [[f32; ROWS]],
) {
    let sums = &mut sums[..R / P];
    for (b, block) in strip.chunks_exact(N * ROWS).enumerate() {
        let (block_of_x, thirty_twos) = (x.block::<256, R>(b, 0), x.thirty_twos::<R>(b, 0));
        let (numbers, rest) = block.split_at(4 * ROWS);
        let (small, rest) = rest.split_at(12 * ROWS);
        let (fifths, words) = rest.split_at(if FIFTHS { 32 * ROWS } else { 0 });
        let small = [Small::new(registers(small, 0)), Small::new(registers(small, HALVES - 1))];
        let mut totals = [[_mm256_setzero_si256(); R]; HALVES];
        two_groups::<0, R, FIFTHS>(words, fifths, &small, block_of_x.quants, &mut totals);
        two_groups::<1, R, FIFTHS>(words, fifths, &small, block_of_x.quants, &mut totals);
        two_groups::<2, R, FIFTHS>(words, fifths, &small, block_of_x.quants, &mut totals);
        two_groups::<3, R, FIFTHS>(words, fifths, &small, block_of_x.quants, &mut totals);
        for half in 0..HALVES {
            let scales = _mm256_castsi256_ps(halves(numbers, half));
            let minima = _mm256_castsi256_ps(halves(&numbers[2 * ROWS..], half));
            let small = &small[half].minima;
            let pairs: [__m256i; 4] = std::array::from_fn(|p| widen(small[p / 2], p % 2 * 2, p % 2 * 2 + 1));
            let rows = totals[half].as_chunks::<P>().0.iter().zip(thirty_twos.as_chunks::<P>().0);
            for (r, (totals, sums_of_x)) in rows.enumerate() {
                let below = sums_of_x.each_ref().map(|sums| by_sums(&pairs, sums));
                let term = _mm256_mul_ps(whole(totals), scales);
                let term = _mm256_fnmadd_ps(whole(&below), minima, term);
                add(&mut sums[r], half, term, last::<P>(block_of_x.scales, r));
            }
        }
    }
}

/// Adds the sums of groups 2P and 2P + 1, which share their bytes, times the groups' scales. P is known when compiling, so
/// that nothing is shifted by a variable.
#[inline]
#[target_feature(enable = "avx2")]
fn two_groups<const P: usize, const R: usize, const FIFTHS: bool>(
    words: &[u8],
    fifths: &[u8],
    small: &[Small; HALVES],
    x: &[[i8; 256]; R],
    totals: &mut [[__m256i; R]; HALVES],
) {
    for (half, (small, totals)) in small.iter().zip(totals).enumerate() {
        let scales = [2 * P, 2 * P + 1].map(|j| widen(small.scales[j / 4], j % 4, j % 4));
        let mut pairs = [[_mm256_setzero_si256(); R]; 2];
        for s in 0..8 {
            let [packed] = registers(&words[(P * 8 + s) * 4 * ROWS..], half);
            for (which, pairs) in pairs.iter_mut().enumerate() {
                let j = 2 * P + which;
                let mut w = nibble(packed, which);
                if FIFTHS {
                    let fifths = again(&fifths[s * 4 * ROWS..], half, P == 0 && which == 0);
                    let fifth = _mm256_and_si256(moved(fifths, j, 4), _mm256_set1_epi8(16));
                    w = _mm256_or_si256(w, fifth);
                }
                dot(w, x, 8 * j + s, pairs);
            }
            // Sums of 16 bits hold 32 columns of 4 bits, and 16 of 5.
            if s == 7 || FIFTHS && s == 3 {
                scaled(&mut pairs, scales, totals);
            }
        }
    }
}

#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
pub fn q6_k<const R: usize, const P: usize>(strip: &[u8], x: Tile, sums: &mut [[f32; ROWS]]) {
    let sums = &mut sums[..R / P];
    for (b, block) in strip.as_chunks::<{ 210 * ROWS }>().0.iter().enumerate() {
        let (block_of_x, sixteens) = (x.block::<256, R>(b, 0), x.sixteens::<R>(b, 0));
        let (low, rest) = block.split_at(128 * ROWS);
        let (high, rest) = rest.split_at(64 * ROWS);
        let (small, scales) = rest.split_at(16 * ROWS);
        let small: [[__m256i; 4]; HALVES] = [registers(small, 0), registers(small, HALVES - 1)];
        let mut totals = [[_mm256_setzero_si256(); R]; HALVES];
        two_of_four::<0, 0, R>(low, high, &small, block_of_x.quants, &mut totals);
        two_of_four::<0, 1, R>(low, high, &small, block_of_x.quants, &mut totals);
        two_of_four::<1, 0, R>(low, high, &small, block_of_x.quants, &mut totals);
        two_of_four::<1, 1, R>(low, high, &small, block_of_x.quants, &mut totals);
        for half in 0..HALVES {
            let scales = _mm256_castsi256_ps(halves(scales, half));
            let small = &small[half];
            let pairs: [__m256i; 8] = std::array::from_fn(|p| widen(small[p / 2], p % 2 * 2, p % 2 * 2 + 1));
            let mut signed = totals[half];
            for (signed, sums) in signed.iter_mut().zip(sixteens) {
                *signed = _mm256_sub_epi32(*signed, _mm256_slli_epi32::<5>(by_sums(&pairs, sums)));
            }
            for (r, signed) in signed.as_chunks::<P>().0.iter().enumerate() {
                let term = _mm256_mul_ps(whole(signed), scales);
                add(&mut sums[r], half, term, last::<P>(block_of_x.scales, r));
            }
        }
    }
}

/// The same of a block of q6_k. Each 128 columns are four times 32, over 64 bytes of low and 32 bytes of high bits: groups P
/// and P + 2 share their low bits.
#[inline]
#[target_feature(enable = "avx2")]
fn two_of_four<const H: usize, const P: usize, const R: usize>(
    low: &[u8],
    high: &[u8],
    small: &[[__m256i; 4]; HALVES],
    x: &[[i8; 256]; R],
    totals: &mut [[__m256i; R]; HALVES],
) {
    for (half, (small, totals)) in small.iter().zip(totals).enumerate() {
        let mut pairs = [[_mm256_setzero_si256(); R]; 2];
        for s in 0..8 {
            let [packed] = registers(&low[(H * 16 + P * 8 + s) * 4 * ROWS..], half);
            let two = again(&high[(H * 8 + s) * 4 * ROWS..], half, P == 0);
            for (which, pairs) in pairs.iter_mut().enumerate() {
                let within = P + 2 * which;
                let top = _mm256_and_si256(moved(two, 2 * within, 4), _mm256_set1_epi8(0x30));
                dot(_mm256_or_si256(nibble(packed, which), top), x, (4 * H + within) * 8 + s, pairs);
            }
            // Sums of 16 bits hold 8 columns of 6 bits.
            if s % 2 == 1 {
                let scales = [P, P + 2].map(|within| {
                    let j = 2 * (4 * H + within) + s / 4;
                    widen(small[j / 4], j % 4, j % 4)
                });
                scaled(&mut pairs, scales, totals);
            }
        }
    }
}

/// Adds sums of two groups, times the groups' scales, and begins them again.
#[inline]
#[target_feature(enable = "avx2")]
fn scaled<const R: usize>(pairs: &mut [[__m256i; R]; 2], scales: [__m256i; 2], totals: &mut [__m256i; R]) {
    for (pairs, scale) in pairs.iter_mut().zip(scales) {
        for (pairs, total) in pairs.iter_mut().zip(totals.iter_mut()) {
            *total = _mm256_add_epi32(*total, _mm256_madd_epi16(*pairs, scale));
            *pairs = _mm256_setzero_si256();
        }
    }
}

/// Adds the products of four columns, the `piece`-th as many, two by two in 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn dot<const R: usize>(w: __m256i, x: &[[i8; 256]; R], piece: usize, pairs: &mut [__m256i; R]) {
    for (pairs, x) in pairs.iter_mut().zip(x) {
        *pairs = _mm256_add_epi16(*pairs, _mm256_maddubs_epi16(w, four(x, piece)));
    }
}

/// Numbers of a block's groups, two side by side, times sums of activations.
#[inline]
#[target_feature(enable = "avx2")]
fn by_sums<const N: usize>(pairs: &[__m256i; N], sums: &[i32; N]) -> __m256i {
    let products = |i: usize| _mm256_madd_epi16(pairs[i], _mm256_set1_epi32(sums[i]));
    (1..N).fold(products(0), |total, i| _mm256_add_epi32(total, products(i)))
}

/// Four activations, the `piece`-th as many, in every lane.
#[inline]
#[target_feature(enable = "avx2")]
fn four<const B: usize>(x: &[i8; B], piece: usize) -> __m256i {
    let four: [i8; 4] = x.as_chunks().0[piece];
    _mm256_set1_epi32(i32::from_le_bytes(four.map(|x| x as u8)))
}

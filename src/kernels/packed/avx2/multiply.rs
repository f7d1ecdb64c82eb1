//! Rows of activations by unpacked weights of the k-schemes.

use std::arch::x86_64::*;

use super::super::activations::{Tile, last};
use super::super::rounding::STEPS;
use super::super::span::{Lanes, Span};
use super::{HALVES, LANES, load};
use crate::quant::ROWS;

/// Sums of R rows of activations by the halves of a strip.
type Products<const R: usize> = [[__m256i; HALVES]; R];

/// The k-schemes of so many bits a weight, with blocks of 256 weights. Of R rows of quants P are planes of one row.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
pub fn k<const R: usize, const P: usize, const BITS: u32>(
    span: &Span,
    x: Tile,
    row: usize,
    sums: &mut [[f32; ROWS]],
) {
    let sums = &mut sums[..R / P];
    let block = x.block::<256, R>(0, row);
    let mut products = [[_mm256_setzero_si256(); HALVES]; R];
    for j in 0..if BITS == 6 { 16 } else { 8 } {
        let scales = [load(&span.groups[j], 0), load(&span.groups[j], HALVES - 1)];
        // SAFETY: this function has the features.
        #[allow(unsafe_code)]
        unsafe {
            match BITS {
                4 => dot::<R, 8>(&span.words, block.quants, j, scales, &mut products),
                5 => {
                    dot::<R, 4>(&span.words, block.quants, 2 * j, scales, &mut products);
                    dot::<R, 4>(&span.words, block.quants, 2 * j + 1, scales, &mut products);
                }
                _ => {
                    dot::<R, 2>(&span.words, block.quants, 2 * j, scales, &mut products);
                    dot::<R, 2>(&span.words, block.quants, 2 * j + 1, scales, &mut products);
                }
            }
        }
    }
    for half in 0..HALVES {
        let (scales, minima) = (floats(&span.scales[0], half), floats(&span.minima[0], half));
        let [mut totals, mut below] = [[_mm256_setzero_si256(); R]; 2];
        for r in 0..R {
            let sums_of_x: &[i32] = match BITS {
                6 => &x.sixteens::<R>(0, row)[r],
                _ => &x.thirty_twos::<R>(0, row)[r],
            };
            for (pair, sums) in span.pairs.iter().zip(sums_of_x) {
                let products = _mm256_madd_epi16(load(pair, half), _mm256_set1_epi32(*sums));
                below[r] = _mm256_add_epi32(below[r], products);
            }
            totals[r] = products[r][half];
            if BITS == 6 {
                totals[r] = _mm256_sub_epi32(totals[r], _mm256_slli_epi32::<5>(below[r]));
            }
        }
        let rows = totals.as_chunks::<P>().0.iter().zip(below.as_chunks::<P>().0);
        for (r, (totals, below)) in rows.enumerate() {
            let mut term = _mm256_mul_ps(whole(totals), scales);
            if BITS < 6 {
                term = _mm256_fnmadd_ps(whole(below), minima, term);
            }
            add(&mut sums[r], half, term, last::<P>(block.scales, r));
        }
    }
}

/// The integers of a row's planes in f32: those of two are put together.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn whole<const P: usize>(planes: &[__m256i; P]) -> __m256 {
    let (first, last) = (planes[0], planes[P - 1]);
    match P {
        1 => _mm256_cvtepi32_ps(last),
        _ => {
            _mm256_fmadd_ps(_mm256_set1_ps(STEPS as f32), _mm256_cvtepi32_ps(first), _mm256_cvtepi32_ps(last))
        }
    }
}

/// Adds the products of 4 · N columns, the `piece`-th as many, times a scale in each 16 bits. Always part of its caller,
/// whose registers `products` are.
///
/// Of N lines of weights below L, sums in 16 bits reach N · 2 · L · 127: that fits for N = 8 up to L = 15, for N = 4 up to
/// L = 31, for N = 2 up to L = 63.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn dot<const R: usize, const N: usize>(
    words: &[Lanes],
    x: &[[i8; 256]; R],
    piece: usize,
    scales: [__m256i; HALVES],
    products: &mut Products<R>,
) {
    let words: &[Lanes; N] = &words.as_chunks().0[piece];
    // SAFETY: by the caller's promise; half a line is 32 bytes.
    unsafe {
        let mut pairs = [[_mm256_setzero_si256(); HALVES]; R];
        for (n, words) in words.iter().enumerate() {
            let w: [__m256i; HALVES] =
                std::array::from_fn(|half| _mm256_load_si256(words.0.as_ptr().add(half * 4 * LANES).cast()));
            for r in 0..R {
                let four: [i8; 4] = x[r].as_chunks().0[piece * N + n];
                let four = _mm256_set1_epi32(i32::from_le_bytes(four.map(|x| x as u8)));
                for half in 0..HALVES {
                    let product = _mm256_maddubs_epi16(w[half], four);
                    pairs[r][half] = if n == 0 { product } else { _mm256_add_epi16(pairs[r][half], product) };
                }
            }
        }
        for r in 0..R {
            for half in 0..HALVES {
                let scaled = _mm256_madd_epi16(pairs[r][half], scales[half]);
                products[r][half] = _mm256_add_epi32(products[r][half], scaled);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn floats(lanes: &Lanes, half: usize) -> __m256 {
    _mm256_castsi256_ps(load(lanes, half))
}

/// Adds eight rows' terms, times the activations' scale, to their sums.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn add(sums: &mut [f32; ROWS], half: usize, terms: __m256, scale: f32) {
    let sums: &mut [f32; LANES] = &mut sums.as_chunks_mut().0[half];
    // SAFETY: the array is eight f32; loads and stores ask for no alignment.
    #[allow(unsafe_code)]
    unsafe {
        let sum = _mm256_fmadd_ps(terms, _mm256_set1_ps(scale), _mm256_loadu_ps(sums.as_ptr()));
        _mm256_storeu_ps(sums.as_mut_ptr(), sum);
    }
}

//! Rows of activations by unpacked weights.

use std::arch::x86_64::*;

use super::super::activations::{Tile, last};
use super::super::rounding::STEPS;
use super::super::span::{Lanes, Span};
use super::{Out, load};
use crate::quant::ROWS;

/// Schemes with blocks of 32 weights, which are `2^SHIFT` too large, or have minima. Of R rows of quants P are planes of one
/// row.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn blocks<const R: usize, const P: usize, const S: usize, const SHIFT: u32, const MINIMUM: bool>(
    spans: &[Span; S],
    x: Tile,
    row: usize,
    out: Out,
) {
    let out = out.rows::<S>(R / P);
    for b in 0..spans[0].blocks {
        // All that is checked comes first: otherwise one strip's products are moved behind the other's.
        let (block, below) = (x.block::<32, R>(b, row), x.below::<R>(b, row));
        let below_f32 = x.below_f32::<R>(b, row);
        let words: [&[Lanes; 8]; S] = std::array::from_fn(|s| &spans[s].words.as_chunks().0[b]);
        let scales: [&Lanes; S] = std::array::from_fn(|s| &spans[s].scales[b]);
        let minima: [&Lanes; S] = std::array::from_fn(|s| &spans[s].minima[b]);
        let mut products = [[_mm512_setzero_si512(); S]; R];
        if !MINIMUM {
            for (products, below) in products.iter_mut().zip(below) {
                *products = [_mm512_slli_epi32::<SHIFT>(_mm512_set1_epi32(*below)); S];
            }
        }
        // SAFETY: this function has the features.
        #[allow(unsafe_code)]
        unsafe {
            dot(words, block.quants, 0, &mut products);
        }
        for r in 0..R / P {
            for s in 0..S {
                let planes: [__m512i; P] = std::array::from_fn(|plane| products[P * r + plane][s]);
                let mut term = _mm512_mul_ps(whole(&planes), floats(scales[s]));
                if MINIMUM {
                    let below = _mm512_set1_ps(last::<P>(below_f32, r));
                    term = _mm512_fnmadd_ps(below, floats(minima[s]), term);
                }
                // SAFETY: the pointers are to R / P sums each, of a slice that nothing else borrows meanwhile.
                #[allow(unsafe_code)]
                unsafe {
                    add(&mut *out[s].add(r), term, last::<P>(block.scales, r));
                }
            }
        }
    }
}

/// The k-schemes of so many bits a weight, with blocks of 256 weights. Sums of products have these factors:
///
/// - 4 bits: 16 columns reach 16 · 15 · 127 = 30480, which fits 16 bits, so that `vpdpwssd` multiplies by a group's scale
///   and adds, in one operation; a multiplication of 32 bits and an addition are three.
/// - 6 bits: so do 8 columns, 8 · 32 · 127 = 32512, if the weights are made signed first.
/// - 5 bits: 8 columns would fit, but as many operations more would be needed as are saved.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn k<const R: usize, const P: usize, const S: usize, const BITS: u32>(
    spans: &[Span; S],
    x: Tile,
    row: usize,
    out: Out,
) {
    let out = out.rows::<S>(R / P);
    let (block, thirty_twos, eights) =
        (x.block::<256, R>(0, row), x.thirty_twos::<R>(0, row), x.eights::<R>(0, row));
    let mut totals = [[_mm512_setzero_si512(); S]; R];
    for j in 0..8 {
        match BITS {
            4 => {
                for half in 0..2 {
                    let mut products = [[_mm512_setzero_si512(); S]; R];
                    let words: [&[Lanes; 4]; S] =
                        std::array::from_fn(|s| &spans[s].words.as_chunks().0[2 * j + half]);
                    // SAFETY: this function has the features.
                    #[allow(unsafe_code)]
                    unsafe {
                        dot(words, block.quants, 2 * j + half, &mut products);
                    }
                    for s in 0..S {
                        let scale = load(&spans[s].groups[j]);
                        for r in 0..R {
                            totals[r][s] = _mm512_dpwssd_epi32(totals[r][s], products[r][s], scale);
                        }
                    }
                }
            }
            5 => {
                let mut products = [[_mm512_setzero_si512(); S]; R];
                let words: [&[Lanes; 8]; S] = std::array::from_fn(|s| &spans[s].words.as_chunks().0[j]);
                // SAFETY: this function has the features.
                #[allow(unsafe_code)]
                unsafe {
                    dot(words, block.quants, j, &mut products);
                }
                for s in 0..S {
                    let scale = load(&spans[s].groups[j]);
                    for r in 0..R {
                        let scaled = _mm512_mullo_epi32(products[r][s], scale);
                        totals[r][s] = _mm512_add_epi32(totals[r][s], scaled);
                    }
                }
            }
            _ => {
                for quarter in 0..4 {
                    let at = 4 * j + quarter;
                    let mut products = [[_mm512_setzero_si512(); S]; R];
                    for (products, eights) in products.iter_mut().zip(eights) {
                        *products = [_mm512_set1_epi32(eights[at]); S];
                    }
                    let words: [&[Lanes; 2]; S] = std::array::from_fn(|s| &spans[s].words.as_chunks().0[at]);
                    // SAFETY: this function has the features.
                    #[allow(unsafe_code)]
                    unsafe {
                        dot(words, block.quants, at, &mut products);
                    }
                    for s in 0..S {
                        let scale = load(&spans[s].groups[2 * j + quarter / 2]);
                        for r in 0..R {
                            totals[r][s] = _mm512_dpwssd_epi32(totals[r][s], products[r][s], scale);
                        }
                    }
                }
            }
        }
    }
    for (s, span) in spans.iter().enumerate() {
        let scales = floats(&span.scales[0]);
        for r in 0..R / P {
            let planes: [__m512i; P] = std::array::from_fn(|plane| totals[P * r + plane][s]);
            let mut term = _mm512_mul_ps(whole(&planes), scales);
            if BITS < 6 {
                let below: [__m512i; P] =
                    std::array::from_fn(|plane| below(span, &thirty_twos[P * r + plane]));
                term = _mm512_fnmadd_ps(whole(&below), floats(&span.minima[0]), term);
            }
            // SAFETY: the pointers are to R / P sums each, of a slice that nothing else borrows meanwhile.
            #[allow(unsafe_code)]
            unsafe {
                add(&mut *out[s].add(r), term, last::<P>(block.scales, r));
            }
        }
    }
}

/// Of a block of a k-scheme the activations times the minima.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn below(span: &Span, sums: &[i32; 4]) -> __m512i {
    let mut below = _mm512_setzero_si512();
    for (pair, sums) in span.pairs.iter().zip(sums) {
        below = _mm512_dpwssd_epi32(below, load(pair), _mm512_set1_epi32(*sums));
    }
    below
}

/// The integers of a row's planes in f32: those of two are put together.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn whole<const P: usize>(planes: &[__m512i; P]) -> __m512 {
    let (first, last) = (planes[0], planes[P - 1]);
    match P {
        1 => _mm512_cvtepi32_ps(last),
        _ => {
            _mm512_fmadd_ps(_mm512_set1_ps(STEPS as f32), _mm512_cvtepi32_ps(first), _mm512_cvtepi32_ps(last))
        }
    }
}

/// Adds the products of 4 · N columns: of each row the `piece`-th as many. Always part of its caller, whose registers
/// `products` are; as a call of its own, which it was if the compiler might choose, they went through memory.
///
/// # Safety
/// The processor has AVX512-VNNI.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn dot<const R: usize, const S: usize, const N: usize, const B: usize>(
    words: [&[Lanes; N]; S],
    x: &[[i8; B]; R],
    piece: usize,
    products: &mut [[__m512i; S]; R],
) {
    for n in 0..N {
        // SAFETY: by the caller's promise; each is 64 bytes on a multiple of 64.
        let words: [__m512i; S] =
            std::array::from_fn(|s| unsafe { _mm512_load_si512(words[s][n].0.as_ptr().cast()) });
        for r in 0..R {
            let four: [i8; 4] = x[r].as_chunks().0[piece * N + n];
            for s in 0..S {
                // SAFETY: by the caller's promise.
                products[r][s] = unsafe {
                    let four = _mm512_set1_epi32(i32::from_le_bytes(four.map(|x| x as u8)));
                    _mm512_dpbusd_epi32(products[r][s], words[s], four)
                };
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub fn floats(lanes: &Lanes) -> __m512 {
    _mm512_castsi512_ps(load(lanes))
}

/// Adds sixteen rows' terms, times the activations' scale, to their sums.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn add(sums: &mut [f32; ROWS], terms: __m512, scale: f32) {
    // SAFETY: the array is sixteen f32; loads and stores ask for no alignment.
    #[allow(unsafe_code)]
    unsafe {
        let sum = _mm512_fmadd_ps(terms, _mm512_set1_ps(scale), _mm512_loadu_ps(sums.as_ptr()));
        _mm512_storeu_ps(sums.as_mut_ptr(), sum);
    }
}

//! The packed product with AVX512-VNNI: sixteen rows in the sixteen lanes of a register, four bytes of each.
//!
//! The layout needs no shuffle: a register of weights is one load, four activations are one broadcast that `vpdpbusd`
//! takes from memory. Blocks of a strip do not begin on lines, so half of the loads touch two.
//!
//! The instruction multiplies unsigned by signed bytes, and weights are the unsigned ones. Those of `q8_0` get
//! 128 more, which the activations' sum, times 128, takes away again.

use std::arch::x86_64::*;

use super::activations::{Block, Tile};
use crate::kernels::layout::ROWS;

/// How far ahead of its loads a kernel asks for weights, in bytes.
const AHEAD: usize = 8192;

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub fn q8_0<const M: usize>(strip: &[u8], x: Tile, out: &mut [[f32; ROWS]; M]) {
    for (b, block) in strip.as_chunks::<{ 34 * ROWS }>().0.iter().enumerate() {
        let x: Block<32, 1> = x.block(b);
        let (scales, words) = block.split_at(2 * ROWS);
        let scales = halves(scales);
        let mut w: [__m512i; 8] = registers(words);
        for w in &mut w {
            *w = _mm512_xor_si512(*w, _mm512_set1_epi8(i8::MIN));
        }
        for (out, i) in out.iter_mut().zip(0..x.quants.len()) {
            let offset = _mm512_set1_epi32(-128 * i32::from(x.sums[i][0]));
            let sum = _mm512_cvtepi32_ps(group(&w, &x.quants[i], offset));
            let scale = _mm512_mul_ps(scales, _mm512_set1_ps(x.scales[i]));
            add(out, _mm512_mul_ps(sum, scale));
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub fn q4_0<const M: usize>(strip: &[u8], x: Tile, out: &mut [[f32; ROWS]; M]) {
    for (b, block) in strip.as_chunks::<{ 18 * ROWS }>().0.iter().enumerate() {
        let x: Block<32, 1> = x.block(b);
        let (scales, words) = block.split_at(2 * ROWS);
        let scales = halves(scales);
        let packed: [__m512i; 4] = registers(words);
        let mut w = [_mm512_setzero_si512(); 8];
        for (s, packed) in packed.into_iter().enumerate() {
            w[s] = low(packed);
            w[4 + s] = low(_mm512_srli_epi16::<4>(packed));
        }
        for (out, i) in out.iter_mut().zip(0..x.quants.len()) {
            let offset = _mm512_set1_epi32(-8 * i32::from(x.sums[i][0]));
            let sum = _mm512_cvtepi32_ps(group(&w, &x.quants[i], offset));
            let scale = _mm512_mul_ps(scales, _mm512_set1_ps(x.scales[i]));
            add(out, _mm512_mul_ps(sum, scale));
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub fn q4_k<const M: usize>(strip: &[u8], x: Tile, out: &mut [[f32; ROWS]; M]) {
    for (b, block) in strip.as_chunks::<{ 144 * ROWS }>().0.iter().enumerate() {
        let x: Block<256, 8> = x.block(b);
        let (scales, rest) = block.split_at(2 * ROWS);
        let (minima, rest) = rest.split_at(2 * ROWS);
        let (small, words) = rest.split_at(12 * ROWS);
        let small = Small::new(registers(small));
        // Each half of the sum stays below 2^24 (4 · 32 · 15 · 127 · 63), so f32 holds it exactly and the two
        // halves' sum is the whole, rounded once: the same as the other sets' integer, without `vpmulld`.
        let mut sums = [[_mm512_setzero_ps(); 2]; M];
        for j in 0..8 {
            let mut w: [__m512i; 8] = registers(&words[j / 2 * 32 * ROWS..]);
            for w in &mut w {
                *w = low(if j % 2 == 0 { *w } else { _mm512_srli_epi16::<4>(*w) });
            }
            let scale = _mm512_cvtepi32_ps(byte(small.scales[j / 4], j % 4));
            for (x, sums) in x.quants.iter().zip(&mut sums) {
                let products = group(&w, &x.as_chunks().0[j], _mm512_setzero_si512());
                sums[j / 4] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), scale, sums[j / 4]);
            }
        }
        let (scales, minima) = (halves(scales), halves(minima));
        for (out, i) in out.iter_mut().zip(0..x.quants.len()) {
            let mut below = _mm512_setzero_si512();
            for (j, sum) in x.sums[i].iter().enumerate() {
                // A minimum has 6 bits and the sum 13: as pairs of 16 bits with zeros above, one `vpmaddwd`.
                let sum = _mm512_set1_epi32(i32::from(*sum as u16));
                below = _mm512_add_epi32(below, _mm512_madd_epi16(byte(small.minima[j / 4], j % 4), sum));
            }
            let scale = _mm512_set1_ps(x.scales[i]);
            let sum = _mm512_mul_ps(_mm512_add_ps(sums[i][0], sums[i][1]), _mm512_mul_ps(scales, scale));
            let below = _mm512_mul_ps(_mm512_cvtepi32_ps(below), _mm512_mul_ps(minima, scale));
            add(out, _mm512_sub_ps(sum, below));
        }
    }
}

/// 32 columns of sixteen rows, added to `sum`.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn group(w: &[__m512i; 8], x: &[i8; 32], mut sum: __m512i) -> __m512i {
    for (w, x) in w.iter().zip(x.as_chunks::<4>().0) {
        let four = _mm512_set1_epi32(i32::from_le_bytes(x.map(|x| x as u8)));
        sum = _mm512_dpbusd_epi32(sum, *w, four);
    }
    sum
}

/// The 6-bit scales and minima of sixteen rows: in each lane, one byte for each of four groups. As in `avx2`.
struct Small {
    scales: [__m512i; 2],
    minima: [__m512i; 2],
}

impl Small {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn new([a, b, c]: [__m512i; 3]) -> Self {
        let (six, four, top) = (_mm512_set1_epi8(63), _mm512_set1_epi8(15), _mm512_set1_epi8(0x30));
        let above = |x| _mm512_and_si512(_mm512_srli_epi16::<2>(x), top);
        let high = _mm512_and_si512(_mm512_srli_epi16::<4>(c), four);
        Self {
            scales: [_mm512_and_si512(a, six), _mm512_or_si512(_mm512_and_si512(c, four), above(a))],
            minima: [_mm512_and_si512(b, six), _mm512_or_si512(high, above(b))],
        }
    }
}

/// The low 4 bits of each byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn low(x: __m512i) -> __m512i {
    _mm512_and_si512(x, _mm512_set1_epi8(15))
}

/// Byte `at` of each lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn byte(x: __m512i, at: usize) -> __m512i {
    let shifted = _mm512_srl_epi32(x, _mm_cvtsi32_si128(8 * at as i32));
    _mm512_and_si512(shifted, _mm512_set1_epi32(0xff))
}

/// N pieces of 4 bytes of sixteen rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn registers<const N: usize>(words: &[u8]) -> [__m512i; N] {
    let mut out = [_mm512_setzero_si512(); N];
    for (out, lanes) in out.iter_mut().zip(words.as_chunks::<64>().0) {
        // SAFETY: the array is 64 bytes; the load asks for no alignment.
        #[allow(unsafe_code)]
        unsafe {
            *out = _mm512_loadu_si512(lanes.as_ptr().cast());
        }
        _mm_prefetch::<_MM_HINT_T0>(lanes.as_ptr().wrapping_add(AHEAD).cast());
    }
    out
}

/// The f16 numbers of sixteen rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn halves(numbers: &[u8]) -> __m512 {
    let numbers: &[u8; 32] = &numbers.as_chunks().0[0];
    // SAFETY: the array is 32 bytes; the load asks for no alignment.
    #[allow(unsafe_code)]
    unsafe {
        _mm512_cvtph_ps(_mm256_loadu_si256(numbers.as_ptr().cast()))
    }
}

/// Adds sixteen rows' terms to their sums.
#[inline]
#[target_feature(enable = "avx512f")]
fn add(out: &mut [f32; ROWS], terms: __m512) {
    // SAFETY: the array is sixteen f32; loads and stores ask for no alignment.
    #[allow(unsafe_code)]
    unsafe {
        let sum = _mm512_add_ps(_mm512_loadu_ps(out.as_ptr()), terms);
        _mm512_storeu_ps(out.as_mut_ptr(), sum);
    }
}

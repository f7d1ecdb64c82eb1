//! The packed product with AVX2: eight rows in the eight lanes of a register, four bytes of each.
//!
//! Four activations, broadcast, meet four weights of each row in `maddubs`; the lanes are the rows' sums and need
//! no horizontal addition. The weights of a group of 32 columns by 8 rows stay in eight registers for all rows of
//! activations, so one body is both the matrix-vector and the matrix product.

mod blocks;
mod k;

use std::arch::x86_64::*;

use super::AHEAD;
use super::activations::Tile;
use crate::kernels::Scheme;
use crate::kernels::layout::ROWS;

/// Rows in a register.
const LANES: usize = 8;

/// Registers that hold one piece of each row of the strip.
const HALVES: usize = ROWS / LANES;

/// See [`multiply_strip`](super::multiply_strip).
#[target_feature(enable = "avx2,fma,f16c")]
pub fn strip<const M: usize>(scheme: Scheme, strip: &[u8], x: Tile, out: &mut [[f32; ROWS]; M]) {
    match scheme {
        Scheme::Q8_0 => blocks::q8_0(strip, x, out),
        Scheme::Q4_0 => blocks::nibbles::<18, false, false, M>(strip, x, out),
        Scheme::Q4_1 => blocks::nibbles::<20, true, false, M>(strip, x, out),
        Scheme::Q5_0 => blocks::nibbles::<22, false, true, M>(strip, x, out),
        Scheme::Q5_1 => blocks::nibbles::<24, true, true, M>(strip, x, out),
        Scheme::Q4K => k::nibbles::<144, false, M>(strip, x, out),
        Scheme::Q5K => k::nibbles::<176, true, M>(strip, x, out),
        Scheme::Q6K => k::q6_k(strip, x, out),
        _ => {}
    }
}

/// Some columns of eight rows, four a register: per row, two 16-bit sums side by side. Of W registers of weights below
/// L they reach W · 2 · L · 127: that fits for W = 4 up to L = 32, for W = 2 up to L = 64.
#[inline]
#[target_feature(enable = "avx2")]
fn dot<const W: usize>(w: &[__m256i; W], x: &[[i8; 4]; W]) -> __m256i {
    let mut sum = _mm256_maddubs_epi16(w[0], four(x[0]));
    for s in 1..W {
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w[s], four(x[s])));
    }
    sum
}

/// Four activations, in every lane.
#[inline]
#[target_feature(enable = "avx2")]
fn four(x: [i8; 4]) -> __m256i {
    _mm256_set1_epi32(i32::from_le_bytes(x.map(|x| x as u8)))
}

/// The low (0) or high (1) 4 bits of each byte.
#[inline]
#[target_feature(enable = "avx2")]
fn nibble(x: __m256i, which: usize) -> __m256i {
    _mm256_and_si256(right(x, 4 * which), _mm256_set1_epi8(15))
}

/// Shifts by a number that is a constant once loops are unrolled.
#[inline]
#[target_feature(enable = "avx2")]
fn right(x: __m256i, bits: usize) -> __m256i {
    _mm256_srl_epi16(x, _mm_cvtsi32_si128(bits as i32))
}

/// N pieces of 4 bytes of the eight rows of a half.
#[inline]
#[target_feature(enable = "avx2")]
fn registers<const N: usize>(words: &[u8], half: usize) -> [__m256i; N] {
    let lanes = words.as_chunks::<32>().0;
    let mut out = [_mm256_setzero_si256(); N];
    for (s, out) in out.iter_mut().enumerate() {
        let lanes: &[u8; 32] = &lanes[s * HALVES + half];
        // SAFETY: the array is 32 bytes; the load asks for no alignment.
        #[allow(unsafe_code)]
        unsafe {
            *out = _mm256_loadu_si256(lanes.as_ptr().cast());
        }
        if half == 0 {
            _mm_prefetch::<_MM_HINT_T1>(lanes.as_ptr().wrapping_add(AHEAD[0]).cast());
            _mm_prefetch::<_MM_HINT_T0>(lanes.as_ptr().wrapping_add(AHEAD[1]).cast());
        }
    }
    out
}

/// The f16 numbers of the eight rows of a half.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn halves(numbers: &[u8], half: usize) -> __m256 {
    let numbers: &[u8; 16] = &numbers.as_chunks().0[half];
    // SAFETY: the array is 16 bytes; the load asks for no alignment.
    #[allow(unsafe_code)]
    unsafe {
        _mm256_cvtph_ps(_mm_loadu_si128(numbers.as_ptr().cast()))
    }
}

/// Adds eight rows' terms to their sums.
#[inline]
#[target_feature(enable = "avx2")]
fn add(out: &mut [f32; ROWS], half: usize, terms: __m256) {
    let out: &mut [f32; LANES] = &mut out.as_chunks_mut().0[half];
    // SAFETY: the array is eight f32; loads and stores ask for no alignment.
    #[allow(unsafe_code)]
    unsafe {
        let sum = _mm256_add_ps(_mm256_loadu_ps(out.as_ptr()), terms);
        _mm256_storeu_ps(out.as_mut_ptr(), sum);
    }
}

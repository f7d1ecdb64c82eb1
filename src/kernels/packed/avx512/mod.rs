//! The packed product with AVX512-VNNI: sixteen rows in the sixteen lanes of a register, four bytes of each.
//!
//! The layout needs no shuffle: a register of weights is one load, four activations are one broadcast that `vpdpbusd`
//! takes from memory. Blocks of a strip do not begin on lines, so half of the loads touch two.
//!
//! The instruction multiplies unsigned by signed bytes, and weights are the unsigned ones: what makes them signed, an
//! offset, is taken away again as the offset times the activations' sum.

mod blocks;
mod k;

use std::arch::x86_64::*;

use super::AHEAD;
use super::activations::Tile;
use crate::kernels::Scheme;
use crate::kernels::layout::ROWS;

/// See [`multiply_strip`](super::multiply_strip).
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
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

/// Some columns of sixteen rows, four a register, added to `sum`.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dot(w: &[__m512i], x: &[i8], mut sum: __m512i) -> __m512i {
    for (w, x) in w.iter().zip(x.as_chunks::<4>().0) {
        let four = _mm512_set1_epi32(i32::from_le_bytes(x.map(|x| x as u8)));
        sum = _mm512_dpbusd_epi32(sum, *w, four);
    }
    sum
}

/// The low (0) or high (1) 4 bits of each byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn nibble(x: __m512i, which: usize) -> __m512i {
    _mm512_and_si512(right(x, 4 * which), _mm512_set1_epi8(15))
}

/// Shifts by a number that is a constant once loops are unrolled.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn right(x: __m512i, bits: usize) -> __m512i {
    _mm512_srl_epi16(x, _mm_cvtsi32_si128(bits as i32))
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
        _mm_prefetch::<_MM_HINT_T1>(lanes.as_ptr().wrapping_add(AHEAD[0]).cast());
        _mm_prefetch::<_MM_HINT_T0>(lanes.as_ptr().wrapping_add(AHEAD[1]).cast());
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

//! Schemes with blocks of 32 weights.

use std::arch::x86_64::*;

use super::super::activations::{Block, Tile};
use super::{HALVES, add, dot, four, halves, nibble, registers};
use crate::kernels::layout::ROWS;

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub fn q8_0<const M: usize>(strip: &[u8], x: Tile, out: &mut [[f32; ROWS]; M]) {
    for (b, block) in strip.as_chunks::<{ 34 * ROWS }>().0.iter().enumerate() {
        let x: Block<32, 2> = x.block(b);
        let (scales, words) = block.split_at(2 * ROWS);
        for half in 0..HALVES {
            let scales = halves(scales, half);
            let w: [__m256i; 8] = registers(words, half);
            let mut magnitudes = [_mm256_setzero_si256(); 8];
            for (m, w) in magnitudes.iter_mut().zip(w) {
                *m = _mm256_abs_epi8(w);
            }
            for (out, i) in out.iter_mut().zip(0..x.quants.len()) {
                let mut sum = _mm256_setzero_si256();
                for (s, x) in x.quants[i].as_chunks().0.iter().enumerate() {
                    // |w| · (x · sign w): 2 · 128 · 127 fits 16 bits.
                    let pairs = _mm256_maddubs_epi16(magnitudes[s], _mm256_sign_epi8(four(*x), w[s]));
                    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
                }
                let scale = _mm256_mul_ps(scales, _mm256_set1_ps(x.scales[i]));
                add(out, half, _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale));
            }
        }
    }
}

/// q4_0, q4_1, q5_0 and q5_1, of N bytes: 4 bits of a weight, perhaps a fifth, and a minimum or else an offset.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub fn nibbles<const N: usize, const MINIMUM: bool, const FIFTHS: bool, const M: usize>(
    strip: &[u8],
    x: Tile,
    out: &mut [[f32; ROWS]; M],
) {
    let offset = if MINIMUM { 0 } else { 8 << u32::from(FIFTHS) };
    for (b, block) in strip.chunks_exact(N * ROWS).enumerate() {
        let x: Block<32, 2> = x.block(b);
        let (scales, rest) = block.split_at(2 * ROWS);
        let (minima, rest) = rest.split_at(if MINIMUM { 2 * ROWS } else { 0 });
        let (fifths, words) = rest.split_at(if FIFTHS { 4 * ROWS } else { 0 });
        for half in 0..HALVES {
            let scales = halves(scales, half);
            let minima = if MINIMUM { halves(minima, half) } else { _mm256_setzero_ps() };
            let packed: [__m256i; 4] = registers(words, half);
            let mut w = [[_mm256_setzero_si256(); 4]; 2];
            for (s, packed) in packed.into_iter().enumerate() {
                w[0][s] = nibble(packed, 0);
                w[1][s] = nibble(packed, 1);
            }
            if FIFTHS {
                let [fifths] = registers(fifths, half);
                add_fifths(w.as_flattened_mut(), fifths);
            }
            for (out, i) in out.iter_mut().zip(0..x.quants.len()) {
                let [first, last] = x.quants[i].as_chunks().0.as_chunks::<4>().0 else { continue };
                let ones = _mm256_set1_epi16(1);
                let first = _mm256_madd_epi16(dot(&w[0], first), ones);
                let last = _mm256_madd_epi16(dot(&w[1], last), ones);
                let offset = _mm256_set1_epi32(offset * x.sum(i));
                let sum = _mm256_sub_epi32(_mm256_add_epi32(first, last), offset);
                let scale = _mm256_set1_ps(x.scales[i]);
                let mut term = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(scales, scale));
                if MINIMUM {
                    let x_sum = _mm256_set1_ps(x.sum(i) as f32);
                    term = _mm256_add_ps(term, _mm256_mul_ps(x_sum, _mm256_mul_ps(minima, scale)));
                }
                add(out, half, term);
            }
        }
    }
}

/// Adds 16 to the bytes of columns whose bit of the lane is set.
#[inline]
#[target_feature(enable = "avx2")]
fn add_fifths(w: &mut [__m256i], fifths: __m256i) {
    let lane = _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c));
    for (s, w) in w.iter_mut().enumerate() {
        // Four columns' bits are half of a byte.
        let spread = _mm256_or_si256(lane, _mm256_set1_epi8((s / 2) as i8));
        let bits = _mm256_set1_epi32(if s % 2 == 0 { 0x0804_0201 } else { 0x8040_2010_u32 as i32 });
        let of_columns = _mm256_and_si256(_mm256_shuffle_epi8(fifths, spread), bits);
        let set = _mm256_and_si256(_mm256_cmpeq_epi8(of_columns, bits), _mm256_set1_epi8(16));
        *w = _mm256_or_si256(*w, set);
    }
}

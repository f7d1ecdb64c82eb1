//! Schemes with blocks of 32 weights.

use std::arch::x86_64::*;

use super::super::activations::{Block, Tile};
use super::{add, dot, halves, nibble, registers};
use crate::kernels::layout::ROWS;

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub fn q8_0<const M: usize>(strip: &[u8], x: Tile, out: &mut [[f32; ROWS]; M]) {
    for (b, block) in strip.as_chunks::<{ 34 * ROWS }>().0.iter().enumerate() {
        let x: Block<32, 2> = x.block(b);
        let (scales, words) = block.split_at(2 * ROWS);
        let scales = halves(scales);
        let mut w: [__m512i; 8] = registers(words);
        for w in &mut w {
            *w = _mm512_xor_si512(*w, _mm512_set1_epi8(i8::MIN));
        }
        for (out, i) in out.iter_mut().zip(0..x.quants.len()) {
            let offset = _mm512_set1_epi32(-128 * x.sum(i));
            let sum = _mm512_cvtepi32_ps(dot(&w, &x.quants[i], offset));
            let scale = _mm512_mul_ps(scales, _mm512_set1_ps(x.scales[i]));
            add(out, _mm512_mul_ps(sum, scale));
        }
    }
}

/// q4_0, q4_1, q5_0 and q5_1, of N bytes: 4 bits of a weight, perhaps a fifth, and a minimum or else an offset.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
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
        let scales = halves(scales);
        let minima = if MINIMUM { halves(minima) } else { _mm512_setzero_ps() };
        let packed: [__m512i; 4] = registers(words);
        let mut w = [_mm512_setzero_si512(); 8];
        for (s, packed) in packed.into_iter().enumerate() {
            w[s] = nibble(packed, 0);
            w[4 + s] = nibble(packed, 1);
        }
        if FIFTHS {
            let [fifths] = registers(fifths);
            add_fifths(&mut w, fifths);
        }
        for (out, i) in out.iter_mut().zip(0..x.quants.len()) {
            let sum = dot(&w, &x.quants[i], _mm512_set1_epi32(-offset * x.sum(i)));
            let scale = _mm512_set1_ps(x.scales[i]);
            let mut term = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(scales, scale));
            if MINIMUM {
                let x_sum = _mm512_set1_ps(x.sum(i) as f32);
                term = _mm512_add_ps(term, _mm512_mul_ps(x_sum, _mm512_mul_ps(minima, scale)));
            }
            add(out, term);
        }
    }
}

/// Adds 16 to the bytes of columns whose bit of the lane is set.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add_fifths(w: &mut [__m512i; 8], fifths: __m512i) {
    let lane = _mm512_set4_epi32(0x0c0c_0c0c, 0x0808_0808, 0x0404_0404, 0);
    for (s, w) in w.iter_mut().enumerate() {
        // Four columns' bits are half of a byte.
        let spread = _mm512_or_si512(lane, _mm512_set1_epi8((s / 2) as i8));
        let bits = _mm512_set1_epi32(if s % 2 == 0 { 0x0804_0201 } else { 0x8040_2010_u32 as i32 });
        let set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(fifths, spread), bits);
        *w = _mm512_mask_add_epi8(*w, set, *w, _mm512_set1_epi8(16));
    }
}

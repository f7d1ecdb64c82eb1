//! The k-schemes: blocks of 256 weights with scales of their own for every 16 or 32.

use std::arch::x86_64::*;

use super::super::activations::{Block, Tile, pair};
use super::{add, dot, halves, nibble, registers, right};
use crate::kernels::layout::ROWS;

/// q4_k and q5_k, of N bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub fn nibbles<const N: usize, const FIFTHS: bool, const M: usize>(
    strip: &[u8],
    x: Tile,
    out: &mut [[f32; ROWS]; M],
) {
    for (b, block) in strip.chunks_exact(N * ROWS).enumerate() {
        let x: Block<256, 16> = x.block(b);
        let (scales, rest) = block.split_at(2 * ROWS);
        let (minima, rest) = rest.split_at(2 * ROWS);
        let (small, rest) = rest.split_at(12 * ROWS);
        let (fifths, words) = rest.split_at(if FIFTHS { 32 * ROWS } else { 0 });
        let small = Small::new(registers(small));
        let fifths: [__m512i; 8] = registers(fifths);
        let mut sums = [_mm512_setzero_si512(); M];
        two_groups::<0, FIFTHS>(words, &fifths, &small, x.quants, &mut sums);
        two_groups::<1, FIFTHS>(words, &fifths, &small, x.quants, &mut sums);
        two_groups::<2, FIFTHS>(words, &fifths, &small, x.quants, &mut sums);
        two_groups::<3, FIFTHS>(words, &fifths, &small, x.quants, &mut sums);
        let (scales, minima) = (halves(scales), halves(minima));
        for (out, i) in out.iter_mut().zip(0..x.quants.len()) {
            let mut below = _mm512_setzero_si512();
            for j in 0..8 {
                let minimum = widen(small.minima[j / 4], j % 4, j % 4);
                below = _mm512_add_epi32(
                    below,
                    _mm512_madd_epi16(minimum, _mm512_set1_epi32(pair(&x.sums[i], j))),
                );
            }
            let scale = _mm512_set1_ps(x.scales[i]);
            let sum = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[i]), _mm512_mul_ps(scales, scale));
            let below = _mm512_mul_ps(_mm512_cvtepi32_ps(below), _mm512_mul_ps(minima, scale));
            add(out, _mm512_sub_ps(sum, below));
        }
    }
}

/// Adds the sums of groups 2P and 2P + 1, which share their bytes, times the groups' scales, for every row of
/// activations. P is known when compiling, so that nothing is shifted by a variable or goes through memory.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn two_groups<const P: usize, const FIFTHS: bool>(
    words: &[u8],
    fifths: &[__m512i; 8],
    small: &Small,
    x: &[[i8; 256]],
    sums: &mut [__m512i],
) {
    let packed: [__m512i; 8] = registers(&words[P * 32 * ROWS..]);
    for which in 0..2 {
        let j = 2 * P + which;
        let mut w = [_mm512_setzero_si512(); 8];
        for (s, w) in w.iter_mut().enumerate() {
            *w = nibble(packed[s], which);
            if FIFTHS {
                let fifth = _mm512_and_si512(right(fifths[s], j), _mm512_set1_epi8(1));
                *w = _mm512_or_si512(*w, _mm512_slli_epi16::<4>(fifth));
            }
        }
        let scale = byte(small.scales[j / 4], j % 4);
        for (x, sum) in x.iter().zip(&mut *sums) {
            let products = dot(&w, &x[32 * j..][..32], _mm512_setzero_si512());
            *sum = _mm512_add_epi32(*sum, _mm512_mullo_epi32(products, scale));
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub fn q6_k<const M: usize>(strip: &[u8], x: Tile, out: &mut [[f32; ROWS]; M]) {
    for (b, block) in strip.as_chunks::<{ 210 * ROWS }>().0.iter().enumerate() {
        let x: Block<256, 16> = x.block(b);
        let (low, rest) = block.split_at(128 * ROWS);
        let (high, rest) = rest.split_at(64 * ROWS);
        let (small, scales) = rest.split_at(16 * ROWS);
        let small: [__m512i; 4] = registers(small);
        let mut sums = [_mm512_setzero_si512(); M];
        four_groups::<0>(low, high, &small, x.quants, &mut sums);
        four_groups::<1>(low, high, &small, x.quants, &mut sums);
        let scales = halves(scales);
        for (out, i) in out.iter_mut().zip(0..x.quants.len()) {
            let mut offset = _mm512_setzero_si512();
            for j in 0..8 {
                let two = widen(small[j / 2], j % 2 * 2, j % 2 * 2 + 1);
                offset =
                    _mm512_add_epi32(offset, _mm512_madd_epi16(two, _mm512_set1_epi32(pair(&x.sums[i], j))));
            }
            let sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums[i], _mm512_slli_epi32::<5>(offset)));
            add(out, _mm512_mul_ps(sum, _mm512_mul_ps(scales, _mm512_set1_ps(x.scales[i]))));
        }
    }
}

/// The same of half H of a block of q6_k: four groups of 32 columns, the low and the high 4 bits of 64 bytes and two
/// bits each of 32 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn four_groups<const H: usize>(
    low: &[u8],
    high: &[u8],
    small: &[__m512i; 4],
    x: &[[i8; 256]],
    sums: &mut [__m512i],
) {
    let high: [__m512i; 8] = registers(&high[H * 32 * ROWS..]);
    for p in 0..2 {
        let packed: [__m512i; 8] = registers(&low[(2 * H + p) * 32 * ROWS..]);
        for which in 0..2 {
            let within = p + 2 * which;
            let mut w = [_mm512_setzero_si512(); 8];
            for (s, w) in w.iter_mut().enumerate() {
                let two = _mm512_and_si512(right(high[s], 2 * within), _mm512_set1_epi8(3));
                *w = _mm512_or_si512(nibble(packed[s], which), _mm512_slli_epi16::<4>(two));
            }
            let (small, at) = (small[2 * H + within / 2], within % 2 * 2);
            let scales = [byte(small, at), byte(small, at + 1)];
            for (x, sum) in x.iter().zip(&mut *sums) {
                for (c, scale) in scales.into_iter().enumerate() {
                    let x = &x[(4 * H + within) * 32 + 16 * c..][..16];
                    let products = dot(&w[4 * c..4 * c + 4], x, _mm512_setzero_si512());
                    *sum = _mm512_add_epi32(*sum, _mm512_mullo_epi32(products, scale));
                }
            }
        }
    }
}

/// The 6-bit scales and minima of sixteen rows: in each lane, one byte for each of four groups.
struct Small {
    scales: [__m512i; 2],
    minima: [__m512i; 2],
}

impl Small {
    /// From the 12 bytes of each row. Four bytes at a time are just how ggml packs them: groups 0 to 3 have the
    /// low 6 bits of the first word (scales) and of the second (minima); 4 to 7 have their low 4 bits in the third
    /// word and the upper 2 on top of the first and second.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn new([a, b, c]: [__m512i; 3]) -> Self {
        let (six, top) = (_mm512_set1_epi8(63), _mm512_set1_epi8(0x30));
        let above = |x| _mm512_and_si512(right(x, 2), top);
        Self {
            scales: [_mm512_and_si512(a, six), _mm512_or_si512(nibble(c, 0), above(a))],
            minima: [_mm512_and_si512(b, six), _mm512_or_si512(nibble(c, 1), above(b))],
        }
    }
}

/// Byte `at` of each lane, signed.
#[inline]
#[target_feature(enable = "avx512f")]
fn byte(x: __m512i, at: usize) -> __m512i {
    let top = _mm512_sll_epi32(x, _mm_cvtsi32_si128(24 - 8 * at as i32));
    _mm512_srai_epi32::<24>(top)
}

/// Two of each lane's bytes, signed, as 16 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn widen(x: __m512i, first: usize, second: usize) -> __m512i {
    let lane = _mm512_set4_epi32(0x0c00_0c00, 0x0800_0800, 0x0400_0400, 0);
    // Each byte to the top of 16 bits; what comes below it is shifted out.
    let bytes = _mm512_set1_epi32((first << 8 | second << 24) as i32);
    _mm512_srai_epi16::<8>(_mm512_shuffle_epi8(x, _mm512_or_si512(lane, bytes)))
}

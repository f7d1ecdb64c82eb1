//! The k-schemes: blocks of 256 weights with scales of their own for every 16 or 32.

use std::arch::x86_64::*;

use super::super::activations::{Block, Tile, pair};
use super::{HALVES, add, dot, halves, nibble, registers, right};
use crate::kernels::layout::ROWS;

/// q4_k and q5_k, of N bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
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
        let small = [Small::new(registers(small, 0)), Small::new(registers(small, HALVES - 1))];
        let mut sums = [[_mm256_setzero_si256(); M]; HALVES];
        // Both halves of some bytes before the next bytes, so that memory is read at an even pace.
        for half in 0..HALVES {
            two_groups::<0, FIFTHS>(words, fifths, half, &small[half], x.quants, &mut sums[half]);
        }
        for half in 0..HALVES {
            two_groups::<1, FIFTHS>(words, fifths, half, &small[half], x.quants, &mut sums[half]);
        }
        for half in 0..HALVES {
            two_groups::<2, FIFTHS>(words, fifths, half, &small[half], x.quants, &mut sums[half]);
        }
        for half in 0..HALVES {
            two_groups::<3, FIFTHS>(words, fifths, half, &small[half], x.quants, &mut sums[half]);
        }
        for half in 0..HALVES {
            let (small, sums) = (&small[half], &sums[half]);
            let (scales, minima) = (halves(scales, half), halves(minima, half));
            for (out, i) in out.iter_mut().zip(0..x.quants.len()) {
                let mut below = _mm256_setzero_si256();
                for j in 0..8 {
                    let minimum = widen(small.minima[j / 4], j % 4, j % 4);
                    let products = _mm256_madd_epi16(minimum, _mm256_set1_epi32(pair(&x.sums[i], j)));
                    below = _mm256_add_epi32(below, products);
                }
                let scale = _mm256_set1_ps(x.scales[i]);
                let sum = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[i]), _mm256_mul_ps(scales, scale));
                let below = _mm256_mul_ps(_mm256_cvtepi32_ps(below), _mm256_mul_ps(minima, scale));
                add(out, half, _mm256_sub_ps(sum, below));
            }
        }
    }
}

/// Adds the sums of groups 2P and 2P + 1, which share their bytes, times the groups' scales, for every row of
/// activations. P is known when compiling, so that shuffles are constants and nothing goes through memory.
#[inline]
#[target_feature(enable = "avx2")]
fn two_groups<const P: usize, const FIFTHS: bool>(
    words: &[u8],
    fifths: &[u8],
    half: usize,
    small: &Small,
    x: &[[i8; 256]],
    sums: &mut [__m256i],
) {
    let packed: [__m256i; 8] = registers(&words[P * 32 * ROWS..], half);
    for which in 0..2 {
        let j = 2 * P + which;
        let mut w = [_mm256_setzero_si256(); 8];
        for (w, packed) in w.iter_mut().zip(packed) {
            *w = nibble(packed, which);
        }
        if FIFTHS {
            let fifths: [__m256i; 8] = registers(fifths, half);
            for (w, fifths) in w.iter_mut().zip(fifths) {
                let fifth = _mm256_and_si256(right(fifths, j), _mm256_set1_epi8(1));
                *w = _mm256_or_si256(*w, _mm256_slli_epi16(fifth, 4));
            }
        }
        let scale = widen(small.scales[j / 4], j % 4, j % 4);
        add_group::<4>(&w, x, j, [scale; 2], sums);
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub fn q6_k<const M: usize>(strip: &[u8], x: Tile, out: &mut [[f32; ROWS]; M]) {
    for (b, block) in strip.as_chunks::<{ 210 * ROWS }>().0.iter().enumerate() {
        let x: Block<256, 16> = x.block(b);
        let (low, rest) = block.split_at(128 * ROWS);
        let (high, rest) = rest.split_at(64 * ROWS);
        let (small, scales) = rest.split_at(16 * ROWS);
        let small: [[__m256i; 4]; HALVES] = [registers(small, 0), registers(small, HALVES - 1)];
        let mut sums = [[_mm256_setzero_si256(); M]; HALVES];
        for half in 0..HALVES {
            four_groups::<0>(low, high, half, &small[half], x.quants, &mut sums[half]);
        }
        for half in 0..HALVES {
            four_groups::<1>(low, high, half, &small[half], x.quants, &mut sums[half]);
        }
        for half in 0..HALVES {
            let scales = halves(scales, half);
            for (out, i) in out.iter_mut().zip(0..x.quants.len()) {
                let mut offset = _mm256_setzero_si256();
                for j in 0..8 {
                    let two = widen(small[half][j / 2], j % 2 * 2, j % 2 * 2 + 1);
                    let products = _mm256_madd_epi16(two, _mm256_set1_epi32(pair(&x.sums[i], j)));
                    offset = _mm256_add_epi32(offset, products);
                }
                let sum = _mm256_sub_epi32(sums[half][i], _mm256_slli_epi32(offset, 5));
                let scale = _mm256_mul_ps(scales, _mm256_set1_ps(x.scales[i]));
                add(out, half, _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale));
            }
        }
    }
}

/// The same of half H of a block of q6_k: four groups of 32 columns, the low and the high 4 bits of 64 bytes and two
/// bits each of 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn four_groups<const H: usize>(
    low: &[u8],
    high: &[u8],
    half: usize,
    small: &[__m256i; 4],
    x: &[[i8; 256]],
    sums: &mut [__m256i],
) {
    let high: [__m256i; 8] = registers(&high[H * 32 * ROWS..], half);
    for p in 0..2 {
        let packed: [__m256i; 8] = registers(&low[(2 * H + p) * 32 * ROWS..], half);
        for which in 0..2 {
            let within = p + 2 * which;
            let mut w = [_mm256_setzero_si256(); 8];
            for (s, w) in w.iter_mut().enumerate() {
                let two = _mm256_and_si256(right(high[s], 2 * within), _mm256_set1_epi8(3));
                *w = _mm256_or_si256(nibble(packed[s], which), _mm256_slli_epi16(two, 4));
            }
            let (small, at) = (small[2 * H + within / 2], within % 2 * 2);
            let scales = [widen(small, at, at), widen(small, at + 1, at + 1)];
            add_group::<2>(&w, x, 4 * H + within, scales, sums);
        }
    }
}

/// Adds the products of group j's 32 columns times the scales of its first and its last 16, for every row of
/// activations. W registers are added up in 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn add_group<const W: usize>(
    w: &[__m256i; 8],
    x: &[[i8; 256]],
    j: usize,
    scales: [__m256i; 2],
    sums: &mut [__m256i],
) {
    for (x, sum) in x.iter().zip(sums) {
        let x: &[[i8; 4]; 8] = &x.as_chunks().0.as_chunks().0[j];
        let (w, x) = (w.as_chunks::<W>().0, x.as_chunks::<W>().0);
        for c in 0..8 / W {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(dot(&w[c], &x[c]), scales[c * W / 4]));
        }
    }
}

/// The 6-bit scales and minima of eight rows: in each lane, one byte for each of four groups.
struct Small {
    scales: [__m256i; 2],
    minima: [__m256i; 2],
}

impl Small {
    /// From the 12 bytes of each row. Four bytes at a time are just how ggml packs them: groups 0 to 3 have the
    /// low 6 bits of the first word (scales) and of the second (minima); 4 to 7 have their low 4 bits in the third
    /// word and the upper 2 on top of the first and second.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new([a, b, c]: [__m256i; 3]) -> Self {
        let (six, top) = (_mm256_set1_epi8(63), _mm256_set1_epi8(0x30));
        let above = |x| _mm256_and_si256(right(x, 2), top);
        Self {
            scales: [_mm256_and_si256(a, six), _mm256_or_si256(nibble(c, 0), above(a))],
            minima: [_mm256_and_si256(b, six), _mm256_or_si256(nibble(c, 1), above(b))],
        }
    }
}

/// Two of each lane's bytes, signed, as 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(x: __m256i, first: usize, second: usize) -> __m256i {
    let lane = _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x0400_0400, 0x0800_0800, 0x0c00_0c00));
    // Each byte to the top of 16 bits; what comes below it is shifted out.
    let bytes = _mm256_set1_epi32((first << 8 | second << 24) as i32);
    _mm256_srai_epi16(_mm256_shuffle_epi8(x, _mm256_or_si256(lane, bytes)), 8)
}

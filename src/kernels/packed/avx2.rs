//! The packed product with AVX2: eight rows in the eight lanes of a register, four bytes of each.
//!
//! Four activations, broadcast, meet four weights of each row in `maddubs`; the lanes are the rows' sums and need
//! no horizontal addition. The weights of a group of 32 columns by 8 rows stay in eight registers for all rows of
//! activations, so one body is both the matrix-vector and the matrix product.

use std::arch::x86_64::*;

use super::activations::{Block, Tile};
use crate::kernels::layout::ROWS;

/// Rows in a register.
const LANES: usize = 8;

/// Registers that hold one piece of each row of the strip.
const HALVES: usize = ROWS / LANES;

/// How far ahead of its loads a kernel asks for weights, in bytes.
const AHEAD: usize = 8192;

#[target_feature(enable = "avx2,fma,f16c")]
pub fn q8_0<const M: usize>(strip: &[u8], x: Tile, out: &mut [[f32; ROWS]; M]) {
    for (b, block) in strip.as_chunks::<{ 34 * ROWS }>().0.iter().enumerate() {
        let x: Block<32, 1> = x.block(b);
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
                for s in 0..8 {
                    // |w| · (x · sign w): 2 · 128 · 127 fits 16 bits.
                    let signed = _mm256_sign_epi8(four(&x.quants[i], s), w[s]);
                    let pairs = _mm256_maddubs_epi16(magnitudes[s], signed);
                    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
                }
                let scale = _mm256_mul_ps(scales, _mm256_set1_ps(x.scales[i]));
                add(out, half, _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale));
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub fn q4_0<const M: usize>(strip: &[u8], x: Tile, out: &mut [[f32; ROWS]; M]) {
    for (b, block) in strip.as_chunks::<{ 18 * ROWS }>().0.iter().enumerate() {
        let x: Block<32, 1> = x.block(b);
        let (scales, words) = block.split_at(2 * ROWS);
        for half in 0..HALVES {
            let scales = halves(scales, half);
            let packed: [__m256i; 4] = registers(words, half);
            let mut w = [_mm256_setzero_si256(); 8];
            for (s, packed) in packed.into_iter().enumerate() {
                w[s] = low(packed);
                w[4 + s] = high(packed);
            }
            for (out, i) in out.iter_mut().zip(0..x.quants.len()) {
                let sum = _mm256_madd_epi16(group(&w, &x.quants[i]), _mm256_set1_epi16(1));
                let offset = _mm256_set1_epi32(8 * i32::from(x.sums[i][0]));
                let sum = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, offset));
                let scale = _mm256_mul_ps(scales, _mm256_set1_ps(x.scales[i]));
                add(out, half, _mm256_mul_ps(sum, scale));
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub fn q4_k<const M: usize>(strip: &[u8], x: Tile, out: &mut [[f32; ROWS]; M]) {
    for (b, block) in strip.as_chunks::<{ 144 * ROWS }>().0.iter().enumerate() {
        let x: Block<256, 8> = x.block(b);
        let (scales, rest) = block.split_at(2 * ROWS);
        let (minima, rest) = rest.split_at(2 * ROWS);
        let (packed, words) = rest.split_at(12 * ROWS);
        let small = [Small::new(registers(packed, 0)), Small::new(registers(packed, HALVES - 1))];
        let mut sums = [[_mm256_setzero_si256(); M]; HALVES];
        // Both halves of some bytes before the next bytes, so that memory is read at an even pace.
        for half in 0..HALVES {
            two_groups::<0>(words, half, &small[half], x.quants, &mut sums[half]);
        }
        for half in 0..HALVES {
            two_groups::<1>(words, half, &small[half], x.quants, &mut sums[half]);
        }
        for half in 0..HALVES {
            two_groups::<2>(words, half, &small[half], x.quants, &mut sums[half]);
        }
        for half in 0..HALVES {
            two_groups::<3>(words, half, &small[half], x.quants, &mut sums[half]);
        }
        for half in 0..HALVES {
            let (small, sums) = (&small[half], &sums[half]);
            let (scales, minima) = (halves(scales, half), halves(minima, half));
            for (out, i) in out.iter_mut().zip(0..x.quants.len()) {
                let mut below = _mm256_setzero_si256();
                for j in 0..4 {
                    let [first, second] = [x.sums[i][2 * j], x.sums[i][2 * j + 1]];
                    let pair = _mm256_set1_epi32(i32::from(first as u16) | i32::from(second) << 16);
                    below = _mm256_add_epi32(below, _mm256_madd_epi16(small.minima(j), pair));
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
fn two_groups<const P: usize>(
    words: &[u8],
    half: usize,
    small: &Small,
    x: &[[i8; 256]],
    sums: &mut [__m256i],
) {
    let packed: [__m256i; 8] = registers(&words[P * 32 * ROWS..], half);
    let mut w = packed;
    for w in &mut w {
        *w = low(*w);
    }
    let scales = small.scale(2 * P);
    for (x, sum) in x.iter().zip(&mut *sums) {
        let products = group(&w, &x.as_chunks().0[2 * P]);
        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(products, scales));
    }
    for (w, packed) in w.iter_mut().zip(packed) {
        *w = high(packed);
    }
    let scales = small.scale(2 * P + 1);
    for (x, sum) in x.iter().zip(sums) {
        let products = group(&w, &x.as_chunks().0[2 * P + 1]);
        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(products, scales));
    }
}

/// 32 columns: per row, two 16-bit sums side by side. 8 · 2 · 15 · 127 = 30480 fits.
#[inline]
#[target_feature(enable = "avx2")]
fn group(w: &[__m256i; 8], x: &[i8; 32]) -> __m256i {
    let mut sum = _mm256_maddubs_epi16(w[0], four(x, 0));
    for (s, w) in w.iter().enumerate().skip(1) {
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(*w, four(x, s)));
    }
    sum
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
        let six = _mm256_set1_epi8(63);
        let top = _mm256_set1_epi8(0x30);
        let above = |x| _mm256_and_si256(_mm256_srli_epi16(x, 2), top);
        Self {
            scales: [_mm256_and_si256(a, six), _mm256_or_si256(low(c), above(a))],
            minima: [_mm256_and_si256(b, six), _mm256_or_si256(high(c), above(b))],
        }
    }

    /// Group j's scale, twice as 16 bits in each lane: for the two sums of a row.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn scale(&self, j: usize) -> __m256i {
        widen(self.scales[j / 4], j % 4, j % 4)
    }

    /// The minima of groups 2j and 2j + 1, 16 bits each.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn minima(&self, j: usize) -> __m256i {
        widen(self.minima[j / 2], j % 2 * 2, j % 2 * 2 + 1)
    }
}

/// Two of each lane's bytes as 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(x: __m256i, first: usize, second: usize) -> __m256i {
    // A shuffle counts bytes from the start of its half; the odd bytes become zeros.
    let lane =
        _mm256_setr_epi32(0, 0x0004_0004, 0x0008_0008, 0x000c_000c, 0, 0x0004_0004, 0x0008_0008, 0x000c_000c);
    let odd = _mm256_set1_epi16(i16::MIN);
    let bytes = _mm256_set1_epi32((first | second << 16) as i32);
    _mm256_shuffle_epi8(x, _mm256_or_si256(_mm256_or_si256(lane, odd), bytes))
}

/// The low 4 bits of each byte.
#[inline]
#[target_feature(enable = "avx2")]
fn low(x: __m256i) -> __m256i {
    _mm256_and_si256(x, _mm256_set1_epi8(15))
}

/// The high 4 bits of each byte.
#[inline]
#[target_feature(enable = "avx2")]
fn high(x: __m256i) -> __m256i {
    low(_mm256_srli_epi16(x, 4))
}

/// Four activations, in every lane.
#[inline]
#[target_feature(enable = "avx2")]
fn four(x: &[i8; 32], s: usize) -> __m256i {
    _mm256_set1_epi32(i32::from_le_bytes(x.as_chunks().0[s].map(|x| x as u8)))
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
            _mm_prefetch::<_MM_HINT_T0>(lanes.as_ptr().wrapping_add(AHEAD).cast());
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

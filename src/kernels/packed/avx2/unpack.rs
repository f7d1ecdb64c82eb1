//! From a strip's bytes to [`Span`]s.

use std::arch::x86_64::*;

use super::super::scheme::K;
use super::super::span::Span;
use super::{HALVES, store};
use crate::cpu::prefetch::ahead;
use crate::quant::ROWS;

impl Span {
    /// Unpacks a block of a k-scheme, unsigned. Scales of groups are in each 16 bits.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub fn unpack_halves(&mut self, scheme: K, strip: &[u8]) {
        self.blocks = 1;
        for half in 0..HALVES {
            match scheme {
                K::Q4 => self.half_nibbles_k::<144, false>(strip, half),
                K::Q5 => self.half_nibbles_k::<176, true>(strip, half),
                K::Q6 => self.half_q6_k(strip, half),
            }
        }
    }

    /// q4_k and q5_k, of N bytes.
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    fn half_nibbles_k<const N: usize, const FIFTHS: bool>(&mut self, strip: &[u8], half: usize) {
        for block in strip.chunks_exact(N * ROWS) {
            let (numbers, rest) = block.split_at(4 * ROWS);
            let (small, rest) = rest.split_at(12 * ROWS);
            let (fifths, words) = rest.split_at(if FIFTHS { 32 * ROWS } else { 0 });
            let small = Small::new(registers(small, half));
            for (j, group) in self.groups[..8].iter_mut().enumerate() {
                store(group, half, widen(small.scales[j / 4], j % 4, j % 4));
            }
            for (p, pair) in self.pairs[..4].iter_mut().enumerate() {
                store(pair, half, widen(small.minima[p / 2], p % 2 * 2, p % 2 * 2 + 1));
            }
            store(&mut self.scales[0], half, halves(numbers, half));
            store(&mut self.minima[0], half, halves(&numbers[2 * ROWS..], half));
            for (p, out) in self.words.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                // Bits that two groups share.
                let [low, high] = out.as_chunks_mut::<8>().0 else { continue };
                for s in 0..8 {
                    let [packed] = registers(&words[(p * 8 + s) * 4 * ROWS..], half);
                    let mut w = [nibble(packed, 0), nibble(packed, 1)];
                    if FIFTHS {
                        let [fifths] = registers(&fifths[s * 4 * ROWS..], half);
                        for (which, w) in w.iter_mut().enumerate() {
                            let fifth =
                                _mm256_and_si256(moved(fifths, 2 * p + which, 4), _mm256_set1_epi8(16));
                            *w = _mm256_or_si256(*w, fifth);
                        }
                    }
                    store(&mut low[s], half, w[0]);
                    store(&mut high[s], half, w[1]);
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    fn half_q6_k(&mut self, strip: &[u8], half: usize) {
        for block in strip.as_chunks::<{ 210 * ROWS }>().0 {
            let (low, rest) = block.split_at(128 * ROWS);
            let (high, rest) = rest.split_at(64 * ROWS);
            let (small, scales) = rest.split_at(16 * ROWS);
            let small: [__m256i; 4] = registers(small, half);
            for (j, group) in self.groups.iter_mut().enumerate() {
                store(group, half, widen(small[j / 4], j % 4, j % 4));
            }
            for (p, pair) in self.pairs.iter_mut().enumerate() {
                store(pair, half, widen(small[p / 2], p % 2 * 2, p % 2 * 2 + 1));
            }
            store(&mut self.scales[0], half, halves(scales, half));
            // Each half of 128 columns is four times 32, over 64 bytes of low and 32 bytes of high bits.
            for (h, out) in self.words.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                for s in 0..8 {
                    let [two] = registers(&high[(h * 8 + s) * 4 * ROWS..], half);
                    for p in 0..2 {
                        let [packed] = registers(&low[(h * 16 + p * 8 + s) * 4 * ROWS..], half);
                        for which in 0..2 {
                            let within = p + 2 * which;
                            let top = _mm256_and_si256(moved(two, 2 * within, 4), _mm256_set1_epi8(0x30));
                            let w = _mm256_or_si256(nibble(packed, which), top);
                            store(&mut out[within * 8 + s], half, w);
                        }
                    }
                }
            }
        }
    }
}

/// The fifth bits of 32 columns of eight rows, and the same 4 bits further down.
pub struct Fifths([__m256i; 2]);

impl Fifths {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn new(fifths: __m256i) -> Self {
        Self([fifths, right(fifths, 4)])
    }

    /// Adds 16 to the bytes of columns 4s to 4s + 3 whose bit of the lane is set: an operation less by a table, which takes
    /// the low half of a byte, than by a comparison.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn add(&self, w: __m256i, s: usize) -> __m256i {
        let lane = _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c));
        // Four columns' bits are half of a byte.
        let spread = _mm256_or_si256(lane, _mm256_set1_epi8((s / 2) as i8));
        let bytes = _mm256_shuffle_epi8(self.0[s % 2], spread);
        let bits = _mm256_and_si256(bytes, _mm256_set1_epi32(0x0804_0201));
        let table =
            _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 16, 16, 0, 16, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0));
        _mm256_or_si256(w, _mm256_shuffle_epi8(table, bits))
    }
}

/// The 6-bit scales and minima of eight rows: in each lane, one byte for each of four groups.
pub struct Small {
    pub scales: [__m256i; 2],
    pub minima: [__m256i; 2],
}

impl Small {
    /// From the 12 bytes of each row: as for AVX512.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn new([a, b, c]: [__m256i; 3]) -> Self {
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
pub fn widen(x: __m256i, first: usize, second: usize) -> __m256i {
    let lane = _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x0400_0400, 0x0800_0800, 0x0c00_0c00));
    // Each byte to the top of 16 bits; what comes below it is shifted out.
    let bytes = _mm256_set1_epi32((first << 8 | second << 24) as i32);
    _mm256_srai_epi16(_mm256_shuffle_epi8(x, _mm256_or_si256(lane, bytes)), 8)
}

/// The low (0) or high (1) 4 bits of each byte.
#[inline]
#[target_feature(enable = "avx2")]
pub fn nibble(x: __m256i, which: usize) -> __m256i {
    _mm256_and_si256(right(x, 4 * which), _mm256_set1_epi8(15))
}

/// Moves bits within 16 from one place to another, by a number that is a constant once loops are unrolled.
#[inline]
#[target_feature(enable = "avx2")]
pub fn moved(x: __m256i, from: usize, to: usize) -> __m256i {
    match from < to {
        true => _mm256_sll_epi16(x, _mm_cvtsi32_si128((to - from) as i32)),
        false => right(x, from - to),
    }
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
pub fn registers<const N: usize>(words: &[u8], half: usize) -> [__m256i; N] {
    std::array::from_fn(|s| again(&words[s * 4 * ROWS..], half, true))
}

/// One piece of 4 bytes of the eight rows of a half. Those that follow are asked for where these are loaded first.
#[inline]
#[target_feature(enable = "avx2")]
pub fn again(words: &[u8], half: usize, is_first: bool) -> __m256i {
    let lanes: &[u8; 32] = &words.as_chunks().0[half];
    if half == 0 && is_first {
        ahead(lanes.as_ptr());
    }
    // SAFETY: the array is 32 bytes; the load asks for no alignment.
    #[allow(unsafe_code)]
    unsafe {
        _mm256_loadu_si256(lanes.as_ptr().cast())
    }
}

/// The f16 numbers of the eight rows of a half, in f32.
#[inline]
#[target_feature(enable = "avx2,f16c")]
pub fn halves(numbers: &[u8], half: usize) -> __m256i {
    let numbers: &[u8; 16] = &numbers.as_chunks().0[half];
    // SAFETY: the array is 16 bytes; the load asks for no alignment.
    #[allow(unsafe_code)]
    unsafe {
        _mm256_castps_si256(_mm256_cvtph_ps(_mm_loadu_si128(numbers.as_ptr().cast())))
    }
}

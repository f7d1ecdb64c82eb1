//! From a strip's bytes to [`Span`]s.

use std::arch::x86_64::*;

use super::super::scheme::{K, Of32, Packed};
use super::super::span::Span;
use super::store;
use crate::cpu::prefetch::ahead;
use crate::quant::ROWS;

impl Span {
    /// Unpacks up to 256 columns; those of blocks of 32 either signed or as unsigned bytes, less an offset of 8, 16 or 128.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub fn unpack<const SIGNED: bool>(&mut self, scheme: Packed, strip: &[u8]) {
        self.blocks = strip.len() / (ROWS * scheme.block_bytes());
        match scheme {
            Packed::Of32(Of32::Q8_0) => self.q8_0::<SIGNED>(strip),
            Packed::Of32(Of32::Q4_0) => self.nibbles::<18, false, false, SIGNED>(strip),
            Packed::Of32(Of32::Q4_1) => self.nibbles::<20, true, false, SIGNED>(strip),
            Packed::Of32(Of32::Q5_0) => self.nibbles::<22, false, true, SIGNED>(strip),
            Packed::Of32(Of32::Q5_1) => self.nibbles::<24, true, true, SIGNED>(strip),
            Packed::K(K::Q4) => self.nibbles_k::<144, false>(strip),
            Packed::K(K::Q5) => self.nibbles_k::<176, true>(strip),
            Packed::K(K::Q6) => self.q6_k(strip),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn q8_0<const SIGNED: bool>(&mut self, strip: &[u8]) {
        let out = self.words.as_chunks_mut::<8>().0.iter_mut().zip(&mut self.scales);
        for (block, (out, scales)) in strip.as_chunks::<{ 34 * ROWS }>().0.iter().zip(out) {
            store(scales, halves(block));
            let words: [__m512i; 8] = registers(&block[2 * ROWS..]);
            for (out, w) in out.iter_mut().zip(words) {
                store(out, if SIGNED { w } else { _mm512_xor_si512(w, _mm512_set1_epi8(i8::MIN)) });
            }
        }
    }

    /// q4_0, q4_1, q5_0 and q5_1, of N bytes: 4 bits of a weight, perhaps a fifth, and a minimum or else an offset.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn nibbles<const N: usize, const MINIMUM: bool, const FIFTHS: bool, const SIGNED: bool>(
        &mut self,
        strip: &[u8],
    ) {
        let numbers = self.scales.iter_mut().zip(&mut self.minima);
        let out = self.words.as_chunks_mut::<8>().0.iter_mut().zip(numbers);
        for (block, (out, (scales, minima))) in strip.chunks_exact(N * ROWS).zip(out) {
            let (numbers, rest) = block.split_at(if MINIMUM { 4 * ROWS } else { 2 * ROWS });
            let (fifths, words) = rest.split_at(if FIFTHS { 4 * ROWS } else { 0 });
            store(scales, halves(numbers));
            if MINIMUM {
                store(minima, halves(&numbers[2 * ROWS..]));
            }
            let packed: [__m512i; 4] = registers(words);
            let [low, high] = out.as_chunks_mut::<4>().0 else { continue };
            for (s, packed) in packed.into_iter().enumerate() {
                let mut w = [nibble(packed, 0), nibble(packed, 1)];
                if FIFTHS {
                    let [fifths] = registers(fifths);
                    w = [add_fifths(w[0], fifths, s), add_fifths(w[1], fifths, 4 + s)];
                }
                if SIGNED && !MINIMUM {
                    let offset = _mm512_set1_epi8(if FIFTHS { 16 } else { 8 });
                    w = w.map(|w| _mm512_sub_epi8(w, offset));
                }
                store(&mut low[s], w[0]);
                store(&mut high[s], w[1]);
            }
        }
    }

    /// q4_k and q5_k, of N bytes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn nibbles_k<const N: usize, const FIFTHS: bool>(&mut self, strip: &[u8]) {
        for block in strip.chunks_exact(N * ROWS) {
            let (numbers, rest) = block.split_at(4 * ROWS);
            let (small, rest) = rest.split_at(12 * ROWS);
            let (fifths, words) = rest.split_at(if FIFTHS { 32 * ROWS } else { 0 });
            let small = Small::new(registers(small));
            for (j, group) in self.groups[..8].iter_mut().enumerate() {
                store(group, byte(small.scales[j / 4], j % 4));
            }
            for (p, pair) in self.pairs[..4].iter_mut().enumerate() {
                store(pair, widen(small.minima[p / 2], p % 2 * 2, p % 2 * 2 + 1));
            }
            store(&mut self.scales[0], halves(numbers));
            store(&mut self.minima[0], halves(&numbers[2 * ROWS..]));
            let fifths: [__m512i; 8] = registers(fifths);
            for (p, out) in self.words.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                // Bits that two groups share.
                let packed: [__m512i; 8] = registers(&words[p * 32 * ROWS..]);
                let [low, high] = out.as_chunks_mut::<8>().0 else { continue };
                for (s, packed) in packed.into_iter().enumerate() {
                    let mut w = [nibble(packed, 0), nibble(packed, 1)];
                    if FIFTHS {
                        for (which, w) in w.iter_mut().enumerate() {
                            let fifth =
                                _mm512_and_si512(to_bit_4(fifths[s], 2 * p + which), _mm512_set1_epi8(16));
                            *w = _mm512_or_si512(*w, fifth);
                        }
                    }
                    store(&mut low[s], w[0]);
                    store(&mut high[s], w[1]);
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn q6_k(&mut self, strip: &[u8]) {
        for block in strip.as_chunks::<{ 210 * ROWS }>().0 {
            let (low, rest) = block.split_at(128 * ROWS);
            let (high, rest) = rest.split_at(64 * ROWS);
            let (small, scales) = rest.split_at(16 * ROWS);
            let small: [__m512i; 4] = registers(small);
            for (j, group) in self.groups.iter_mut().enumerate() {
                // The upper 16 bits stay clear of the multiplication.
                let scale = byte(small[j / 4], j % 4);
                store(group, _mm512_and_si512(scale, _mm512_set1_epi32(0xffff)));
            }
            store(&mut self.scales[0], halves(scales));
            // Each half of 128 columns is four times 32, over 64 bytes of low and 32 bytes of high bits.
            for (half, out) in self.words.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                for s in 0..8 {
                    let [two] = registers(&high[(half * 8 + s) * 4 * ROWS..]);
                    for p in 0..2 {
                        let [packed] = registers(&low[(half * 16 + p * 8 + s) * 4 * ROWS..]);
                        for which in 0..2 {
                            let within = p + 2 * which;
                            let top = _mm512_and_si512(right_or_left(two, within), _mm512_set1_epi8(0x30));
                            store(&mut out[within * 8 + s], _mm512_or_si512(nibble(packed, which), top));
                        }
                    }
                }
            }
        }
    }
}

/// The two bits `2 · within` and above of each byte, moved to bits 4 and 5, beside others.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub fn right_or_left(x: __m512i, within: usize) -> __m512i {
    match within {
        0 => _mm512_slli_epi16::<4>(x),
        1 => _mm512_slli_epi16::<2>(x),
        2 => x,
        _ => _mm512_srli_epi16::<2>(x),
    }
}

/// Bit j of each byte as bit 4, beside others.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub fn to_bit_4(x: __m512i, j: usize) -> __m512i {
    match j {
        0 => _mm512_slli_epi16::<4>(x),
        1 => _mm512_slli_epi16::<3>(x),
        2 => _mm512_slli_epi16::<2>(x),
        3 => _mm512_slli_epi16::<1>(x),
        4 => x,
        5 => _mm512_srli_epi16::<1>(x),
        6 => _mm512_srli_epi16::<2>(x),
        _ => _mm512_srli_epi16::<3>(x),
    }
}

/// Adds 16 to the bytes of columns 4s to 4s + 3 whose bit of the lane is set.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub fn add_fifths(w: __m512i, fifths: __m512i, s: usize) -> __m512i {
    let lane = _mm512_set4_epi32(0x0c0c_0c0c, 0x0808_0808, 0x0404_0404, 0);
    // Four columns' bits are half of a byte.
    let spread = _mm512_or_si512(lane, _mm512_set1_epi8((s / 2) as i8));
    let bits = _mm512_set1_epi32(if s.is_multiple_of(2) { 0x0804_0201 } else { 0x8040_2010_u32 as i32 });
    let set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(fifths, spread), bits);
    _mm512_mask_add_epi8(w, set, w, _mm512_set1_epi8(16))
}

/// The 6-bit scales and minima of sixteen rows: in each lane, one byte for each of four groups.
pub struct Small {
    pub scales: [__m512i; 2],
    pub minima: [__m512i; 2],
}

impl Small {
    /// From the 12 bytes of each row. Four bytes at a time are just how ggml packs them: groups 0 to 3 have the
    /// low 6 bits of the first word (scales) and of the second (minima); 4 to 7 have their low 4 bits in the third
    /// word and the upper 2 on top of the first and second.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn new([a, b, c]: [__m512i; 3]) -> Self {
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
pub fn byte(x: __m512i, at: usize) -> __m512i {
    let top = _mm512_sll_epi32(x, _mm_cvtsi32_si128(24 - 8 * at as i32));
    _mm512_srai_epi32::<24>(top)
}

/// Two of each lane's bytes, signed, as 16 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub fn widen(x: __m512i, first: usize, second: usize) -> __m512i {
    let lane = _mm512_set4_epi32(0x0c00_0c00, 0x0800_0800, 0x0400_0400, 0);
    // Each byte to the top of 16 bits; what comes below it is shifted out.
    let bytes = _mm512_set1_epi32((first << 8 | second << 24) as i32);
    _mm512_srai_epi16::<8>(_mm512_shuffle_epi8(x, _mm512_or_si512(lane, bytes)))
}

/// The low (0) or high (1) 4 bits of each byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub fn nibble(x: __m512i, which: usize) -> __m512i {
    _mm512_and_si512(right(x, 4 * which), _mm512_set1_epi8(15))
}

/// Shifts by a number that is a constant once loops are unrolled.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub fn right(x: __m512i, bits: usize) -> __m512i {
    _mm512_srl_epi16(x, _mm_cvtsi32_si128(bits as i32))
}

/// N pieces of 4 bytes of sixteen rows.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn registers<const N: usize>(words: &[u8]) -> [__m512i; N] {
    let mut out = [_mm512_setzero_si512(); N];
    for (out, lanes) in out.iter_mut().zip(words.as_chunks::<64>().0) {
        // SAFETY: the array is 64 bytes; the load asks for no alignment.
        #[allow(unsafe_code)]
        unsafe {
            *out = _mm512_loadu_si512(lanes.as_ptr().cast());
        }
        ahead(lanes.as_ptr());
    }
    out
}

/// A piece of sixteen rows that is loaded more than once, and what comes later asked for once.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn again(words: &[u8], ask: bool) -> __m512i {
    if ask {
        let [lanes] = registers(words);
        return lanes;
    }
    let lanes: &[u8; 64] = &words.as_chunks().0[0];
    // SAFETY: the array is 64 bytes; the load asks for no alignment.
    #[allow(unsafe_code)]
    unsafe {
        _mm512_loadu_si512(lanes.as_ptr().cast())
    }
}

/// The f16 numbers of sixteen rows, in f32.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn halves(numbers: &[u8]) -> __m512i {
    let numbers: &[u8; 32] = &numbers.as_chunks().0[0];
    // SAFETY: the array is 32 bytes; the load asks for no alignment.
    #[allow(unsafe_code)]
    unsafe {
        _mm512_castps_si512(_mm512_cvtph_ps(_mm256_loadu_si256(numbers.as_ptr().cast())))
    }
}

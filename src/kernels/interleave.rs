//! Blocks of sixteen rows made a strip, as fast as memory gives them: rows of a published file are multiplied so.
//!
//! The vector ways turn four words of every row at once: loads of 16 bytes put rows r, r + 4, r + 8 and r + 12 side by
//! side in a register, and a 4 by 4 transpose within its quarters is then all of it. That needs two unpacks a register
//! and no permutation across quarters; words that do not divide by four are a last four that overlap those before.

use super::Scheme;
use super::cpu::Level;
use super::layout::{ROWS, copy, with_pieces};

/// Interleaves the blocks of sixteen rows that `packed` holds. A row begins `stride` bytes after the one before.
pub(super) fn interleave(level: Level, scheme: Scheme, plain: &[u8], stride: usize, packed: &mut [u8]) {
    let row = packed.len() / ROWS;
    // The vector ways rely on it.
    assert!(plain.len() >= (ROWS - 1) * stride + row && row.is_multiple_of(scheme.block_bytes()));
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a level is only where the processor was found to have what it names, and the lengths were checked above.
    #[allow(unsafe_code)]
    unsafe {
        match level {
            Level::Avx512 => with_pieces!(scheme, avx512_interleave(plain, stride, packed)),
            Level::Avx2 => with_pieces!(scheme, avx2_interleave(plain, stride, packed)),
            Level::Portable => with_pieces!(scheme, portable(plain, stride, packed)),
        };
    }
    #[cfg(not(target_arch = "x86_64"))]
    with_pieces!(scheme, portable(plain, stride, packed));
}

#[cfg(target_arch = "x86_64")]
use avx2::interleave as avx2_interleave;
#[cfg(target_arch = "x86_64")]
use avx512::interleave as avx512_interleave;

/// The oracle. The widths are known when compiling, so that the loops are moves at fixed places: four times the rate of
/// loops over a list of places.
fn portable<const N: usize, const BEFORE: usize, const WORDS: usize, const AFTER: usize>(
    plain: &[u8],
    stride: usize,
    packed: &mut [u8],
) {
    for (b, packed) in packed.chunks_exact_mut(N * ROWS).enumerate() {
        for row in 0..ROWS {
            let block = &plain[row * stride + b * N..][..N];
            for i in 0..BEFORE {
                copy::<2>(block, 2 * i, packed, 2 * i * ROWS + 2 * row);
            }
            for i in 0..WORDS {
                let at = 2 * BEFORE + 4 * i;
                copy::<4>(block, at, packed, at * ROWS + 4 * row);
            }
            for i in 0..AFTER {
                let at = 2 * BEFORE + 4 * WORDS + 2 * i;
                copy::<2>(block, at, packed, at * ROWS + 2 * row);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512 {
    use std::arch::x86_64::*;

    use super::ROWS;

    /// # Safety
    /// `plain` holds sixteen rows, `stride` apart, of as many blocks of N bytes as `packed` holds strips of them.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn interleave<const N: usize, const BEFORE: usize, const WORDS: usize, const AFTER: usize>(
        plain: &[u8],
        stride: usize,
        packed: &mut [u8],
    ) {
        for (b, packed) in packed.chunks_exact_mut(N * ROWS).enumerate() {
            let (block, packed) = (plain.as_ptr().wrapping_add(b * N), packed.as_mut_ptr());
            // SAFETY: a block has more than 16 bytes; those read lie within it, and so do those written in its strip:
            // four bytes of a row from `at` on are 64 from 16 · `at` on, two are 32.
            unsafe {
                let store = |at: usize, word| _mm512_storeu_si512(packed.add(at * ROWS).cast(), word);
                let store_half = |at: usize, word| {
                    _mm256_storeu_si256(packed.add(at * ROWS).cast(), _mm512_cvtepi32_epi16(word))
                };
                if BEFORE > 0 {
                    let [first, ..] = four_words(block, stride);
                    store_half(0, first);
                    if BEFORE > 1 {
                        store_half(2, _mm512_srli_epi32::<16>(first));
                    }
                }
                for i in 0..WORDS.div_ceil(4) {
                    let at = 2 * BEFORE + 4 * (4 * i).min(WORDS - 4);
                    for (i, word) in four_words(block.add(at), stride).into_iter().enumerate() {
                        store(at + 4 * i, word);
                    }
                }
                if AFTER > 0 {
                    let [.., last] = four_words(block.add(N - 16), stride);
                    store_half(N - 2, _mm512_srli_epi32::<16>(last));
                    if AFTER > 1 {
                        store_half(N - 4, last);
                    }
                }
            }
        }
    }

    /// Four words of sixteen rows: in each register one word of all.
    ///
    /// # Safety
    /// 16 bytes can be read at `at` and at each of 15 strides after it.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn four_words(at: *const u8, stride: usize) -> [__m512i; 4] {
        let mut rows = [_mm512_setzero_si512(); 4];
        for (r, out) in rows.iter_mut().enumerate() {
            // SAFETY: by the caller's promise.
            let load = |r: usize| unsafe { _mm_loadu_si128(at.add(r * stride).cast()) };
            let quarters = _mm512_castsi128_si512(load(r));
            let quarters = _mm512_inserti32x4::<1>(quarters, load(r + 4));
            let quarters = _mm512_inserti32x4::<2>(quarters, load(r + 8));
            *out = _mm512_inserti32x4::<3>(quarters, load(r + 12));
        }
        let [a, b, c, d] = rows;
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        [
            _mm512_unpacklo_epi64(ab, cd),
            _mm512_unpackhi_epi64(ab, cd),
            _mm512_unpacklo_epi64(ab_high, cd_high),
            _mm512_unpackhi_epi64(ab_high, cd_high),
        ]
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2 {
    use std::arch::x86_64::*;

    use super::ROWS;

    /// Rows in a register.
    const LANES: usize = 8;

    /// # Safety
    /// `plain` holds sixteen rows, `stride` apart, of as many blocks of N bytes as `packed` holds strips of them.
    #[target_feature(enable = "avx2")]
    pub unsafe fn interleave<const N: usize, const BEFORE: usize, const WORDS: usize, const AFTER: usize>(
        plain: &[u8],
        stride: usize,
        packed: &mut [u8],
    ) {
        for (b, packed) in packed.chunks_exact_mut(N * ROWS).enumerate() {
            for half in 0..ROWS / LANES {
                let block = plain.as_ptr().wrapping_add(half * LANES * stride + b * N);
                // SAFETY: a block has more than 16 bytes; those read lie within it, and so do those written in its
                // strip: four bytes of a row from `at` on are 64 from 16 · `at` on, the second half of them those of
                // rows 8 to 15; two are 32.
                unsafe {
                    let packed = packed.as_mut_ptr();
                    let store = |at: usize, word| {
                        _mm256_storeu_si256(packed.add(at * ROWS + half * 4 * LANES).cast(), word);
                    };
                    let store_half = |at: usize, word| {
                        _mm_storeu_si128(packed.add(at * ROWS + half * 2 * LANES).cast(), word);
                    };
                    if BEFORE > 0 {
                        let [first, ..] = four_words(block, stride);
                        store_half(0, low_halves(first));
                        if BEFORE > 1 {
                            store_half(2, low_halves(_mm256_srli_epi32(first, 16)));
                        }
                    }
                    for i in 0..WORDS.div_ceil(4) {
                        let at = 2 * BEFORE + 4 * (4 * i).min(WORDS - 4);
                        for (i, word) in four_words(block.add(at), stride).into_iter().enumerate() {
                            store(at + 4 * i, word);
                        }
                    }
                    if AFTER > 0 {
                        let [.., last] = four_words(block.add(N - 16), stride);
                        store_half(N - 2, low_halves(_mm256_srli_epi32(last, 16)));
                        if AFTER > 1 {
                            store_half(N - 4, low_halves(last));
                        }
                    }
                }
            }
        }
    }

    /// Four words of eight rows: in each register one word of all.
    ///
    /// # Safety
    /// 16 bytes can be read at `at` and at each of 7 strides after it.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn four_words(at: *const u8, stride: usize) -> [__m256i; 4] {
        let mut rows = [_mm256_setzero_si256(); 4];
        for (r, out) in rows.iter_mut().enumerate() {
            // SAFETY: by the caller's promise.
            let load = |r: usize| unsafe { _mm_loadu_si128(at.add(r * stride).cast()) };
            *out = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(r)), load(r + 4));
        }
        let [a, b, c, d] = rows;
        let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
        let (ab_high, cd_high) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
        [
            _mm256_unpacklo_epi64(ab, cd),
            _mm256_unpackhi_epi64(ab, cd),
            _mm256_unpacklo_epi64(ab_high, cd_high),
            _mm256_unpackhi_epi64(ab_high, cd_high),
        ]
    }

    /// The low 16 bits of each lane.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn low_halves(x: __m256i) -> __m128i {
        let low = _mm256_and_si256(x, _mm256_set1_epi32(0xffff));
        _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256::<1>(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_agree_byte_for_byte_for_any_stride_and_number_of_blocks() {
        for scheme in Scheme::all().filter(|scheme| !scheme.is_dense()) {
            for (blocks, beyond) in [(1, 0), (3, 0), (2, 77)] {
                let row = blocks * scheme.block_bytes();
                let plain: Vec<u8> =
                    (0..(ROWS - 1) * (row + beyond) + row).map(|i| (i * 7919 % 251) as u8).collect();
                let of = |level| {
                    let mut packed = vec![0; row * ROWS];
                    interleave(level, scheme, &plain, row + beyond, &mut packed);
                    packed
                };
                for level in Level::available() {
                    assert!(of(level) == of(Level::Portable), "{scheme} {}", level.name());
                }
            }
        }
    }
}

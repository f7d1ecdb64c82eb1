//! AVX512 kernels for blocks that plain loops, as the compiler vectorises them, dequantize at a third of the rate.
//!
//! Each kernel unpacks bytes in one register and converts sixteen of them to f32 at a time. The arithmetic, and
//! therefore the bits, are those of the loops.

use std::arch::x86_64::*;

use super::fields::{half_at, scale_and_minimum, word_at};

/// Applies a block's function to each block of `bytes`.
macro_rules! blocks {
    ($(#[$meta:meta])* $name:ident($b:ident: $size:literal, $y:ident: $weights:literal) $body:block) => {
        $(#[$meta])*
        #[target_feature(enable = "avx512f,avx512bw,avx2,fma,f16c")]
        pub fn $name(bytes: &[u8], out: &mut [f32]) {
            let blocks: (&[[u8; $size]], _) = bytes.as_chunks();
            let out: (&mut [[f32; $weights]], _) = out.as_chunks_mut();
            for ($b, $y) in blocks.0.iter().zip(out.0) $body
        }
    };
}

blocks! { q4_0(b: 18, y: 32) {
    let [_, _, qs @ ..] = b;
    signed(_mm256_sub_epi8(nibbles(qs), _mm256_set1_epi8(8)), [half_at(b, 0); 2], y);
} }

blocks! { q4_1(b: 20, y: 32) {
    let [_, _, _, _, qs @ ..] = b;
    unsigned(nibbles(qs), half_at(b, 0), half_at(b, 2), y);
} }

blocks! { q5_0(b: 22, y: 32) {
    let [_, _, _, _, _, _, qs @ ..] = b;
    let q = _mm256_or_si256(nibbles(qs), high_bits(word_at(b, 2)));
    signed(_mm256_sub_epi8(q, _mm256_set1_epi8(16)), [half_at(b, 0); 2], y);
} }

blocks! { q5_1(b: 24, y: 32) {
    let [_, _, _, _, _, _, _, _, qs @ ..] = b;
    unsigned(_mm256_or_si256(nibbles(qs), high_bits(word_at(b, 4))), half_at(b, 0), half_at(b, 2), y);
} }

blocks! { q8_0(b: 34, y: 32) {
    let [_, _, qs @ ..] = b;
    signed(load(qs), [half_at(b, 0); 2], y);
} }

blocks! { q4_k(b: 144, y: 256) {
    let (d, m) = (half_at(b, 0), half_at(b, 2));
    for (group, y) in y.as_chunks_mut().0.iter_mut().enumerate() {
        let (scale, minimum) = scale_and_minimum::<f32>(&b[4..16], group);
        let q = nibbles_of(&b[16..].as_chunks().0[group / 2], group % 2);
        unsigned(q, d * scale, -(m * minimum), y);
    }
} }

blocks! { q5_k(b: 176, y: 256) {
    let (d, m) = (half_at(b, 0), half_at(b, 2));
    let qh = load(&b[16..].as_chunks().0[0]);
    for (group, y) in y.as_chunks_mut().0.iter_mut().enumerate() {
        let (scale, minimum) = scale_and_minimum::<f32>(&b[4..16], group);
        let q = nibbles_of(&b[48..].as_chunks().0[group / 2], group % 2);
        let bit = _mm256_set1_epi8((1u8 << group) as i8);
        let set = _mm256_cmpeq_epi8(_mm256_and_si256(qh, bit), bit);
        unsigned(_mm256_or_si256(q, _mm256_and_si256(set, _mm256_set1_epi8(16))), d * scale, -(m * minimum), y);
    }
} }

blocks! { q6_k(b: 210, y: 256) {
    let d = half_at(b, 208);
    for (group, y) in y.as_chunks_mut().0.iter_mut().enumerate() {
        // Each half of 128 weights is four groups that share 64 bytes of low bits and 32 bytes of high bits.
        let (half, within) = (group / 4, group % 4);
        let low = nibbles_of(&b[half * 64..].as_chunks().0[within % 2], within / 2);
        let high = load(&b[128..].as_chunks().0[half]);
        let high = _mm256_srl_epi16(high, _mm_cvtsi32_si128(2 * within as i32));
        let high = _mm256_slli_epi16::<4>(_mm256_and_si256(high, _mm256_set1_epi8(3)));
        let q = _mm256_sub_epi8(_mm256_or_si256(low, high), _mm256_set1_epi8(32));
        let scale = |i: usize| d * f32::from(b[192 + 2 * group + i] as i8);
        signed(q, [scale(0), scale(1)], y);
    }
} }

#[inline]
#[target_feature(enable = "avx2")]
fn load(b: &[u8; 32]) -> __m256i {
    // SAFETY: the array is 32 bytes; the load requires no alignment.
    unsafe { _mm256_loadu_si256(b.as_ptr().cast()) }
}

/// Unpacks 16 bytes with two weights each: the low nibbles first, then the high ones.
#[inline]
#[target_feature(enable = "avx2")]
fn nibbles(b: &[u8; 16]) -> __m256i {
    // SAFETY: the array is 16 bytes; the load requires no alignment.
    let b = unsafe { _mm_loadu_si128(b.as_ptr().cast()) };
    let both = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(b), _mm_srli_epi16::<4>(b));
    _mm256_and_si256(both, _mm256_set1_epi8(15))
}

/// Returns the low (0) or high (1) nibbles of 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn nibbles_of(b: &[u8; 32], which: usize) -> __m256i {
    let b = load(b);
    let b = if which == 0 { b } else { _mm256_srli_epi16::<4>(b) };
    _mm256_and_si256(b, _mm256_set1_epi8(15))
}

/// Returns 16 in each byte whose weight has its bit set in `qh`.
#[inline]
#[target_feature(enable = "avx2")]
fn high_bits(qh: u32) -> __m256i {
    let bytes = _mm256_shuffle_epi8(
        _mm256_set1_epi32(qh as i32),
        _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303),
    );
    let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit), _mm256_set1_epi8(16))
}

/// Writes y = q · d + m.
#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn unsigned(q: __m256i, d: f32, m: f32, y: &mut [f32; 32]) {
    let (d, m) = (_mm512_set1_ps(d), _mm512_set1_ps(m));
    for (q, y) in halves(q).into_iter().zip(y.as_chunks_mut::<16>().0) {
        let q = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(q));
        // SAFETY: the array is sixteen f32; the store requires no alignment.
        unsafe { _mm512_storeu_ps(y.as_mut_ptr(), _mm512_add_ps(_mm512_mul_ps(q, d), m)) };
    }
}

/// Writes y = q · d, with one d per half.
#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn signed(q: __m256i, d: [f32; 2], y: &mut [f32; 32]) {
    for ((q, d), y) in halves(q).into_iter().zip(d).zip(y.as_chunks_mut::<16>().0) {
        let q = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
        // SAFETY: the array is sixteen f32; the store requires no alignment.
        unsafe { _mm512_storeu_ps(y.as_mut_ptr(), _mm512_mul_ps(q, _mm512_set1_ps(d))) };
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn halves(q: __m256i) -> [__m128i; 2] {
    [_mm256_castsi256_si128(q), _mm256_extracti128_si256::<1>(q)]
}

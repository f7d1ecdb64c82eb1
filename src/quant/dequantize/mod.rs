//! Converts weights of any scheme to f32.
//!
//! The meaning of each block is ggml's (`dequantize_row_*` in `ggml-quants.c`). The values are exact to the last
//! bit of f32 arithmetic in ggml's order.

use std::sync::atomic::{Ordering, compiler_fence};

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512;
pub(crate) mod fields;

use super::scheme::Scheme;
use crate::cpu::{self, Level};
use fields::{half_at, nibbles, nibbles_and_high_bits, scale_and_minimum, word_at};

/// Converts `bytes`, a whole number of blocks of `scheme`, to f32.
///
/// `out.len()` is the number of weights; `bytes` holds `scheme.row_bytes(out.len())` bytes.
pub fn dequantize(scheme: Scheme, bytes: &[u8], out: &mut [f32]) {
    dequantize_with(cpu::level(), scheme, bytes, out);
}

/// Converts like [`dequantize`], with one of the processor's [`available`](Level::available) instruction sets.
fn dequantize_with(level: Level, scheme: Scheme, bytes: &[u8], out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn avx2(scheme: Scheme, bytes: &[u8], out: &mut [f32]) {
            body(scheme, bytes, out);
        }
        // SAFETY: a `Level` exists only where its features were detected.
        #[allow(unsafe_code)]
        unsafe {
            match (scheme, level) {
                (_, Level::Portable) => {}
                (Scheme::F16, _) => return f16_converted(bytes, out),
                (_, Level::Avx2 | Level::AvxVnni) => return avx2(scheme, bytes, out),
                (Scheme::Q4_0, _) => return avx512::q4_0(bytes, out),
                (Scheme::Q4_1, _) => return avx512::q4_1(bytes, out),
                (Scheme::Q5_0, _) => return avx512::q5_0(bytes, out),
                (Scheme::Q5_1, _) => return avx512::q5_1(bytes, out),
                (Scheme::Q8_0, _) => return avx512::q8_0(bytes, out),
                (Scheme::Q4K, _) => return avx512::q4_k(bytes, out),
                (Scheme::Q5K, _) => return avx512::q5_k(bytes, out),
                (Scheme::Q6K, _) => return avx512::q6_k(bytes, out),
                _ => return avx2(scheme, bytes, out),
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = level;
    body(scheme, bytes, out);
}

/// Applies a block's function to each block. This is a macro because a function value is called through a shim
/// without this function's instruction set, which made Q4_1 four times slower.
///
/// The fence keeps the compiler from vectorising across blocks, byte by byte, instead of within one: that halved
/// the rate of all schemes. It costs no instruction.
macro_rules! each_block {
    ($block:ident, $bytes:ident, $out:ident) => {
        for (b, y) in $bytes.as_chunks().0.iter().zip($out.as_chunks_mut().0) {
            $block(b, y);
            compiler_fence(Ordering::SeqCst);
        }
    };
}

#[inline(always)]
fn body(scheme: Scheme, bytes: &[u8], out: &mut [f32]) {
    match scheme {
        Scheme::F32 => f32_copy(bytes, out),
        Scheme::F16 => half(bytes, out),
        Scheme::Bf16 => bf16(bytes, out),
        Scheme::Q4_0 => each_block!(q4_0, bytes, out),
        Scheme::Q4_1 => each_block!(q4_1, bytes, out),
        Scheme::Q5_0 => each_block!(q5_0, bytes, out),
        Scheme::Q5_1 => each_block!(q5_1, bytes, out),
        Scheme::Q8_0 => each_block!(q8_0, bytes, out),
        Scheme::Q2K => each_block!(q2_k, bytes, out),
        Scheme::Q3K => each_block!(q3_k, bytes, out),
        Scheme::Q4K => each_block!(q4_k, bytes, out),
        Scheme::Q5K => each_block!(q5_k, bytes, out),
        Scheme::Q6K => each_block!(q6_k, bytes, out),
    }
}

/// Copies f32, which need not be aligned in `bytes`.
#[inline(always)]
fn f32_copy(bytes: &[u8], out: &mut [f32]) {
    bytemuck::cast_slice_mut::<f32, u8>(out).copy_from_slice(bytes);
    if cfg!(target_endian = "big") {
        out.iter_mut().for_each(|y| *y = f32::from_bits(y.to_bits().swap_bytes()));
    }
}

#[inline(always)]
fn half(bytes: &[u8], out: &mut [f32]) {
    for (b, y) in bytes.as_chunks::<2>().0.iter().zip(out) {
        *y = half_at(b, 0);
    }
}

/// Converts f16 with the processor's instruction.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[target_feature(enable = "avx2,f16c")]
fn f16_converted(bytes: &[u8], out: &mut [f32]) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm256_cvtph_ps, _mm256_storeu_ps};
    let (eights, rest) = bytes.as_chunks::<16>();
    let (out, out_rest) = out.as_chunks_mut::<8>();
    for (b, y) in eights.iter().zip(out) {
        // SAFETY: the arrays hold the 16 bytes that are read and the eight f32 that are written; neither access
        // requires alignment.
        unsafe { _mm256_storeu_ps(y.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(b.as_ptr().cast()))) };
    }
    half(rest, out_rest);
}

/// Converts bf16, which is the upper half of an f32.
#[inline(always)]
fn bf16(bytes: &[u8], out: &mut [f32]) {
    for (b, y) in bytes.as_chunks().0.iter().zip(out) {
        *y = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
    }
}

// Each block is first unpacked to bytes, then scaled. The compiler vectorises the two loops; one loop for both was
// four times slower.

/// Writes y = q · d + m.
#[inline(always)]
fn scale<const N: usize>(q: &[u8; N], d: f32, m: f32, y: &mut [f32; N]) {
    for i in 0..N {
        y[i] = f32::from(q[i]) * d + m;
    }
}

/// Writes y = (q - offset) · d.
#[inline(always)]
fn scale_signed<const N: usize>(q: &[u8; N], offset: i8, d: f32, y: &mut [f32; N]) {
    for i in 0..N {
        y[i] = f32::from(q[i] as i8 - offset) * d;
    }
}

/// Dequantizes a q4_0 block: scale, 16 bytes of two weights each. Quants are stored plus 8.
#[inline(always)]
fn q4_0(b: &[u8; 18], y: &mut [f32; 32]) {
    let [_, _, qs @ ..] = b;
    scale_signed(&nibbles(qs), 8, half_at(b, 0), y);
}

/// Dequantizes a q4_1 block: scale, minimum, 16 bytes of two weights each.
#[inline(always)]
fn q4_1(b: &[u8; 20], y: &mut [f32; 32]) {
    let [_, _, _, _, qs @ ..] = b;
    scale(&nibbles(qs), half_at(b, 0), half_at(b, 2), y);
}

/// Dequantizes a q5_0 block: scale, 32 high bits, 16 bytes of two weights each. Quants are stored plus 16.
#[inline(always)]
fn q5_0(b: &[u8; 22], y: &mut [f32; 32]) {
    let [_, _, _, _, _, _, qs @ ..] = b;
    scale_signed(&nibbles_and_high_bits(qs, word_at(b, 2)), 16, half_at(b, 0), y);
}

/// Dequantizes a q5_1 block: scale, minimum, 32 high bits, 16 bytes of two weights each.
#[inline(always)]
fn q5_1(b: &[u8; 24], y: &mut [f32; 32]) {
    let [_, _, _, _, _, _, _, _, qs @ ..] = b;
    scale(&nibbles_and_high_bits(qs, word_at(b, 4)), half_at(b, 0), half_at(b, 2), y);
}

/// Dequantizes a q8_0 block: scale, 32 signed bytes.
#[inline(always)]
fn q8_0(b: &[u8; 34], y: &mut [f32; 32]) {
    let [_, _, qs @ ..] = b;
    scale_signed(qs, 0, half_at(b, 0), y);
}

/// Dequantizes a q2_k block: 16 scales and minima of 4 bits, 64 bytes of four weights each, scale and minimum of
/// the scales.
#[inline(always)]
fn q2_k(b: &[u8; 84], y: &mut [f32; 256]) {
    let (d, m) = (half_at(b, 80), half_at(b, 82));
    for (group, y) in y.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let packed = b[group];
        let (dl, ml) = (d * f32::from(packed & 15), m * f32::from(packed >> 4));
        scale(&two_bits(&b[16..80], group), dl, -ml, y);
    }
}

/// Returns the low 2 bits of a group of 16 weights. Each half of the 256 weights shares 32 bytes; within it, groups
/// 2s and 2s + 1 are at shift 2s.
#[inline(always)]
fn two_bits(b: &[u8], group: usize) -> [u8; 16] {
    let (half, within) = (group / 8, group % 8);
    let bytes: &[u8; 16] = &b.as_chunks().0[half * 2 + within % 2];
    bytes.map(|q| (q >> (within / 2 * 2)) & 3)
}

/// Dequantizes a q3_k block: 32 bytes of high bits, 64 bytes of four weights each, 16 scales of 6 bits in 12 bytes,
/// scale.
#[inline(always)]
fn q3_k(b: &[u8; 110], y: &mut [f32; 256]) {
    let d = half_at(b, 108);
    let packed = &b[96..108];
    for (group, y) in y.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        // Bytes 0..8 hold the low 4 bits of the scales, scales 0 to 7 in the low nibbles. Bytes 8..12 hold the high
        // 2 bits.
        let low = (packed[group % 8] >> (group / 8 * 4)) & 15;
        let high = (packed[8 + group % 4] >> (group / 4 * 2)) & 3;
        let dl = d * f32::from((low | high << 4) as i8 - 32);
        let mut q = two_bits(&b[32..96], group);
        let high_bits: &[u8; 16] = &b.as_chunks().0[group % 2];
        for i in 0..16 {
            q[i] |= ((high_bits[i] >> (group / 2)) & 1) << 2;
        }
        scale_signed(&q, 4, dl, y);
    }
}

/// Dequantizes a q4_k block: scale, minimum, scales and minima of 8 groups, 128 bytes of two weights each; 32 bytes
/// hold two groups.
#[inline(always)]
fn q4_k(b: &[u8; 144], y: &mut [f32; 256]) {
    let (d, m) = (half_at(b, 0), half_at(b, 2));
    for (pair, y) in y.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let qs: &[u8; 32] = &b[16..].as_chunks().0[pair];
        let [low, high] = y.as_chunks_mut().0 else { return };
        let (scale_low, minimum_low) = scale_and_minimum::<f32>(&b[4..16], 2 * pair);
        let (scale_high, minimum_high) = scale_and_minimum::<f32>(&b[4..16], 2 * pair + 1);
        scale(&qs.map(|q| q & 15), d * scale_low, -(m * minimum_low), low);
        scale(&qs.map(|q| q >> 4), d * scale_high, -(m * minimum_high), high);
    }
}

/// Dequantizes a q5_k block, which is a q4_k block with 32 bytes of high bits before the 128 bytes of low bits.
#[inline(always)]
fn q5_k(b: &[u8; 176], y: &mut [f32; 256]) {
    let (d, m) = (half_at(b, 0), half_at(b, 2));
    for (group, y) in y.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale_of, minimum) = scale_and_minimum::<f32>(&b[4..16], group);
        let qs: &[u8; 32] = &b[48..].as_chunks().0[group / 2];
        let mut q = if group % 2 == 0 { qs.map(|q| q & 15) } else { qs.map(|q| q >> 4) };
        let qh: &[u8; 32] = &b[16..].as_chunks().0[0];
        for i in 0..32 {
            q[i] |= ((qh[i] >> group) & 1) << 4;
        }
        scale(&q, d * scale_of, -(m * minimum), y);
    }
}

/// Dequantizes a q6_k block: 128 bytes of low 4 bits, 64 bytes of high 2 bits, 16 signed scales, scale. Quants are
/// stored plus 32.
#[inline(always)]
fn q6_k(b: &[u8; 210], y: &mut [f32; 256]) {
    let d = half_at(b, 208);
    for (group, y) in y.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        // Each half of 128 weights is four groups that share 64 bytes of low bits and 32 bytes of high bits.
        let (half, within) = (group / 4, group % 4);
        let low: &[u8; 32] = &b[half * 64..].as_chunks().0[within % 2];
        let mut q = if within < 2 { low.map(|q| q & 15) } else { low.map(|q| q >> 4) };
        let high: &[u8; 32] = &b[128..].as_chunks().0[half];
        for i in 0..32 {
            q[i] |= ((high[i] >> (within * 2)) & 3) << 4;
        }
        let (q, y) = (q.as_chunks::<16>().0, y.as_chunks_mut::<16>().0);
        for (i, (q, y)) in q.iter().zip(y).enumerate() {
            let scale = f32::from(b[192 + half * 8 + within * 2 + i] as i8);
            scale_signed(q, 32, d * scale, y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::random;
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn every_f16_and_bf16_is_what_the_half_crate_says() {
        for bits in 0..=u16::MAX {
            let bytes = bits.to_le_bytes();
            let mut out = [0.0];
            dequantize(Scheme::F16, &bytes, &mut out);
            let exact = ::half::f16::from_bits(bits).to_f32_const();
            // A signalling NaN may become a quiet one.
            assert!(out[0].to_bits() == exact.to_bits() || (out[0].is_nan() && exact.is_nan()), "{bits:#x}");
            dequantize(Scheme::Bf16, &bytes, &mut out);
            assert_eq!(out[0].to_bits(), u32::from(bits) << 16);
        }
    }

    #[test]
    fn the_compiled_sets_agree_bit_for_bit() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(12);
        for scheme in Scheme::all() {
            let bytes = random::weights(scheme, 40, &mut rng);
            let weights = 40 * scheme.block_len();
            let bits = |values: &[f32]| values.iter().map(|y| y.to_bits()).collect::<Vec<_>>();
            let mut portable = vec![f32::NAN; weights];
            body(scheme, &bytes, &mut portable);
            for level in Level::available() {
                let mut fast = vec![f32::NAN; weights];
                dequantize_with(level, scheme, &bytes, &mut fast);
                assert!(bits(&fast) == bits(&portable), "{scheme} {}", level.name());
            }
        }
    }
}

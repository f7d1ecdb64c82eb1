//! A row of weights of any scheme as f32. The meaning of each block is ggml's (`ggml-quants.c`,
//! `dequantize_row_*`); the values are exact to the last bit of f32 arithmetic in that order.

use half::{bf16, f16};

use super::Scheme;
use super::cpu::kernel;

kernel! {
    /// Widens `bytes`, a whole number of blocks of `scheme`, into `out`.
    ///
    /// `out.len()` is the number of weights; `bytes` holds `scheme.row_bytes(out.len())` bytes.
    pub fn dequantize(scheme: Scheme, bytes: &[u8], out: &mut [f32]) = body
}

#[inline(always)]
fn body<const FUSED: bool>(scheme: Scheme, bytes: &[u8], out: &mut [f32]) {
    match scheme {
        Scheme::F32 => blocks::<4, 1>(bytes, out, |b, y| y[0] = f32::from_le_bytes(*b)),
        Scheme::F16 => blocks::<2, 1>(bytes, out, |b, y| y[0] = f16::from_le_bytes(*b).to_f32()),
        Scheme::Bf16 => blocks::<2, 1>(bytes, out, |b, y| y[0] = bf16::from_le_bytes(*b).to_f32()),
        Scheme::Q4_0 => blocks(bytes, out, q4_0),
        Scheme::Q4_1 => blocks(bytes, out, q4_1),
        Scheme::Q5_0 => blocks(bytes, out, q5_0),
        Scheme::Q5_1 => blocks(bytes, out, q5_1),
        Scheme::Q8_0 => blocks(bytes, out, q8_0),
        Scheme::Q2K => blocks(bytes, out, q2_k),
        Scheme::Q3K => blocks(bytes, out, q3_k),
        Scheme::Q4K => blocks(bytes, out, q4_k),
        Scheme::Q5K => blocks(bytes, out, q5_k),
        Scheme::Q6K => blocks(bytes, out, q6_k),
    }
}

/// Applies `block` to each block of `BYTES` bytes and `LEN` weights.
#[inline(always)]
fn blocks<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    out: &mut [f32],
    block: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    let (bytes, out) = (bytes.as_chunks::<BYTES>().0, out.as_chunks_mut::<LEN>().0);
    for (b, y) in bytes.iter().zip(out) {
        block(b, y);
    }
}

/// The f16 at byte `at`, as f32.
#[inline(always)]
fn half_at(b: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([b[at], b[at + 1]]).to_f32()
}

#[inline(always)]
fn word_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

/// Scale, then 16 bytes of two weights each: low halves first, minus 8.
#[inline(always)]
fn q4_0(b: &[u8; 18], y: &mut [f32; 32]) {
    let d = half_at(b, 0);
    for i in 0..16 {
        let q = b[2 + i];
        y[i] = f32::from((q & 15) as i8 - 8) * d;
        y[i + 16] = f32::from((q >> 4) as i8 - 8) * d;
    }
}

/// Scale, minimum, 16 bytes of two weights each.
#[inline(always)]
fn q4_1(b: &[u8; 20], y: &mut [f32; 32]) {
    let (d, m) = (half_at(b, 0), half_at(b, 2));
    for i in 0..16 {
        let q = b[4 + i];
        y[i] = f32::from(q & 15) * d + m;
        y[i + 16] = f32::from(q >> 4) * d + m;
    }
}

/// Scale, 32 fifth bits, 16 bytes of two weights each; minus 16.
#[inline(always)]
fn q5_0(b: &[u8; 22], y: &mut [f32; 32]) {
    let (d, high) = (half_at(b, 0), word_at(b, 2));
    for i in 0..16 {
        let q = b[6 + i];
        let (h0, h1) = (fifth_bit(high, i), fifth_bit(high, i + 16));
        y[i] = f32::from((q & 15 | h0) as i8 - 16) * d;
        y[i + 16] = f32::from((q >> 4 | h1) as i8 - 16) * d;
    }
}

/// Scale, minimum, 32 fifth bits, 16 bytes of two weights each.
#[inline(always)]
fn q5_1(b: &[u8; 24], y: &mut [f32; 32]) {
    let (d, m, high) = (half_at(b, 0), half_at(b, 2), word_at(b, 4));
    for i in 0..16 {
        let q = b[8 + i];
        let (h0, h1) = (fifth_bit(high, i), fifth_bit(high, i + 16));
        y[i] = f32::from(q & 15 | h0) * d + m;
        y[i + 16] = f32::from(q >> 4 | h1) * d + m;
    }
}

#[inline(always)]
fn fifth_bit(high: u32, i: usize) -> u8 {
    (((high >> i) & 1) << 4) as u8
}

/// Scale, 32 signed bytes.
#[inline(always)]
fn q8_0(b: &[u8; 34], y: &mut [f32; 32]) {
    let d = half_at(b, 0);
    for i in 0..32 {
        y[i] = f32::from(b[2 + i] as i8) * d;
    }
}

/// 16 scales and minima of 4 bits, 64 bytes of four weights each, then scale and minimum of the scales.
#[inline(always)]
fn q2_k(b: &[u8; 84], y: &mut [f32; 256]) {
    let (d, m) = (half_at(b, 80), half_at(b, 82));
    for (group, y) in y.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = b[group];
        let (dl, ml) = (d * f32::from(scale & 15), m * f32::from(scale >> 4));
        let (q, shift) = two_bits(group);
        for i in 0..16 {
            y[i] = dl * f32::from((b[16 + q + i] >> shift) & 3) - ml;
        }
    }
}

/// Where the 2-bit parts of a group of 16 weights are: first byte within the 64, and shift. Each half of the
/// 256 weights shares 32 bytes; within it, groups 2s and 2s+1 are at shift 2s.
#[inline(always)]
fn two_bits(group: usize) -> (usize, usize) {
    let (half, within) = (group / 8, group % 8);
    (half * 32 + (within % 2) * 16, within / 2 * 2)
}

/// 32 bytes of third bits, 64 bytes of four weights each, 16 scales of 6 bits in 12 bytes, scale.
#[inline(always)]
fn q3_k(b: &[u8; 110], y: &mut [f32; 256]) {
    let d = half_at(b, 108);
    let packed = &b[96..108];
    for (group, y) in y.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        // Low 4 bits: bytes 0..8, first the low halves, then the high ones. High 2 bits: bytes 8..12.
        let low = (packed[group % 8] >> (group / 8 * 4)) & 15;
        let high = (packed[8 + group % 4] >> (group / 4 * 2)) & 3;
        let dl = d * f32::from((low | high << 4) as i8 - 32);
        let (q, shift) = two_bits(group);
        let (third, bit) = ((group % 2) * 16, group / 2);
        for i in 0..16 {
            let low = ((b[32 + q + i] >> shift) & 3) as i8;
            let minus = if b[third + i] >> bit & 1 == 1 { 0 } else { 4 };
            y[i] = dl * f32::from(low - minus);
        }
    }
}

/// Scale and minimum of the j-th of 8 groups, 6 bits each, packed in 12 bytes (`get_scale_min_k4`).
#[inline(always)]
fn scale_and_minimum(packed: &[u8], j: usize) -> (f32, f32) {
    let (scale, minimum) = match j < 4 {
        true => (packed[j] & 63, packed[j + 4] & 63),
        false => (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4),
    };
    (f32::from(scale), f32::from(minimum))
}

/// Scale, minimum, 8 groups' scales and minima, 128 bytes of two weights each: each 32 bytes hold two groups.
#[inline(always)]
fn q4_k(b: &[u8; 144], y: &mut [f32; 256]) {
    let (d, m) = (half_at(b, 0), half_at(b, 2));
    for (group, y) in y.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, minimum) = scale_and_minimum(&b[4..16], group);
        let (dl, ml) = (d * scale, m * minimum);
        let (q, shift) = (16 + group / 2 * 32, group % 2 * 4);
        for i in 0..32 {
            y[i] = dl * f32::from((b[q + i] >> shift) & 15) - ml;
        }
    }
}

/// As q4_k, with 32 bytes of fifth bits before the 128.
#[inline(always)]
fn q5_k(b: &[u8; 176], y: &mut [f32; 256]) {
    let (d, m) = (half_at(b, 0), half_at(b, 2));
    for (group, y) in y.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, minimum) = scale_and_minimum(&b[4..16], group);
        let (dl, ml) = (d * scale, m * minimum);
        let (q, shift) = (48 + group / 2 * 32, group % 2 * 4);
        for i in 0..32 {
            let fifth = (b[16 + i] >> group & 1) << 4;
            y[i] = dl * f32::from((b[q + i] >> shift) & 15 | fifth) - ml;
        }
    }
}

/// 128 bytes of low 4 bits, 64 bytes of high 2 bits, 16 signed scales, scale; minus 32.
#[inline(always)]
fn q6_k(b: &[u8; 210], y: &mut [f32; 256]) {
    let d = half_at(b, 208);
    for (group, y) in y.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        // Each half of 128 weights is four groups over 64 bytes of low and 32 bytes of high bits.
        let (half, within) = (group / 4, group % 4);
        let low = half * 64 + within % 2 * 32;
        let high = 128 + half * 32;
        let (low_shift, high_shift) = (within / 2 * 4, within * 2);
        for i in 0..32 {
            let q = (b[low + i] >> low_shift) & 15 | ((b[high + i] >> high_shift) & 3) << 4;
            let scale = b[192 + half * 8 + within * 2 + i / 16] as i8;
            y[i] = d * f32::from(scale) * f32::from(q as i8 - 32);
        }
    }
}

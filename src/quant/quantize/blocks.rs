//! The schemes of 32 weights: nothing is searched, a block's largest weight or its ends decide. Byte for byte what
//! ggml's own writers give (`quantize_row_*_ref`, and gguf-py), so the order of operations is theirs, and a level
//! comes from the scale before it is rounded to f16.

use half::f16;

use super::groups::largest;

/// Writes an f16; `false` if it is not finite, as it is when weights are not.
#[inline(always)]
fn half(x: f32, b: &mut [u8]) -> bool {
    let half = f16::from_f32_const(x);
    b.copy_from_slice(&half.to_le_bytes());
    half.is_finite()
}

/// 1 / x, and 0 where x is 0.
#[inline(always)]
fn inverse(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { 1.0 / x }
}

/// 32 levels of 4 bits in 16 bytes: the first half of them in the low halves.
#[inline(always)]
fn nibbles(levels: &[u8; 32], b: &mut [u8]) {
    for (i, b) in b.iter_mut().enumerate() {
        *b = levels[i] & 15 | levels[16 + i] << 4;
    }
}

/// The fifth bits of 32 levels in 4 bytes, the first in the lowest.
#[inline(always)]
fn put_qh(levels: &[u8; 32], b: &mut [u8]) {
    let bits = levels.iter().enumerate().fold(0u32, |bits, (i, level)| bits | u32::from(level >> 4) << i);
    b.copy_from_slice(&bits.to_le_bytes());
}

/// Levels about zero, from 0 to 2 · `zero` - 1, and their scale: the weight of the largest magnitude is at level 0.
#[inline(always)]
fn about_zero(x: &[f32; 32], zero: u8) -> (f32, [u8; 32]) {
    let largest = largest(x);
    let extreme = x.iter().copied().find(|x| x.abs() == largest).unwrap_or(f32::NAN);
    let scale = extreme / -f32::from(zero);
    let inverse = inverse(scale);
    // Casting drops the fraction; what a subnormal scale makes of its weights is cut off, and zero in f16 anyway.
    (scale, x.map(|x| ((x * inverse + (f32::from(zero) + 0.5)) as u8).min(2 * zero - 1)))
}

/// Levels from the smallest weight at 0 to the largest at `top`, their scale, and that smallest weight.
#[inline(always)]
fn from_lowest(x: &[f32; 32], top: u8) -> (f32, f32, [u8; 32]) {
    let (mut lows, mut highs) = ([f32::INFINITY; 8], [f32::NEG_INFINITY; 8]);
    for x in x.as_chunks::<8>().0 {
        for i in 0..8 {
            lows[i] = if x[i] < lows[i] { x[i] } else { lows[i] };
            highs[i] = if x[i] > highs[i] { x[i] } else { highs[i] };
        }
    }
    let low = lows.iter().fold(lows[0], |low, x| if *x < low { *x } else { low });
    let high = highs.iter().fold(highs[0], |high, x| if *x > high { *x } else { high });
    let scale = (high - low) / f32::from(top);
    let inverse = inverse(scale);
    // A comparison with NaN is false, so it may have passed unseen.
    let low = if largest(x).is_finite() { low } else { f32::NAN };
    (scale, low, x.map(|x| (((x - low) * inverse + 0.5) as u8).min(top)))
}

/// Scale, 16 bytes of two weights each, minus 8.
#[inline(always)]
pub fn q4_0(x: &[f32; 32], b: &mut [u8; 18]) -> bool {
    let (scale, levels) = about_zero(x, 8);
    nibbles(&levels, &mut b[2..]);
    half(scale, &mut b[..2])
}

/// Scale, minimum, 16 bytes of two weights each.
#[inline(always)]
pub fn q4_1(x: &[f32; 32], b: &mut [u8; 20]) -> bool {
    let (scale, low, levels) = from_lowest(x, 15);
    nibbles(&levels, &mut b[4..]);
    half(scale, &mut b[..2]) & half(low, &mut b[2..4])
}

/// Scale, 32 fifth bits, 16 bytes of two weights each; minus 16.
#[inline(always)]
pub fn q5_0(x: &[f32; 32], b: &mut [u8; 22]) -> bool {
    let (scale, levels) = about_zero(x, 16);
    put_qh(&levels, &mut b[2..6]);
    nibbles(&levels, &mut b[6..]);
    half(scale, &mut b[..2])
}

/// Scale, minimum, 32 fifth bits, 16 bytes of two weights each.
#[inline(always)]
pub fn q5_1(x: &[f32; 32], b: &mut [u8; 24]) -> bool {
    let (scale, low, levels) = from_lowest(x, 31);
    put_qh(&levels, &mut b[4..8]);
    nibbles(&levels, &mut b[8..]);
    half(scale, &mut b[..2]) & half(low, &mut b[2..4])
}

/// Scale, 32 signed bytes.
#[inline(always)]
pub fn q8_0(x: &[f32; 32], b: &mut [u8; 34]) -> bool {
    /// Half, less the smallest step: added to a magnitude before its fraction is dropped it rounds to nearest, ties
    /// away from zero, where half itself would take 0.49999997 to 1.
    const HALF: f32 = 0.5 - f32::EPSILON / 4.0;
    let scale = largest(x) / 127.0;
    let inverse = inverse(scale);
    for i in 0..32 {
        let level = x[i] * inverse;
        b[2 + i] = ((level + HALF.copysign(level)) as i8).cast_unsigned();
    }
    half(scale, &mut b[..2])
}

//! Quantizes to the schemes with blocks of 32 weights. They need no search: the largest weight, or the smallest and
//! the largest, determine the block.
//!
//! The bytes are those of ggml's writers (`quantize_row_*_ref`, and gguf-py), so the order of operations is theirs.
//! Quants are computed with the scale before it is rounded to f16.

use half::f16;

use super::groups::largest;

/// Writes an f16. Returns `false` if it is not finite, which is also the case if the weights are not.
#[inline(always)]
fn half(x: f32, b: &mut [u8]) -> bool {
    let half = f16::from_f32_const(x);
    b.copy_from_slice(&half.to_le_bytes());
    half.is_finite()
}

/// Returns 1 / x, or 0 if x is 0.
#[inline(always)]
fn inverse(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { 1.0 / x }
}

/// Packs 32 quants of 4 bits in 16 bytes: the first half in the low nibbles.
#[inline(always)]
fn nibbles(quants: &[u8; 32], b: &mut [u8]) {
    for (i, b) in b.iter_mut().enumerate() {
        *b = quants[i] & 15 | quants[16 + i] << 4;
    }
}

/// Writes the high bits of 32 quants to 4 bytes, the first in the lowest bit.
#[inline(always)]
fn write_qh(quants: &[u8; 32], b: &mut [u8]) {
    let bits = quants.iter().enumerate().fold(0u32, |bits, (i, quant)| bits | u32::from(quant >> 4) << i);
    b.copy_from_slice(&bits.to_le_bytes());
}

/// Returns the scale and the quants, which are 0 to 2 · `zero` - 1 and centred on `zero`. The weight of the largest
/// magnitude gets quant 0.
#[inline(always)]
fn centred(x: &[f32; 32], zero: u8) -> (f32, [u8; 32]) {
    let largest = largest(x);
    let extreme = x.iter().copied().find(|x| x.abs() == largest).unwrap_or(f32::NAN);
    let scale = extreme / -f32::from(zero);
    let inverse = inverse(scale);
    // The cast truncates and saturates. A subnormal scale may produce quants that are too large; they are clamped,
    // and the scale is zero in f16 anyway.
    (scale, x.map(|x| ((x * inverse + (f32::from(zero) + 0.5)) as u8).min(2 * zero - 1)))
}

/// Returns the scale, the smallest weight and the quants, which are 0 for the smallest weight to `top` for the
/// largest.
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
    // Comparisons with NaN are false, so the loops above skip it.
    let low = if largest(x).is_finite() { low } else { f32::NAN };
    (scale, low, x.map(|x| (((x - low) * inverse + 0.5) as u8).min(top)))
}

/// Writes a q4_0 block: scale, 16 bytes of two weights each. Quants are stored plus 8.
#[inline(always)]
pub fn q4_0(x: &[f32; 32], b: &mut [u8; 18]) -> bool {
    let (scale, quants) = centred(x, 8);
    nibbles(&quants, &mut b[2..]);
    half(scale, &mut b[..2])
}

/// Writes a q4_1 block: scale, minimum, 16 bytes of two weights each.
#[inline(always)]
pub fn q4_1(x: &[f32; 32], b: &mut [u8; 20]) -> bool {
    let (scale, low, quants) = from_lowest(x, 15);
    nibbles(&quants, &mut b[4..]);
    half(scale, &mut b[..2]) & half(low, &mut b[2..4])
}

/// Writes a q5_0 block: scale, 32 high bits, 16 bytes of two weights each. Quants are stored plus 16.
#[inline(always)]
pub fn q5_0(x: &[f32; 32], b: &mut [u8; 22]) -> bool {
    let (scale, quants) = centred(x, 16);
    write_qh(&quants, &mut b[2..6]);
    nibbles(&quants, &mut b[6..]);
    half(scale, &mut b[..2])
}

/// Writes a q5_1 block: scale, minimum, 32 high bits, 16 bytes of two weights each.
#[inline(always)]
pub fn q5_1(x: &[f32; 32], b: &mut [u8; 24]) -> bool {
    let (scale, low, quants) = from_lowest(x, 31);
    write_qh(&quants, &mut b[4..8]);
    nibbles(&quants, &mut b[8..]);
    half(scale, &mut b[..2]) & half(low, &mut b[2..4])
}

/// Writes a q8_0 block: scale, 32 signed bytes.
#[inline(always)]
pub fn q8_0(x: &[f32; 32], b: &mut [u8; 34]) -> bool {
    /// One half minus the smallest step. Adding it to a magnitude before truncation rounds to nearest, ties away
    /// from zero. One half itself would round 0.49999997 to 1.
    const HALF: f32 = 0.5 - f32::EPSILON / 4.0;
    let scale = largest(x) / 127.0;
    let inverse = inverse(scale);
    for i in 0..32 {
        let quant = x[i] * inverse;
        b[2 + i] = ((quant + HALF.copysign(quant)) as i8).cast_unsigned();
    }
    half(scale, &mut b[..2])
}

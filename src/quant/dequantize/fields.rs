//! Reads the fields of a block: f16 numbers, 32-bit words, nibbles, and the 6-bit scales of k-quants.

/// Converts the f16 at byte `at` to f32.
///
/// It moves exponent and mantissa to their place in an f32 and corrects the bias of the exponent. A subnormal
/// becomes the mantissa of a number just above 2^-14, from which 2^-14 is subtracted. Multiplying by a power of two
/// would convert both, but processors take more than a hundred cycles for a subnormal f32, and the scales of
/// k-quants often are subnormal. The `half` crate's conversion checks the processor's features at every call, which
/// does not vectorise.
#[inline(always)]
pub(crate) fn half_at(b: &[u8], at: usize) -> f32 {
    const SMALLEST: u32 = 113 << 23;
    let bits = u32::from(u16::from_le_bytes([b[at], b[at + 1]]));
    let (sign, magnitude) = ((bits & 0x8000) << 16, bits & 0x7fff);
    let subnormal = (f32::from_bits(SMALLEST | magnitude << 13) - f32::from_bits(SMALLEST)).to_bits();
    let normal = (magnitude << 13) + (112 << 23);
    // Infinities and NaNs keep the largest exponent.
    let special = 0x7f80_0000 | magnitude << 13;
    let finite = if magnitude < 0x400 { subnormal } else { normal };
    f32::from_bits(sign | if magnitude >= 0x7c00 { special } else { finite })
}

/// Reads the 32 bits at byte `at`.
#[inline(always)]
pub(crate) fn word_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

/// Unpacks 16 bytes with two weights each: the low nibbles first, then the high ones.
#[inline(always)]
pub(crate) fn nibbles(b: &[u8; 16]) -> [u8; 32] {
    let mut q = [0; 32];
    for i in 0..16 {
        q[i] = b[i] & 15;
        q[16 + i] = b[i] >> 4;
    }
    q
}

/// Unpacks weights of 5 bits: nibbles with their high bits from `qh`.
#[inline(always)]
pub(crate) fn nibbles_and_high_bits(b: &[u8; 16], qh: u32) -> [u8; 32] {
    let mut q = nibbles(b);
    for (i, q) in q.iter_mut().enumerate() {
        *q |= (((qh >> i) & 1) << 4) as u8;
    }
    q
}

/// Returns the scale and minimum of group j of 8, unpacked from 12 bytes of 6-bit numbers (`get_scale_min_k4`).
#[inline(always)]
pub(crate) fn scale_and_minimum<T: From<u8>>(packed: &[u8], j: usize) -> (T, T) {
    let (scale, minimum) = match j < 4 {
        true => (packed[j] & 63, packed[j + 4] & 63),
        false => (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4),
    };
    (T::from(scale), T::from(minimum))
}

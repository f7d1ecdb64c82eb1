//! Unpacks a panel's bytes to registers. Weights of up to 6 bits are below 64, so signed bytes hold them without an
//! offset.

use std::arch::aarch64::*;

use super::piece::{LANES, Piece, load};

/// 32 columns of four rows.
pub type Columns = [int8x16_t; 8];

/// Unpacks the columns of a block of 32: eight pieces of bytes, or four pieces with two columns per byte. The
/// columns of 5-bit schemes also have a bit in the piece `qh`.
#[inline]
#[target_feature(enable = "neon")]
pub fn unpack_block32<const BITS: u32>(qh: &[Piece], words: &[Piece], quarter: usize) -> Columns {
    let mut w = [vdupq_n_s8(0); 8];
    if BITS == 8 {
        for (w, word) in w.iter_mut().zip(words) {
            *w = vreinterpretq_s8_u8(load(word, quarter));
        }
        return w;
    }
    for (s, word) in words.iter().enumerate().take(4) {
        let mut two = nibbles(load(word, quarter));
        for qh in qh {
            let qh = load(qh, quarter);
            two = [vorrq_u8(two[0], high_bit(qh, s)), vorrq_u8(two[1], high_bit(qh, 4 + s))];
        }
        [w[s], w[4 + s]] = [vreinterpretq_s8_u8(two[0]), vreinterpretq_s8_u8(two[1])];
    }
    w
}

/// Returns 16 in the bytes of columns 4s to 4s + 3 whose bit is set in the lane of `qh`.
#[inline]
#[target_feature(enable = "neon")]
fn high_bit(qh: uint8x16_t, s: usize) -> uint8x16_t {
    // The bits of four columns are half a byte.
    let lanes = vreinterpretq_u8_u64(vcombine_u64(
        vcreate_u64(0x0404_0404_0000_0000),
        vcreate_u64(0x0c0c_0c0c_0808_0808),
    ));
    let spread = vqtbl1q_u8(qh, vorrq_u8(lanes, vdupq_n_u8(s as u8 / 2)));
    let bits = if s.is_multiple_of(2) { 0x0804_0201 } else { 0x8040_2010 };
    vandq_u8(vtstq_u8(spread, vreinterpretq_u8_u32(vdupq_n_u32(bits))), vdupq_n_u8(16))
}

/// Unpacks groups 2 · `pair` and 2 · `pair` + 1 of q4_k or q5_k, which share their bytes. Bit j of `qh` belongs to
/// group j.
#[inline]
#[target_feature(enable = "neon")]
pub fn unpack_pair<const BITS: u32>(
    qh: &[Piece],
    words: &[Piece; 8],
    pair: usize,
    quarter: usize,
) -> [Columns; 2] {
    let [mut first, mut second] = [[vdupq_n_s8(0); 8]; 2];
    for (s, (first, second)) in first.iter_mut().zip(&mut second).enumerate() {
        let mut two = nibbles(load(&words[s], quarter));
        if BITS == 5 {
            let qh = load(&qh[s], quarter);
            for (which, w) in two.iter_mut().enumerate() {
                let qh = shift_left(qh, 4 - (2 * pair + which) as i8);
                *w = vorrq_u8(*w, vandq_u8(qh, vdupq_n_u8(16)));
            }
        }
        [*first, *second] = [vreinterpretq_s8_u8(two[0]), vreinterpretq_s8_u8(two[1])];
    }
    [first, second]
}

/// Unpacks two of the four runs of 32 columns in 128 columns of q6_k to signed weights. The runs `p` and `p + 2`, with
/// p = 0 or 1, share their bytes. Each byte of `high` has two bits for each of the four runs.
#[inline]
#[target_feature(enable = "neon")]
pub fn unpack_half(low: &[Piece; 8], high: &[Piece; 8], p: usize, quarter: usize) -> [Columns; 2] {
    let [mut first, mut second] = [[vdupq_n_s8(0); 8]; 2];
    for (s, (first, second)) in first.iter_mut().zip(&mut second).enumerate() {
        let mut two = nibbles(load(&low[s], quarter));
        let high = load(&high[s], quarter);
        for (which, w) in two.iter_mut().enumerate() {
            let top = shift_left(high, 4 - 2 * (p + 2 * which) as i8);
            *w = vorrq_u8(*w, vandq_u8(top, vdupq_n_u8(0x30)));
        }
        let offset = vdupq_n_s8(32);
        *first = vsubq_s8(vreinterpretq_s8_u8(two[0]), offset);
        *second = vsubq_s8(vreinterpretq_s8_u8(two[1]), offset);
    }
    [first, second]
}

/// The 6-bit scales and minima of four rows: each lane has one byte for each of four groups.
pub struct GroupNumbers {
    pub scales: [uint8x16_t; 2],
    pub minima: [uint8x16_t; 2],
}

impl GroupNumbers {
    /// Unpacks the 12 bytes of each row, as the x86 kernels do.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn new([a, b, c]: &[Piece; 3], quarter: usize) -> Self {
        let (a, b, c) = (load(a, quarter), load(b, quarter), load(c, quarter));
        let (six, top) = (vdupq_n_u8(63), vdupq_n_u8(0x30));
        let [scales, minima] = nibbles(c);
        Self {
            scales: [vandq_u8(a, six), vorrq_u8(scales, vandq_u8(shift_left(a, -2), top))],
            minima: [vandq_u8(b, six), vorrq_u8(minima, vandq_u8(shift_left(b, -2), top))],
        }
    }
}

/// Returns one of each lane's bytes, sign-extended.
#[inline]
#[target_feature(enable = "neon")]
pub fn widen_byte(x: uint8x16_t, which: usize) -> int32x4_t {
    let at_the_top = vshlq_s32(vreinterpretq_s32_u8(x), vdupq_n_s32(24 - 8 * which as i32));
    vshrq_n_s32::<24>(at_the_top)
}

/// Returns the low and the high 4 bits of each byte.
#[inline]
#[target_feature(enable = "neon")]
fn nibbles(x: uint8x16_t) -> [uint8x16_t; 2] {
    [vandq_u8(x, vdupq_n_u8(15)), vshrq_n_u8::<4>(x)]
}

/// Shifts each byte left, or right if `bits` is negative.
#[inline]
#[target_feature(enable = "neon")]
fn shift_left(x: uint8x16_t, bits: i8) -> uint8x16_t {
    vshlq_u8(x, vdupq_n_s8(bits))
}

/// Loads the f16 numbers of a quarter's rows as f32.
#[inline]
#[target_feature(enable = "neon")]
pub fn load_f16(numbers: &[u8], quarter: usize) -> float32x4_t {
    let numbers: &[u8; 2 * LANES] = &numbers.as_chunks().0[quarter];
    // SAFETY: the array is 8 bytes; the load requires no alignment.
    #[allow(unsafe_code)]
    unsafe {
        vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(numbers.as_ptr())))
    }
}

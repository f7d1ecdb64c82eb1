//! From a panel's bytes to registers. Weights of up to 6 bits are below 64: signed bytes hold them as they are.

use std::arch::aarch64::*;

use super::piece::{LANES, Piece, load};

/// 32 columns of four rows.
pub type Columns = [int8x16_t; 8];

/// The columns of a block of 32: eight pieces as they are, or four of two columns a byte, to which a high bit belongs where
/// there is a piece of those.
#[inline]
#[target_feature(enable = "neon")]
pub fn of_block<const BITS: u32>(qh: &[Piece], words: &[Piece], quarter: usize) -> Columns {
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

/// 16 in the bytes of columns 4s to 4s + 3 whose bit of the lane is set.
#[inline]
#[target_feature(enable = "neon")]
fn high_bit(qh: uint8x16_t, s: usize) -> uint8x16_t {
    // Four columns' bits are half of a byte.
    let lanes = vreinterpretq_u8_u64(vcombine_u64(
        vcreate_u64(0x0404_0404_0000_0000),
        vcreate_u64(0x0c0c_0c0c_0808_0808),
    ));
    let spread = vqtbl1q_u8(qh, vorrq_u8(lanes, vdupq_n_u8(s as u8 / 2)));
    let bits = if s.is_multiple_of(2) { 0x0804_0201 } else { 0x8040_2010 };
    vandq_u8(vtstq_u8(spread, vreinterpretq_u8_u32(vdupq_n_u32(bits))), vdupq_n_u8(16))
}

/// Groups 2 · `pair` and the next of q4_k and q5_k, which share their bytes. Bit j of `qh` is group j's.
#[inline]
#[target_feature(enable = "neon")]
pub fn of_pair<const BITS: u32>(
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
                let qh = left(qh, 4 - (2 * pair + which) as i8);
                *w = vorrq_u8(*w, vandq_u8(qh, vdupq_n_u8(16)));
            }
        }
        [*first, *second] = [vreinterpretq_s8_u8(two[0]), vreinterpretq_s8_u8(two[1])];
    }
    [first, second]
}

/// Of 128 columns of q6_k, signed, those from 32 · `p` on and those 64 after them, which share their bytes, for p = 0 or 1.
/// Each byte of `high` has two bits of all four times 32.
#[inline]
#[target_feature(enable = "neon")]
pub fn of_half(low: &[Piece; 8], high: &[Piece; 8], p: usize, quarter: usize) -> [Columns; 2] {
    let [mut first, mut second] = [[vdupq_n_s8(0); 8]; 2];
    for (s, (first, second)) in first.iter_mut().zip(&mut second).enumerate() {
        let mut two = nibbles(load(&low[s], quarter));
        let high = load(&high[s], quarter);
        for (which, w) in two.iter_mut().enumerate() {
            let top = left(high, 4 - 2 * (p + 2 * which) as i8);
            *w = vorrq_u8(*w, vandq_u8(top, vdupq_n_u8(0x30)));
        }
        let offset = vdupq_n_s8(32);
        *first = vsubq_s8(vreinterpretq_s8_u8(two[0]), offset);
        *second = vsubq_s8(vreinterpretq_s8_u8(two[1]), offset);
    }
    [first, second]
}

/// The 6-bit scales and minima of four rows: in each lane, one byte for each of four groups.
pub struct Small {
    pub scales: [uint8x16_t; 2],
    pub minima: [uint8x16_t; 2],
}

impl Small {
    /// From the 12 bytes of each row: as for AVX512.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn new([a, b, c]: &[Piece; 3], quarter: usize) -> Self {
        let (a, b, c) = (load(a, quarter), load(b, quarter), load(c, quarter));
        let (six, top) = (vdupq_n_u8(63), vdupq_n_u8(0x30));
        let [scales, minima] = nibbles(c);
        Self {
            scales: [vandq_u8(a, six), vorrq_u8(scales, vandq_u8(left(a, -2), top))],
            minima: [vandq_u8(b, six), vorrq_u8(minima, vandq_u8(left(b, -2), top))],
        }
    }
}

/// One of each lane's bytes, signed.
#[inline]
#[target_feature(enable = "neon")]
pub fn byte(x: uint8x16_t, which: usize) -> int32x4_t {
    let at_the_top = vshlq_s32(vreinterpretq_s32_u8(x), vdupq_n_s32(24 - 8 * which as i32));
    vshrq_n_s32::<24>(at_the_top)
}

/// The low and the high 4 bits of each byte.
#[inline]
#[target_feature(enable = "neon")]
fn nibbles(x: uint8x16_t) -> [uint8x16_t; 2] {
    [vandq_u8(x, vdupq_n_u8(15)), vshrq_n_u8::<4>(x)]
}

/// Each byte shifted: to the right by a number below 0.
#[inline]
#[target_feature(enable = "neon")]
fn left(x: uint8x16_t, bits: i8) -> uint8x16_t {
    vshlq_u8(x, vdupq_n_s8(bits))
}

/// The f16 numbers of a quarter's rows.
#[inline]
#[target_feature(enable = "neon")]
pub fn halves(numbers: &[u8], quarter: usize) -> float32x4_t {
    let numbers: &[u8; 2 * LANES] = &numbers.as_chunks().0[quarter];
    // SAFETY: the array is 8 bytes; the load asks for no alignment.
    #[allow(unsafe_code)]
    unsafe {
        vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(numbers.as_ptr())))
    }
}

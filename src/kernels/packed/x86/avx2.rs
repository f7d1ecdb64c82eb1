//! Eight rows in a register: AVX2 and AVX-VNNI.

use std::arch::x86_64::*;

use super::super::unpacked::Piece;
use super::lanes::{Kernel, Lanes, PIECE, intrinsics};
use crate::quant::ROWS;

/// Dot products with AVX2: pairs of bytes are added in 16 bits, pairs of those in 32 bits.
pub const PAIRS: u8 = 0;
/// Dot products with AVX-VNNI.
pub const VNNI: u8 = 1;
/// AVX-VNNI's dot products in the AVX512 encoding, for tests on processors without AVX-VNNI.
#[cfg(test)]
pub const AS_AVX512: u8 = 2;

/// AVX2 with one of the three dot products.
#[derive(Clone, Copy)]
pub struct Ymm<const DOT: u8>;

#[allow(unsafe_code)]
impl<const DOT: u8> Lanes for Ymm<DOT> {
    const VNNI: bool = DOT != PAIRS;
    const PANELS: usize = 1;
    const FEW: usize = 4;
    // With four rows, the sums do not fit the sixteen registers, and the product took a tenth longer.
    const HEIGHT: usize = 2;

    intrinsics! {
        __m256i, __m256, 8,
        zero: _mm256_setzero_si256, splat: _mm256_set1_epi32, repeat: _mm256_broadcastsi128_si256,
        load: _mm256_loadu_si256, store: _mm256_storeu_si256,
        and: _mm256_and_si256, or: _mm256_or_si256, add: _mm256_add_epi32, sub: _mm256_sub_epi32,
        sub_bytes: _mm256_sub_epi8, add_pairs: _mm256_add_epi16, mul: _mm256_mullo_epi32,
        left: _mm256_sll_epi32, right: _mm256_sra_epi32, left_pairs: _mm256_sll_epi16, right_pairs: _mm256_srl_epi16,
        upper_bytes: _mm256_srai_epi16, shuffle: _mm256_shuffle_epi8,
        load_f16: _mm256_cvtph_ps(_mm_loadu_si128), load_f32: _mm256_loadu_ps, store_f32: _mm256_storeu_ps,
        splat_f32: _mm256_set1_ps, as_floats: _mm256_castsi256_ps, as_ints: _mm256_castps_si256,
        floats: _mm256_cvtepi32_ps, mul_f32: _mm256_mul_ps, fma: _mm256_fmadd_ps, fnma: _mm256_fnmadd_ps,
    }

    #[inline(always)]
    unsafe fn run<K: Kernel>(kernel: K, out: &mut K::Out) {
        // SAFETY: the caller guarantees that the processor has the instruction set.
        unsafe {
            match DOT {
                PAIRS => pairs(kernel, out),
                #[cfg(test)]
                AS_AVX512 => as_avx512(kernel, out),
                _ => vnni(kernel, out),
            }
        }
    }

    // A table lookup takes one operation less than a comparison, but its index is only the low half of a byte.
    #[inline(always)]
    fn add_qh(w: __m256i, qh: __m256i, s: usize) -> __m256i {
        let qh = Self::shift_bits(qh, s % 2 * 4, 0);
        let lane = Self::repeat([0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c]);
        // The bits of four columns are half a byte.
        let spread = Self::or(lane, Self::splat(s as i32 / 2 * 0x0101_0101));
        let bits = Self::and(Self::shuffle(qh, spread), Self::splat(0x0804_0201));
        let table = Self::repeat([0x0010_1000, 0x10, 0x10, 0]);
        Self::or(w, Self::shuffle(table, bits))
    }

    #[inline(always)]
    fn computed(x: __m256i) -> __m256i {
        // SAFETY: a register value exists only if the processor has the instruction set.
        unsafe { computed(x) }
    }

    #[inline(always)]
    fn dot(sums: __m256i, w: __m256i, x: __m256i) -> __m256i {
        // SAFETY: a register value exists only if the processor has the instruction set.
        unsafe {
            match DOT {
                PAIRS => _mm256_add_epi16(sums, _mm256_maddubs_epi16(w, x)),
                #[cfg(test)]
                AS_AVX512 => _mm256_dpbusd_epi32(sums, w, x),
                _ => _mm256_dpbusd_avx_epi32(sums, w, x),
            }
        }
    }

    #[inline(always)]
    fn dot_signed(sums: __m256i, w: __m256i, x: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe {
            if DOT != PAIRS {
                return Self::dot(sums, _mm256_xor_si256(w, _mm256_set1_epi8(i8::MIN)), x);
            }
            // |w| · (x · sign w): the sum of two, 2 · 128 · 127, fits 16 bits.
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
            Self::dot_pairs(sums, pairs, _mm256_set1_epi16(1))
        }
    }

    #[inline(always)]
    fn dot_pairs(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe {
            match DOT {
                PAIRS => _mm256_add_epi32(sums, _mm256_madd_epi16(a, b)),
                #[cfg(test)]
                AS_AVX512 => _mm256_dpwssd_epi32(sums, a, b),
                _ => _mm256_dpwssd_avx_epi32(sums, a, b),
            }
        }
    }
}

#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
fn pairs<K: Kernel>(kernel: K, out: &mut K::Out) {
    kernel.run::<Ymm<PAIRS>>(out);
}

#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn vnni<K: Kernel>(kernel: K, out: &mut K::Out) {
    kernel.run::<Ymm<VNNI>>(out);
}

#[cfg(test)]
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c,avx512vl,avx512vnni")]
fn as_avx512<K: Kernel>(kernel: K, out: &mut K::Out) {
    kernel.run::<Ymm<AS_AVX512>>(out);
}

#[inline]
#[target_feature(enable = "avx2")]
fn computed(mut x: __m256i) -> __m256i {
    // SAFETY: the assembly has no instruction.
    #[allow(unsafe_code)]
    unsafe {
        std::arch::asm!("/* {x} */", x = inout(ymm_reg) x, options(nomem, nostack, preserves_flags));
    }
    x
}

//! Sixteen rows in a register: AVX512-VNNI.

use std::arch::x86_64::*;

use super::super::unpacked::Piece;
use super::lanes::{Kernel, Lanes, PIECE, intrinsics};
use crate::quant::ROWS;

/// The AVX512-VNNI instruction set.
#[derive(Clone, Copy)]
pub struct Avx512;

#[allow(unsafe_code)]
impl Lanes for Avx512 {
    const VNNI: bool = true;
    const PANELS: usize = 2;
    const FEW: usize = 8;
    // With two panels, two loads of weights and eight broadcasts feed sixteen instructions, whose sums fill half
    // the registers.
    const HEIGHT: usize = 8;

    intrinsics! {
        __m512i, __m512, 16,
        zero: _mm512_setzero_si512, splat: _mm512_set1_epi32, repeat: _mm512_broadcast_i32x4,
        load: _mm512_loadu_si512, store: _mm512_storeu_si512,
        and: _mm512_and_si512, or: _mm512_or_si512, add: _mm512_add_epi32, sub: _mm512_sub_epi32,
        sub_bytes: _mm512_sub_epi8, add_pairs: _mm512_add_epi16, mul: _mm512_mullo_epi32,
        left: _mm512_sll_epi32, right: _mm512_sra_epi32, left_pairs: _mm512_sll_epi16, right_pairs: _mm512_srl_epi16,
        upper_bytes: _mm512_srai_epi16, shuffle: _mm512_shuffle_epi8,
        load_f16: _mm512_cvtph_ps(_mm256_loadu_si256), load_f32: _mm512_loadu_ps, store_f32: _mm512_storeu_ps,
        splat_f32: _mm512_set1_ps, as_floats: _mm512_castsi512_ps, as_ints: _mm512_castps_si512,
        floats: _mm512_cvtepi32_ps, mul_f32: _mm512_mul_ps, fma: _mm512_fmadd_ps, fnma: _mm512_fnmadd_ps,
    }

    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run<K: Kernel>(kernel: K, out: &mut K::Out) {
        kernel.run::<Self>(out);
    }

    #[inline(always)]
    fn add_qh(w: __m512i, qh: __m512i, s: usize) -> __m512i {
        let lane = Self::repeat([0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c]);
        // The bits of four columns are half a byte.
        let spread = Self::or(lane, Self::splat(s as i32 / 2 * 0x0101_0101));
        let bits = Self::splat(if s.is_multiple_of(2) { 0x0804_0201 } else { 0x8040_2010_u32 as i32 });
        // SAFETY: a register value exists only if the processor has the instruction set.
        unsafe {
            let set = _mm512_test_epi8_mask(Self::shuffle(qh, spread), bits);
            _mm512_mask_add_epi8(w, set, w, _mm512_set1_epi8(16))
        }
    }

    #[inline(always)]
    fn computed(x: __m512i) -> __m512i {
        // SAFETY: a register value exists only if the processor has the instruction set.
        unsafe { computed(x) }
    }

    #[inline(always)]
    fn dot(sums: __m512i, w: __m512i, x: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_dpbusd_epi32(sums, w, x) }
    }

    #[inline(always)]
    fn dot_signed(sums: __m512i, w: __m512i, x: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_dpbusd_epi32(sums, _mm512_xor_si512(w, _mm512_set1_epi8(i8::MIN)), x) }
    }

    #[inline(always)]
    fn dot_pairs(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_dpwssd_epi32(sums, a, b) }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn computed(mut x: __m512i) -> __m512i {
    // SAFETY: the assembly has no instruction.
    #[allow(unsafe_code)]
    unsafe {
        std::arch::asm!("/* {x} */", x = inout(zmm_reg) x, options(nomem, nostack, preserves_flags));
    }
    x
}

//! Vectors of f32, so that a kernel is written once for all instruction sets.
//!
//! A kernel is a function that is generic over [`Simd`] and `#[inline(always)]`, as are all methods here.
//! [`dispatch`] inlines it into a function with the features of an instruction set. No function between the two may
//! use a closure: it would be compiled without the features, and each intrinsic in it would be a call.
//!
//! All instruction sets compute a lane in the same way. So a kernel whose lanes do not depend on the number of lanes
//! gives the same bits with every instruction set.

use half::{bf16, f16};

use super::level::{FUSED, multiply_add};

/// A vector of f32.
pub(crate) trait Simd: Copy {
    /// Number of lanes.
    const LANES: usize;

    /// Broadcasts a number to all lanes.
    fn splat(x: f32) -> Self;
    /// Loads f32 numbers.
    ///
    /// # Safety
    /// `LANES` numbers can be read.
    #[allow(unsafe_code)]
    unsafe fn load(from: *const f32) -> Self;
    /// Stores f32 numbers.
    ///
    /// # Safety
    /// `LANES` numbers can be written.
    #[allow(unsafe_code)]
    unsafe fn store(self, to: *mut f32);
    /// Loads f16 numbers as f32.
    ///
    /// # Safety
    /// `LANES` numbers can be read.
    #[allow(unsafe_code)]
    unsafe fn load_f16(from: *const f16) -> Self;
    /// Loads bf16 numbers as f32.
    ///
    /// # Safety
    /// `LANES` numbers can be read.
    #[allow(unsafe_code)]
    unsafe fn load_bf16(from: *const bf16) -> Self;
    /// Loads signed bytes as f32.
    ///
    /// # Safety
    /// `LANES` numbers can be read.
    #[allow(unsafe_code)]
    unsafe fn load_i8(from: *const i8) -> Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn max(self, other: Self) -> Self;
    /// Returns `self · b + c`, rounded once.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// Selects `below` in lanes less than `limit`, else `otherwise`. NaN is not less.
    fn if_less(self, limit: Self, below: Self, otherwise: Self) -> Self;
    /// Returns 2^n for lanes that are 1.5 · 2^23 + n, with n from -126 to 127.
    fn exp2_of_shifted(self) -> Self;
}

/// Returns e^x, with an error of at most 1.5 ulp.
///
/// The result is 0 below -87.3, where it would be subnormal, infinity above 88.3 (2^127.4), and NaN for NaN. The
/// reduction x = n·ln 2 + r with |r| <= ln 2 / 2 and its polynomial are from Cephes (`expf`).
#[inline(always)]
pub(crate) fn exp<S: Simd>(x: S) -> S {
    // Adding 1.5 · 2^23 rounds to an integer, because the sum's ulp is 1.
    let shift = S::splat(12_582_912.0);
    // Outside these limits n would not fit. NaN passes both.
    let low = S::splat(-87.3);
    let within = x.if_less(low, low, x);
    let high = S::splat(88.3);
    let within = high.if_less(within, high, within);
    let shifted = within.mul_add(S::splat(std::f32::consts::LOG2_E), shift);
    let n = shifted.sub(shift);
    let r = n.mul_add(S::splat(-0.693_359_4), within);
    let r = n.mul_add(S::splat(2.121_944_4e-4), r);
    let mut p = S::splat(1.987_569_2e-4);
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, S::splat(coefficient));
    }
    let e = p.mul_add(r.mul(r), r).add(S::splat(1.0));
    let e = e.mul(shifted.exp2_of_shifted());
    let e = x.if_less(low, S::splat(0.0), e);
    high.if_less(x, S::splat(f32::INFINITY), e)
}

/// Calls `$kernel::<S, …>($argument…)` with the vectors of the instruction set in use, in a function that has its
/// features. The kernel and everything that it calls must be `#[inline(always)]`.
macro_rules! dispatch {
    ($kernel:ident $(<$generic:ty>)? ($($argument:ident: $type:ty),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        {
            use $crate::cpu::{Level, level};
            #[target_feature(enable = "avx512f,avx512bw,avx2,fma,f16c")]
            fn avx512($($argument: $type),*) {
                $kernel::<$crate::cpu::simd::Avx512 $(, $generic)?>($($argument),*)
            }
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($($argument: $type),*) {
                $kernel::<$crate::cpu::simd::Avx2 $(, $generic)?>($($argument),*)
            }
            // SAFETY: a `Level` exists only where its features were detected.
            #[allow(unsafe_code)]
            unsafe {
                match level() {
                    Level::Portable => $kernel::<$crate::cpu::simd::Portable $(, $generic)?>($($argument),*),
                    Level::Avx2 | Level::AvxVnni => avx2($($argument),*),
                    _ => avx512($($argument),*),
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        $kernel::<$crate::cpu::simd::Portable $(, $generic)?>($($argument),*)
    }};
}
pub(crate) use dispatch;

/// A vector in plain Rust, as the compiler vectorises it; on aarch64 with NEON.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 8]);

impl Portable {
    #[inline(always)]
    fn each(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

#[allow(unsafe_code)]
impl Simd for Portable {
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; 8])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller guarantees that the numbers can be read; the read needs no alignment.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller guarantees that the numbers can be written; the write needs no alignment.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: the caller guarantees that the numbers can be read; the read needs no alignment.
        Self(unsafe { from.cast::<[f16; 8]>().read_unaligned() }.map(f16::to_f32))
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: the caller guarantees that the numbers can be read; the read needs no alignment.
        Self(
            unsafe { from.cast::<[bf16; 8]>().read_unaligned() }
                .map(|x| f32::from_bits(u32::from(x.to_bits()) << 16)),
        )
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: the caller guarantees that the numbers can be read; the read needs no alignment.
        Self(unsafe { from.cast::<[i8; 8]>().read_unaligned() }.map(f32::from))
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.each(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.each(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.each(other, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.each(other, |a, b| a / b)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // Like x86: the second operand if one of them is NaN.
        self.each(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        let each = |i: usize| multiply_add::<FUSED>(self.0[i], b.0[i], c.0[i]);
        Self(std::array::from_fn(each))
    }
    #[inline(always)]
    fn if_less(self, limit: Self, below: Self, otherwise: Self) -> Self {
        let each = |i: usize| if self.0[i] < limit.0[i] { below.0[i] } else { otherwise.0[i] };
        Self(std::array::from_fn(each))
    }
    #[inline(always)]
    fn exp2_of_shifted(self) -> Self {
        Self(self.0.map(|x| f32::from_bits((x.to_bits() << 23).wrapping_add(127 << 23))))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// The vectors of x86-64. Their methods are trait methods, so they are not compiled with the features of their
/// instructions. Inlined into a function that has the features, they become single instructions.
///
/// Safety of all blocks here: a value of either type is created only where [`dispatch`] has found the features.
/// Loads and stores access the bytes that the callers guarantee.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use std::arch::x86_64::*;

    use half::{bf16, f16};

    use super::Simd;

    /// Eight lanes, AVX2.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    /// Sixteen lanes, AVX512.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    macro_rules! binary {
        ($($method:ident = $instruction:ident),*) => {
            $(
                #[inline(always)]
                fn $method(self, other: Self) -> Self {
                    // SAFETY: see the module.
                    Self(unsafe { $instruction(self.0, other.0) })
                }
            )*
        };
    }

    macro_rules! loads {
        ($($method:ident($element:ty) = |$from:ident| $load:expr),* $(,)?) => {
            $(
                #[inline(always)]
                unsafe fn $method($from: *const $element) -> Self {
                    // SAFETY: see the module.
                    Self(unsafe { $load })
                }
            )*
        };
    }

    impl Simd for Avx2 {
        const LANES: usize = 8;

        binary!(
            add = _mm256_add_ps,
            sub = _mm256_sub_ps,
            mul = _mm256_mul_ps,
            div = _mm256_div_ps,
            max = _mm256_max_ps
        );
        loads!(
            load(f32) = |from| _mm256_loadu_ps(from),
            load_f16(f16) = |from| _mm256_cvtph_ps(_mm_loadu_si128(from.cast())),
            load_bf16(bf16) = |from| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(
                _mm_loadu_si128(from.cast())
            ))),
            load_i8(i8) = |from| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))),
        );

        #[inline(always)]
        fn splat(x: f32) -> Self {
            // SAFETY: see the module.
            Self(unsafe { _mm256_set1_ps(x) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see the module.
            unsafe { _mm256_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: see the module.
            Self(unsafe { _mm256_fmadd_ps(self.0, b.0, c.0) })
        }
        #[inline(always)]
        fn if_less(self, limit: Self, below: Self, otherwise: Self) -> Self {
            // SAFETY: see the module.
            Self(unsafe {
                _mm256_blendv_ps(otherwise.0, below.0, _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, limit.0))
            })
        }
        #[inline(always)]
        fn exp2_of_shifted(self) -> Self {
            // SAFETY: see the module.
            Self(unsafe {
                let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(self.0));
                _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_set1_epi32(127 << 23)))
            })
        }
    }

    impl Simd for Avx512 {
        const LANES: usize = 16;

        binary!(
            add = _mm512_add_ps,
            sub = _mm512_sub_ps,
            mul = _mm512_mul_ps,
            div = _mm512_div_ps,
            max = _mm512_max_ps
        );
        loads!(
            load(f32) = |from| _mm512_loadu_ps(from),
            load_f16(f16) = |from| _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())),
            load_bf16(bf16) = |from| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(
                _mm256_loadu_si256(from.cast())
            ))),
            load_i8(i8) = |from| _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))),
        );

        #[inline(always)]
        fn splat(x: f32) -> Self {
            // SAFETY: see the module.
            Self(unsafe { _mm512_set1_ps(x) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see the module.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: see the module.
            Self(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
        }
        #[inline(always)]
        fn if_less(self, limit: Self, below: Self, otherwise: Self) -> Self {
            // SAFETY: see the module.
            Self(unsafe {
                let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, limit.0);
                _mm512_mask_blend_ps(less, otherwise.0, below.0)
            })
        }
        #[inline(always)]
        fn exp2_of_shifted(self) -> Self {
            // SAFETY: see the module.
            Self(unsafe {
                let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(self.0));
                _mm512_castsi512_ps(_mm512_add_epi32(exponent, _mm512_set1_epi32(127 << 23)))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exp_of_all(x: &mut [f32]) {
        dispatch!(each_exp(x: &mut [f32]));
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn each_exp<S: Simd>(x: &mut [f32]) {
        for x in x.chunks_exact_mut(S::LANES) {
            // SAFETY: a chunk is LANES numbers.
            unsafe { exp(S::load(x.as_ptr())).store(x.as_mut_ptr()) }
        }
    }

    fn close(x: f32, y: f32) -> bool {
        let exact = f64::from(x).exp();
        (f64::from(y) - exact).abs() <= exact * 1.8e-7
    }

    #[test]
    fn exp_is_the_exponential() {
        let mut x: Vec<f32> = (0..16 * 1000).map(|i| (i as f32 - 8000.0) * 0.0109).collect();
        let before = x.clone();
        exp_of_all(&mut x);
        assert!(before.iter().zip(&x).all(|(x, y)| close(*x, *y)));
        let mut portable = before.clone();
        each_exp::<Portable>(&mut portable);
        assert!(x.iter().zip(&portable).all(|(x, y)| x.to_bits() == y.to_bits()));
    }

    #[test]
    fn exp_of_the_ends_is_exact() {
        let ends = [0.0, -0.0, -87.4, -1e30, f32::NEG_INFINITY, 88.8, 1e30, f32::INFINITY, f32::NAN];
        let mut x = [0.0; 16];
        x[..ends.len()].copy_from_slice(&ends);
        let mut y = x;
        exp_of_all(&mut y);
        each_exp::<Portable>(&mut x);
        let expected = [1.0, 1.0, 0.0, 0.0, 0.0, f32::INFINITY, f32::INFINITY, f32::INFINITY];
        assert!(x[..8] == expected && y[..8] == expected, "{x:?} {y:?}");
        assert!(x[8].is_nan() && y[8].is_nan());
    }
}

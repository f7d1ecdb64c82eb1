//! Rounds blocks of activations to signed bytes, and sums them for the offsets and minima of weights.
//!
//! One thread does this before every product of every token while the other threads wait, so its speed matters.

use crate::cpu::{FUSED, Level, multiply_add};

/// Sums over a row's block of 256 columns, one entry per plane, as kernels multiply them.
pub struct Sums<'a> {
    /// Sums of 32 columns, packed as pairs of 16 bits.
    pub bsums32: &'a mut [[i32; 4]],
    /// Sums of 16 columns, packed as pairs of 16 bits.
    pub bsums16: &'a mut [[i32; 8]],
    /// Sums of 8 columns, times -32, which corrects for the offset of unsigned 6-bit weights.
    pub bsums8: &'a mut [[i32; 32]],
}

/// Blocks whose largest magnitude is at most this are rounded to zeros, because the inverse of the scale could be
/// infinite.
const TINY: f32 = 1e-30;

/// Steps of the second plane per step of the first: half a step of the first is 127 steps of the second.
///
/// Kernels combine a row's integer sums first, as `STEPS · first + second` in f32, fused. The operations after that
/// are the same as with one plane.
pub const STEPS: i32 = 254;

/// The step between a plane's quants.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Size of a step.
    scale: f32,
    /// Factor from values to quants; `None` if all quants are zero.
    inverse: Option<f32>,
}

impl Step {
    /// Returns the step of the first plane, 1/127 of the largest magnitude, which is given by its bits.
    #[inline(always)]
    fn of(largest: u32) -> Self {
        let largest = f32::from_bits(largest);
        let inverse = (largest > TINY && largest.is_finite()).then(|| 127.0 / largest);
        Self { scale: largest / 127.0, inverse }
    }

    /// Returns the step of the second plane.
    #[inline(always)]
    fn finer(self) -> Self {
        let steps = STEPS as f32;
        Self { scale: self.scale / steps, inverse: self.inverse.map(|inverse| inverse * steps) }
    }
}

/// Quantizes 32 values to one or two planes.
///
/// The quants of the first plane are the nearest multiples of 1/127 of the largest magnitude, ties to even. The
/// second plane does the same with the remainder `x - q · scale`, rounded once, in steps that are [`STEPS`] times
/// finer. `scales` receives the scale of each plane, `bsums` the negated sum of its quants.
#[inline]
pub fn block32(level: Level, x: &[f32; 32], q: &mut [[i8; 32]], scales: &mut [f32], bsums: &mut [i32]) {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2 {
        // SAFETY: a `Level` exists only where its features were detected.
        #[allow(unsafe_code)]
        return unsafe { avx2::block32(x, q, scales, bsums) };
    }
    let _ = level;
    planes(x, q, scales);
    for (bsums, q) in bsums.iter_mut().zip(q) {
        *bsums = -q.iter().map(|q| i32::from(*q)).sum::<i32>();
    }
}

/// Quantizes 256 values like [`block32`], with the sums of k-quants.
#[inline]
pub fn block256(level: Level, x: &[f32; 256], q: &mut [[i8; 256]], scales: &mut [f32], sums: Sums) {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2 {
        // SAFETY: a `Level` exists only where its features were detected.
        #[allow(unsafe_code)]
        return unsafe { avx2::block256(x, q, scales, sums) };
    }
    let _ = level;
    planes(x, q, scales);
    let pair = |low: &[i32], high: &[i32]| {
        let [low, high] = [low, high].map(|bsums8| bsums8.iter().sum::<i32>() / -32);
        low & 0xffff | high << 16
    };
    let Sums { bsums32, bsums16, bsums8 } = sums;
    for (((q, bsums32), bsums16), bsums8) in q.iter().zip(bsums32).zip(bsums16).zip(bsums8) {
        for (sum, q) in bsums8.iter_mut().zip(q.as_chunks::<8>().0) {
            *sum = -32 * i32::from(q.iter().map(|q| i16::from(*q)).sum::<i16>());
        }
        for (sums, bsums8) in bsums16.iter_mut().zip(bsums8.as_chunks::<4>().0) {
            *sums = pair(&bsums8[..2], &bsums8[2..]);
        }
        for (sums, bsums8) in bsums32.iter_mut().zip(bsums8.as_chunks::<8>().0) {
            *sums = pair(&bsums8[..4], &bsums8[4..]);
        }
    }
}

fn planes<const N: usize>(x: &[f32; N], q: &mut [[i8; N]], scales: &mut [f32]) {
    let (mut left, mut step) = (*x, Step::of(largest(x)));
    for (plane, scale) in scales.iter_mut().enumerate() {
        if let Some(before) = plane.checked_sub(1) {
            left =
                std::array::from_fn(|i| multiply_add::<FUSED>(-f32::from(q[before][i]), step.scale, left[i]));
            step = step.finer();
        }
        quantize(&left, step, &mut q[plane]);
        *scale = step.scale;
    }
}

/// Returns the bits of the largest magnitude. Compared as integers, magnitudes keep their order and NaN is the
/// largest.
fn largest(x: &[f32]) -> u32 {
    x.iter().fold(0, |m, x| (x.to_bits() & 0x7fff_ffff).max(m))
}

fn quantize(x: &[f32], step: Step, q: &mut [i8]) {
    let Some(inverse) = step.inverse else { return q.fill(0) };
    for (q, x) in q.iter_mut().zip(x) {
        // 1.5 · 2^23 has ulp 1, so the low byte of the sum is the nearest integer. Twice as fast as
        // `round_ties_even`.
        *q = (x * inverse + 12_582_912.0).to_bits() as i8;
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Step, Sums};

    #[target_feature(enable = "avx2,fma")]
    pub fn block32(x: &[f32; 32], q: &mut [[i8; 32]], scales: &mut [f32], bsums: &mut [i32]) {
        let (mut left, mut step) = (values(x), Step::of(largest(x)));
        for (plane, scale) in scales.iter_mut().enumerate() {
            if let Some(before) = plane.checked_sub(1) {
                left = rest(left, &q[before], step.scale);
                step = step.finer();
            }
            let quants = match step.inverse {
                Some(inverse) => rounded(left, _mm256_set1_ps(inverse)),
                None => _mm256_setzero_si256(),
            };
            put_32(quants, &mut q[plane], &mut bsums[plane]);
            *scale = step.scale;
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn put_32(quants: __m256i, q: &mut [i8; 32], bsums: &mut i32) {
        store(q, quants);
        let sums = sums_of_8(quants);
        let sums = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let sum = _mm_add_epi64(sums, _mm_unpackhi_epi64(sums, sums));
        *bsums = 32 * 128 - _mm_cvtsi128_si32(sum);
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn block256(x: &[f32; 256], q: &mut [[i8; 256]], scales: &mut [f32], sums: Sums) {
        let mut step = Step::of(largest(x));
        for (plane, scale) in scales.iter_mut().enumerate() {
            let (before, now) = q.split_at_mut(plane);
            let before = before.last().map(|q| (q.as_chunks::<32>().0, step.scale));
            if before.is_some() {
                step = step.finer();
            }
            let mut quants = [_mm256_setzero_si256(); 8];
            if let Some(inverse) = step.inverse {
                for (i, (quants, x)) in quants.iter_mut().zip(x.as_chunks().0).enumerate() {
                    let mut left = values(x);
                    if let Some((q, scale)) = before {
                        left = rest(left, &q[i], scale);
                    }
                    *quants = rounded(left, _mm256_set1_ps(inverse));
                }
            }
            let (bsums32, bsums16) = (&mut sums.bsums32[plane], &mut sums.bsums16[plane]);
            put_256(quants, &mut now[0], bsums32, bsums16, &mut sums.bsums8[plane]);
            *scale = step.scale;
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn put_256(
        quants: [__m256i; 8],
        q: &mut [i8; 256],
        bsums32: &mut [i32; 4],
        bsums16: &mut [i32; 8],
        bsums8: &mut [i32; 32],
    ) {
        // Sums of 8 columns, eight to a register.
        let mut sums8 = [_mm256_setzero_si256(); 4];
        for (q, quants) in q.as_chunks_mut().0.iter_mut().zip(quants) {
            store(q, quants);
        }
        for (sums8, quants) in sums8.iter_mut().zip(quants.as_chunks::<2>().0) {
            // Keep the low 32 bits of each of the eight 64-bit sums.
            let [a, b] = quants.map(|quants| _mm256_castsi256_ps(sums_of_8(quants)));
            let low = _mm256_castps_si256(_mm256_shuffle_ps::<0b10_00_10_00>(a, b));
            *sums8 = _mm256_sub_epi32(in_order(low), _mm256_set1_epi32(8 * 128));
        }
        for (out, sums8) in bsums8.as_chunks_mut().0.iter_mut().zip(sums8) {
            let negative = _mm256_sub_epi32(_mm256_setzero_si256(), sums8);
            store_words(out, _mm256_slli_epi32::<5>(negative));
        }
        let [a, b, c, d] = sums8;
        let (first, last) = (_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        let sums16 = in_order(_mm256_packs_epi32(in_order(first), in_order(last)));
        store_words(bsums16, sums16);
        let sums32 = _mm256_madd_epi16(sums16, _mm256_set1_epi16(1));
        let (first, last) = (_mm256_castsi256_si128(sums32), _mm256_extracti128_si256::<1>(sums32));
        // SAFETY: the array is 16 bytes; the store requires no alignment.
        #[allow(unsafe_code)]
        unsafe {
            _mm_storeu_si128(bsums32.as_mut_ptr().cast(), _mm_packs_epi32(first, last));
        }
    }

    /// Returns the bits of the largest magnitude. Compared as integers, magnitudes keep their order and NaN is the
    /// largest.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn largest(x: &[f32]) -> u32 {
        let magnitude = _mm256_set1_epi32(i32::MAX);
        let mut largest = [_mm256_setzero_si256(); 4];
        for x in x.as_chunks::<32>().0 {
            for (largest, x) in largest.iter_mut().zip(x.as_chunks().0) {
                let bits = _mm256_and_si256(_mm256_castps_si256(load(x)), magnitude);
                *largest = _mm256_max_epi32(*largest, bits);
            }
        }
        let [a, b, c, d] = largest;
        let all = _mm256_max_epi32(_mm256_max_epi32(a, b), _mm256_max_epi32(c, d));
        let four = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
        let two = _mm_max_epi32(four, _mm_unpackhi_epi64(four, four));
        let one = _mm_max_epi32(two, _mm_shuffle_epi32::<1>(two));
        _mm_cvtsi128_si32(one) as u32
    }

    /// Returns the integers nearest to values times the inverse of the scale, ties to even. That is the default
    /// rounding mode, and Rust does not allow changing it.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn rounded(x: [__m256; 4], inverse: __m256) -> __m256i {
        let [a, b, c, d] = x.map(|x| _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse)));
        let bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn values(x: &[f32; 32]) -> [__m256; 4] {
        let x = x.as_chunks().0;
        [load(&x[0]), load(&x[1]), load(&x[2]), load(&x[3])]
    }

    /// Returns the remainder of values after subtracting multiples of a scale.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn rest(mut values: [__m256; 4], q: &[i8; 32], scale: f32) -> [__m256; 4] {
        for (value, q) in values.iter_mut().zip(q.as_chunks::<8>().0) {
            // SAFETY: the array is 8 bytes; the load requires no alignment.
            #[allow(unsafe_code)]
            let q = unsafe { _mm_loadl_epi64(q.as_ptr().cast()) };
            let q = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
            *value = _mm256_fnmadd_ps(q, _mm256_set1_ps(scale), *value);
        }
        values
    }

    /// Returns, for every 8 quants, their sum plus 8 · 128 in 64 bits.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn sums_of_8(quants: __m256i) -> __m256i {
        _mm256_sad_epu8(_mm256_xor_si256(quants, _mm256_set1_epi8(i8::MIN)), _mm256_setzero_si256())
    }

    /// Restores the order of 64-bit elements after operations that work within 128-bit halves.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn in_order(x: __m256i) -> __m256i {
        _mm256_permute4x64_epi64::<0b11_01_10_00>(x)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(x: &[f32; 8]) -> __m256 {
        // SAFETY: the array is eight f32; the load requires no alignment.
        #[allow(unsafe_code)]
        unsafe {
            _mm256_loadu_ps(x.as_ptr())
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(q: &mut [i8; 32], quants: __m256i) {
        // SAFETY: the array is 32 bytes; the store requires no alignment.
        #[allow(unsafe_code)]
        unsafe {
            _mm256_storeu_si256(q.as_mut_ptr().cast(), quants);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn store_words(out: &mut [i32; 8], words: __m256i) {
        // SAFETY: the array is 32 bytes; the store requires no alignment.
        #[allow(unsafe_code)]
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The inputs include ties, values that are not finite, and tiny values.
    #[test]
    fn the_sets_agree_bit_for_bit() {
        let ordinary: [f32; 256] = std::array::from_fn(|i| ((i * 7919 % 1009) as f32 - 500.0) / 37.0);
        let ties: [f32; 256] = std::array::from_fn(|i| if i == 77 { 127.0 } else { i as f32 / 2.0 - 63.5 });
        let with = |value: f32| std::array::from_fn(|i| if i % 32 == 19 { value } else { ordinary[i] });
        let same = [127.0, -127.0, 3e38, 1e-29, 1e-31, 0.0].map(|x| [x; 256]);
        let bad = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40].map(with);
        for x in [ordinary, ties].iter().chain(&same).chain(&bad) {
            let run = |level| {
                let (mut q, mut scales) = ([[1; 256]; 2], [1.0f32; 2]);
                let (mut bsums32, mut bsums16, mut bsums8) = ([[1; 4]; 2], [[1; 8]; 2], [[1; 32]; 2]);
                let sums = Sums { bsums32: &mut bsums32, bsums16: &mut bsums16, bsums8: &mut bsums8 };
                block256(level, x, &mut q, &mut scales, sums);
                (q, scales.map(f32::to_bits), bsums32, bsums16, bsums8)
            };
            assert!(Level::available().all(|level| run(level) == run(Level::Portable)));
            for x in x.as_chunks().0 {
                let run = |level| {
                    let (mut q, mut scales, mut bsums) = ([[1; 32]; 2], [1.0f32; 2], [1; 2]);
                    block32(level, x, &mut q, &mut scales, &mut bsums);
                    (q, scales.map(f32::to_bits), bsums)
                };
                assert!(Level::available().all(|level| run(level) == run(Level::Portable)));
            }
        }
    }
}

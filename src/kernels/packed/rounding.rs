//! Blocks of activations rounded to signed bytes, and the sums of those that kernels multiply with weights' offsets and
//! minima.
//!
//! One thread does it before every product of every token, while others wait.

use crate::kernels::cpu::{FUSED, Level, multiply_add};

/// Sums over a row's block of 256 columns, as kernels multiply them.
pub struct Sums<'a> {
    /// Of 32 columns each, two side by side in 16 bits.
    pub thirty_twos: &'a mut [i32; 4],
    /// Of 16 columns each, the same.
    pub sixteens: &'a mut [i32; 8],
    /// Of 8 columns each, times -32: what makes weights of 6 bits signed.
    pub eights: &'a mut [i32; 32],
}

/// Below this the inverse of a scale could be infinite; so small a block is taken for zeros.
const TINY: f32 = 1e-30;

/// One block: `scale` becomes the largest magnitude / 127, `q` the nearest multiples of it, ties to even, and `below` their
/// sum, times -1.
#[inline]
pub fn of_32(level: Level, x: &[f32; 32], q: &mut [i8; 32], scale: &mut f32, below: &mut i32) {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2 {
        // SAFETY: the level is only where the processor was found to have the features.
        #[allow(unsafe_code)]
        return unsafe { avx2::of_32(x, q, scale, below) };
    }
    let _ = level;
    portable_32(x, q, scale, below);
}

/// The same of 256 values, with their sums.
#[inline]
pub fn of_256(level: Level, x: &[f32; 256], q: &mut [i8; 256], scale: &mut f32, sums: Sums) {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2 {
        // SAFETY: as above.
        #[allow(unsafe_code)]
        return unsafe { avx2::of_256(x, q, scale, sums) };
    }
    let _ = level;
    portable_256(x, q, scale, sums);
}

/// What rounding left of a block, `x - q · scale`, rounded once.
#[inline]
pub fn left(level: Level, x: &[f32], q: &[i8], scale: f32, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2 {
        #[target_feature(enable = "avx2,fma")]
        fn fused(x: &[f32], q: &[i8], scale: f32, out: &mut [f32]) {
            left_body::<true>(x, q, scale, out);
        }
        // SAFETY: as above.
        #[allow(unsafe_code)]
        return unsafe { fused(x, q, scale, out) };
    }
    let _ = level;
    left_body::<FUSED>(x, q, scale, out);
}

#[inline(always)]
fn left_body<const FUSED: bool>(x: &[f32], q: &[i8], scale: f32, out: &mut [f32]) {
    for ((out, x), q) in out.iter_mut().zip(x).zip(q) {
        *out = multiply_add::<FUSED>(-f32::from(*q), scale, *x);
    }
}

fn portable_32(x: &[f32; 32], q: &mut [i8; 32], scale: &mut f32, below: &mut i32) {
    quantize(x, q, scale);
    *below = -q.iter().map(|q| i32::from(*q)).sum::<i32>();
}

fn portable_256(x: &[f32; 256], q: &mut [i8; 256], scale: &mut f32, sums: Sums) {
    quantize(x, q, scale);
    let Sums { thirty_twos, sixteens, eights } = sums;
    for (sum, q) in eights.iter_mut().zip(q.as_chunks::<8>().0) {
        *sum = -32 * i32::from(q.iter().map(|q| i16::from(*q)).sum::<i16>());
    }
    let pair = |low: &[i32], high: &[i32]| {
        let [low, high] = [low, high].map(|eights| eights.iter().sum::<i32>() / -32);
        low & 0xffff | high << 16
    };
    for (sums, eights) in sixteens.iter_mut().zip(eights.as_chunks::<4>().0) {
        *sums = pair(&eights[..2], &eights[2..]);
    }
    for (sums, eights) in thirty_twos.iter_mut().zip(eights.as_chunks::<8>().0) {
        *sums = pair(&eights[..4], &eights[4..]);
    }
}

fn quantize(x: &[f32], q: &mut [i8], scale: &mut f32) {
    // As integers, magnitudes are in order and NaN is the largest.
    let largest = x.iter().fold(0, |m, x| (x.to_bits() & 0x7fff_ffff).max(m));
    let Some(inverse) = inverse(largest, scale) else { return q.fill(0) };
    for (q, x) in q.iter_mut().zip(x) {
        // 1.5 · 2^23 has ulp 1: the sum's low byte is the nearest integer. Twice as fast as `round_ties_even`.
        *q = (x * inverse + 12_582_912.0).to_bits() as i8;
    }
}

/// The scale, of the largest magnitude's bits, and its inverse; `None` where all quants are zeros.
#[inline(always)]
fn inverse(largest: u32, scale: &mut f32) -> Option<f32> {
    let largest = f32::from_bits(largest);
    *scale = largest / 127.0;
    (largest > TINY && largest.is_finite()).then(|| 127.0 / largest)
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Sums, inverse};

    #[target_feature(enable = "avx2")]
    pub fn of_32(x: &[f32; 32], q: &mut [i8; 32], scale: &mut f32, below: &mut i32) {
        let mut quants = _mm256_setzero_si256();
        if let Some(inverse) = inverse(largest(x), scale) {
            quants = rounded(x, _mm256_set1_ps(inverse));
        }
        store(q, quants);
        let sums = sums_of_8(quants);
        let sums = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let sum = _mm_add_epi64(sums, _mm_unpackhi_epi64(sums, sums));
        *below = 32 * 128 - _mm_cvtsi128_si32(sum);
    }

    #[target_feature(enable = "avx2")]
    pub fn of_256(x: &[f32; 256], q: &mut [i8; 256], scale: &mut f32, sums: Sums) {
        let inverse = inverse(largest(x), scale).map(|inverse| _mm256_set1_ps(inverse));
        // Of 8 columns each, eight a register.
        let mut eights = [_mm256_setzero_si256(); 4];
        let pieces = x.as_chunks::<64>().0.iter().zip(q.as_chunks_mut::<64>().0);
        for (eights, (x, q)) in eights.iter_mut().zip(pieces) {
            let mut two = [_mm256_setzero_si256(); 2];
            for (i, two) in two.iter_mut().enumerate() {
                let mut quants = _mm256_setzero_si256();
                if let Some(inverse) = inverse {
                    quants = rounded(&x.as_chunks().0[i], inverse);
                }
                store(&mut q.as_chunks_mut().0[i], quants);
                *two = sums_of_8(quants);
            }
            // The low halves of eight times 64 bits.
            let [a, b] = two.map(|two| _mm256_castsi256_ps(two));
            let low = _mm256_castps_si256(_mm256_shuffle_ps::<0b10_00_10_00>(a, b));
            *eights = _mm256_sub_epi32(in_order(low), _mm256_set1_epi32(8 * 128));
        }
        for (out, eights) in sums.eights.as_chunks_mut().0.iter_mut().zip(eights) {
            let negative = _mm256_sub_epi32(_mm256_setzero_si256(), eights);
            store_words(out, _mm256_slli_epi32::<5>(negative));
        }
        let [a, b, c, d] = eights;
        let (first, last) = (_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        let sixteens = in_order(_mm256_packs_epi32(in_order(first), in_order(last)));
        store_words(sums.sixteens, sixteens);
        let sums_of_32 = _mm256_madd_epi16(sixteens, _mm256_set1_epi16(1));
        let (first, last) = (_mm256_castsi256_si128(sums_of_32), _mm256_extracti128_si256::<1>(sums_of_32));
        // SAFETY: the array is 16 bytes; the store asks for no alignment.
        #[allow(unsafe_code)]
        unsafe {
            _mm_storeu_si128(sums.thirty_twos.as_mut_ptr().cast(), _mm_packs_epi32(first, last));
        }
    }

    /// The bits of the largest magnitude: as integers, they are in order and NaN is the largest.
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

    /// The nearest integers of values times the scale's inverse, ties to even: as conversions round, unless somebody told the
    /// processor otherwise, which Rust does not allow.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn rounded(x: &[f32; 32], inverse: __m256) -> __m256i {
        let mut q = [_mm256_setzero_si256(); 4];
        for (q, x) in q.iter_mut().zip(x.as_chunks().0) {
            *q = _mm256_cvtps_epi32(_mm256_mul_ps(load(x), inverse));
        }
        let [a, b, c, d] = q;
        let bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
    }

    /// Of 8 quants each their sum and 8 · 128, in 64 bits.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn sums_of_8(quants: __m256i) -> __m256i {
        _mm256_sad_epu8(_mm256_xor_si256(quants, _mm256_set1_epi8(i8::MIN)), _mm256_setzero_si256())
    }

    /// From the order of operations that leave the halves of a register apart.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn in_order(x: __m256i) -> __m256i {
        _mm256_permute4x64_epi64::<0b11_01_10_00>(x)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(x: &[f32; 8]) -> __m256 {
        // SAFETY: the array is eight f32; the load asks for no alignment.
        #[allow(unsafe_code)]
        unsafe {
            _mm256_loadu_ps(x.as_ptr())
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(q: &mut [i8; 32], quants: __m256i) {
        // SAFETY: the array is 32 bytes; the store asks for no alignment.
        #[allow(unsafe_code)]
        unsafe {
            _mm256_storeu_si256(q.as_mut_ptr().cast(), quants);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn store_words(out: &mut [i32; 8], words: __m256i) {
        // SAFETY: as above.
        #[allow(unsafe_code)]
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that are just half way between two integers are among them, and what is not finite, or tiny.
    #[test]
    fn the_sets_agree_bit_for_bit() {
        let ordinary: [f32; 256] = std::array::from_fn(|i| ((i * 7919 % 1009) as f32 - 500.0) / 37.0);
        let ties: [f32; 256] = std::array::from_fn(|i| if i == 77 { 127.0 } else { i as f32 / 2.0 - 63.5 });
        let with = |value: f32| std::array::from_fn(|i| if i % 32 == 19 { value } else { ordinary[i] });
        let same = [127.0, -127.0, 3e38, 1e-29, 1e-31, 0.0].map(|x| [x; 256]);
        let bad = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40].map(with);
        for x in [ordinary, ties].iter().chain(&same).chain(&bad) {
            let run = |level| {
                let (mut q, mut scale) = ([1; 256], 1.0f32);
                let (mut thirty_twos, mut sixteens, mut eights) = ([1; 4], [1; 8], [1; 32]);
                let sums =
                    Sums { thirty_twos: &mut thirty_twos, sixteens: &mut sixteens, eights: &mut eights };
                of_256(level, x, &mut q, &mut scale, sums);
                let mut rest = [0.0; 256];
                left(level, x, &q, scale, &mut rest);
                // NaN has many bits.
                let rest = rest.map(|x| if x.is_nan() { 1 } else { x.to_bits() });
                (q, scale.to_bits(), thirty_twos, sixteens, eights, rest)
            };
            assert!(Level::available().all(|level| run(level) == run(Level::Portable)));
            for x in x.as_chunks().0 {
                let run = |level| {
                    let (mut q, mut scale, mut below) = ([1; 32], 1.0f32, 1);
                    of_32(level, x, &mut q, &mut scale, &mut below);
                    (q, scale.to_bits(), below)
                };
                assert!(Level::available().all(|level| run(level) == run(Level::Portable)));
            }
        }
    }
}

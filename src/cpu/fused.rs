//! Fused multiply-add, `a · b + c` rounded once, for processors without the instruction.
//!
//! On these, Rust's `mul_add` calls the system's math library, which is slow and, on some systems, rounds twice.
//! This version computes the product exactly in f64, whose 53 bits hold a product of two 24-bit significands.
//! Rounding the sum to f64 and then to f32 can be wrong. In these cases the sum is first rounded to odd (Boldo and
//! Melquiond 2008), after which rounding to f32 equals rounding once.

/// Returns `a · b + c`, rounded once to nearest even.
#[inline(always)]
pub(crate) fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    // The bits of a sum that rounding to f32 discards, and their value half-way between two f32.
    const DISCARDED: u64 = (1 << 29) - 1;
    const HALF_WAY: u64 = 1 << 28;
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c;
    // Double rounding is wrong only if the first rounding ends half-way. More bits are discarded if the result is
    // subnormal.
    if sum.to_bits() & DISCARDED == HALF_WAY || sum.abs() < 2.0 * f64::from(f32::MIN_POSITIVE) {
        return rounded_to_odd(product, c, sum);
    }
    sum as f32
}

/// Rounds the sum to odd, then to f32.
#[cold]
#[inline(never)]
fn rounded_to_odd(product: f64, c: f64, sum: f64) -> f32 {
    // The exact rounding error of the sum (Knuth's TwoSum); NaN if the sum is not finite.
    let from_c = sum - product;
    let lost = (product - (sum - from_c)) + (c - from_c);
    let bits = sum.to_bits();
    let is_smaller = (lost.to_bits() ^ bits) >> 63 == 1;
    // If the sum is inexact and even, take its odd neighbour on the side of the exact sum.
    let odd = match lost.abs() > 0.0 && bits & 1 == 0 {
        true if is_smaller => bits - 1,
        true => bits + 1,
        false => bits,
    };
    f64::from_bits(odd) as f32
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Returns the result of the system's function, which uses the processor's instruction if there is one.
    fn expected(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    fn check(a: f32, b: f32, c: f32) {
        let (ours, expected) = (multiply_add(a, b, c), expected(a, b, c));
        let same = ours.to_bits() == expected.to_bits() || ours.is_nan() && expected.is_nan();
        assert!(same, "{a:e} * {b:e} + {c:e}: {ours:e}, expected {expected:e}");
    }

    #[test]
    fn is_the_fused_multiply_add_of_ordinary_numbers_and_of_any_bits() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(17);
        for _ in 0..1_000_000 {
            let [a, b, c]: [f32; 3] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
            check(a, b, c);
            // Cancellation, with a result far smaller than the operands.
            check(a, b, -a * b);
            check(a, b, -a * b * (1.0 + f32::EPSILON));
            let [a, b, c]: [u32; 3] = rng.random();
            check(f32::from_bits(a), f32::from_bits(b), f32::from_bits(c));
        }
    }

    /// The sums are next to the midpoint between two f32, where rounding to f64 first is wrong, or subnormal, or
    /// huge.
    #[test]
    fn rounds_once() {
        let half = f32::EPSILON / 2.0;
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(18);
        for _ in 0..100_000 {
            // For odd n and m, the last bit of (1 + n / 4096)(1 + m / 4096) is the midpoint between two f32; c is
            // too small for f64.
            let [a, b] = [0, 0].map(|_: i32| 1.0 + rng.random_range(0..2048) as f32 / 4096.0);
            let c = 2f32.powi(rng.random_range(-140..-40));
            [(a, c), (a, -c), (-a, c), (-a, -c)].into_iter().for_each(|(a, c)| check(a, b, c));
        }
        let edges = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            half,
            f32::MIN_POSITIVE,
            f32::from_bits(1),
            f32::from_bits(0x007f_ffff),
            f32::MAX,
            f32::MIN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            1.0 + f32::EPSILON,
            1.0 - half,
            2f32.powi(-75),
            3.0,
        ];
        for a in edges {
            for b in edges {
                edges.iter().for_each(|c| check(a, b, *c));
            }
        }
    }
}

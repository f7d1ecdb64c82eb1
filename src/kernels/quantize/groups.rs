//! A super-block of 256 weights with its groups side by side, which is how the k-schemes are searched: weight i of
//! every group is one row of lanes, so all groups are searched at once and no sum runs across a vector.
//!
//! Products and sums are never fused: a file comes out the same byte for byte, whatever processor wrote it.

use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use half::f16;

/// One number for each of `G` groups. Arithmetic is group by group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lanes<const G: usize>(pub [f32; G]);

macro_rules! group_by_group {
    ($($operation:ident $method:ident $sign:tt)*) => {$(
        impl<const G: usize> $operation for Lanes<G> {
            type Output = Self;

            #[inline(always)]
            fn $method(mut self, other: Self) -> Self {
                for g in 0..G {
                    self.0[g] $sign other.0[g];
                }
                self
            }
        }
    )*};
}

group_by_group! { Add add += Sub sub -= Mul mul *= Div div /= }

impl<const G: usize> AddAssign for Lanes<G> {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl<const G: usize> Neg for Lanes<G> {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        self.map(|x| -x)
    }
}

impl<const G: usize> Lanes<G> {
    /// The same number for every group.
    #[inline(always)]
    pub fn all(x: f32) -> Self {
        Self([x; G])
    }

    /// Each group's number changed. A closure of more than a few operations would be called, not inlined, and so
    /// leave the instruction set of the kernel.
    #[inline(always)]
    pub fn map(mut self, change: impl Fn(f32) -> f32) -> Self {
        for x in &mut self.0 {
            *x = change(*x);
        }
        self
    }

    /// 1 / x, and 0 where x is 0.
    #[inline(always)]
    pub fn inverse(self) -> Self {
        self.map(|x| if x != 0.0 { 1.0 / x } else { 0.0 })
    }

    /// The larger of each two.
    #[inline(always)]
    pub fn at_least(self, low: Self) -> Self {
        self.if_greater(low, self, low)
    }

    /// The smaller of each two.
    #[inline(always)]
    pub fn at_most(self, high: Self) -> Self {
        self.if_greater(high, high, self)
    }

    /// [`nearest`] of each.
    #[inline(always)]
    pub fn nearest(self, low: f32, high: f32) -> Self {
        self.map(|x| nearest(x, low, high))
    }

    /// `then` where `self` is greater than `other`, else `otherwise`.
    #[inline(always)]
    pub fn if_greater(self, other: Self, then: Self, mut otherwise: Self) -> Self {
        for g in 0..G {
            otherwise.0[g] = if self.0[g] > other.0[g] { then.0[g] } else { otherwise.0[g] };
        }
        otherwise
    }

    /// The sum over the groups.
    #[inline(always)]
    pub fn sum(self) -> f32 {
        self.0.iter().sum()
    }

    /// The number of the largest magnitude, the first of several.
    #[inline(always)]
    pub fn extreme(self) -> f32 {
        self.0.iter().fold(0.0, |most: f32, x| if x.abs() > most.abs() { *x } else { most })
    }
}

/// `N` weights of each of `G` groups.
pub type Rows<const G: usize, const N: usize> = [Lanes<G>; N];

/// `x · unit`, groups side by side.
#[inline(always)]
pub fn side_by_side<const G: usize, const N: usize>(x: &[f32; 256], unit: f32) -> Rows<G, N> {
    let mut rows = [Lanes([0.0; G]); N];
    for (g, group) in x.as_chunks::<N>().0.iter().enumerate() {
        for i in 0..N {
            rows[i].0[g] = group[i] * unit;
        }
    }
    rows
}

/// The nearest integer from `low` to `high`, both below 2^22 in magnitude; ties to even. Adding a number so large
/// that it has no fraction bits rounds; `round` is a library call where the instruction set lacks it, and
/// `clamp`'s care for NaN costs two more instructions.
#[inline(always)]
pub fn nearest(x: f32, low: f32, high: f32) -> f32 {
    const WHOLE: f32 = 12_582_912.0;
    let x = if x > low { x } else { low };
    let x = if x < high { x } else { high };
    (x + WHOLE) - WHOLE
}

/// A block's order of magnitude.
#[derive(Debug, PartialEq)]
pub enum Magnitude {
    /// Every weight is nearer to zero than to the smallest f16.
    Negligible,
    /// Weights times this power of two are below 2, the largest at least 1: no product in a search overflows or is
    /// lost.
    Unit(f32),
    /// Not finite, or more than any scheme reaches.
    TooLarge,
}

impl Magnitude {
    /// The magnitude of some weights.
    #[inline(always)]
    pub fn of(x: &[f32]) -> Self {
        const HALF_THE_SMALLEST_F16: f32 = 1.0 / (1 << 25) as f32;
        // q6_k reaches furthest: 65504 · 128 · 32.
        const BEYOND_EVERY_SCHEME: f32 = (1 << 29) as f32;
        let largest = largest(x);
        if largest < HALF_THE_SMALLEST_F16 {
            Magnitude::Negligible
        } else if largest < BEYOND_EVERY_SCHEME {
            // The exponents of the largest and of the unit add up to zero, each stored with a bias of 127.
            Magnitude::Unit(f32::from_bits((254 - (largest.to_bits() >> 23)) << 23))
        } else {
            Magnitude::TooLarge
        }
    }
}

/// The largest magnitude; not finite if any value is not. Ordered as bits, where NaN is above infinity.
#[inline(always)]
pub fn largest(x: &[f32]) -> f32 {
    f32::from_bits(x.iter().fold(0, |most, x| most.max(x.to_bits() & 0x7fff_ffff)))
}

/// The f16 that stores the scale `x`: the nearest one, but among the subnormals, where f16 is coarse, the next one
/// outward, so that the scale's multiples still reach what it was made for.
#[inline(always)]
pub fn scale_to_half(x: f32) -> f16 {
    let half = f16::from_f32_const(x);
    let subnormal = half.to_bits() & 0x7c00 == 0;
    match subnormal && half.to_f32_const().abs() < x.abs() {
        true => f16::from_bits(half.to_bits() + 1),
        false => half,
    }
}

/// What is left of a scale, in a block that is searched in units of `unit`, once it is stored. Infinite if it is too
/// large for f16.
#[inline(always)]
pub fn stored(x: f32, unit: f32) -> f32 {
    scale_to_half(x / unit).to_f32_const() * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_brings_the_largest_weight_to_between_one_and_two() {
        for largest in [2f32.powi(-25), 0.013, 1.0, 1.999, 2.0, 65504.0, 5.3e8] {
            let Magnitude::Unit(unit) = Magnitude::of(&[0.0, -largest, largest / 2.0]) else {
                panic!("{largest} has no unit")
            };
            assert!((1.0..2.0).contains(&(largest * unit)), "{largest} times {unit}");
        }
        assert_eq!(Magnitude::of(&[0.0, -0.0, 2.9e-8, -f32::MIN_POSITIVE]), Magnitude::Negligible);
        for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            assert_eq!(Magnitude::of(&[1.0, special]), Magnitude::TooLarge);
        }
    }

    #[test]
    fn nearest_rounds_ties_to_even_and_stays_within_its_ends() {
        let rounded = [-9.0, -0.5, 0.5, 0.49999997, 1.5, 2.5, 14.6, 99.0].map(|x| nearest(x, 0.0, 15.0));
        assert_eq!(rounded, [0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 15.0, 15.0]);
        assert_eq!([-32.5, -31.4, 31.4].map(|x| nearest(x, -32.0, 31.0)), [-32.0, -31.0, 31.0]);
    }

    #[test]
    fn a_subnormal_scale_is_never_stored_smaller() {
        let smallest = 2f32.powi(-24);
        for (x, stored) in [(0.0, 0.0), (0.1, 1.0), (1.0, 1.0), (1.2, 2.0), (-1.2, -2.0)] {
            assert_eq!(scale_to_half(x * smallest).to_f32(), stored * smallest);
        }
        assert_eq!(scale_to_half(1.0004), f16::ONE);
        assert!(scale_to_half(1e6).is_infinite());
    }
}

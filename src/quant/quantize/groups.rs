//! The groups of a super-block of 256 weights side by side, for the searches of k-quants. Weight i of all groups is
//! one row of lanes, so all groups are searched at once without horizontal sums.
//!
//! Products and sums are never fused, and a group is summed in the order of its weights. So a block has the same
//! bytes as from ggml's loops, on every processor.

use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use half::f16;

/// One number for each of `G` groups. Arithmetic is element-wise.
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
    /// Repeats a number for every group.
    #[inline(always)]
    pub fn all(x: f32) -> Self {
        Self([x; G])
    }

    /// Applies a function to the number of each group. A closure of more than a few operations would be called
    /// instead of inlined, and would not use the kernel's instruction set.
    #[inline(always)]
    pub fn map(mut self, change: impl Fn(f32) -> f32) -> Self {
        for x in &mut self.0 {
            *x = change(*x);
        }
        self
    }

    /// Returns the element-wise maximum.
    #[inline(always)]
    pub fn at_least(self, low: Self) -> Self {
        self.if_greater(low, self, low)
    }

    /// Returns the element-wise minimum.
    #[inline(always)]
    pub fn at_most(self, high: Self) -> Self {
        self.if_greater(high, high, self)
    }

    /// Applies [`nearest`] to each number.
    #[inline(always)]
    pub fn nearest(self, low: f32, high: f32) -> Self {
        self.map(|x| nearest(x, low, high))
    }

    /// Selects `then` where `self` is greater than `other`, else `otherwise`.
    #[inline(always)]
    pub fn if_greater(self, other: Self, then: Self, mut otherwise: Self) -> Self {
        for g in 0..G {
            otherwise.0[g] = if self.0[g] > other.0[g] { then.0[g] } else { otherwise.0[g] };
        }
        otherwise
    }

    /// Returns the number with the largest magnitude, the first of several.
    #[inline(always)]
    pub fn extreme(self) -> f32 {
        self.0.iter().fold(0.0, |most: f32, x| if x.abs() > most.abs() { *x } else { most })
    }
}

/// `N` weights of each of `G` groups.
pub type Rows<const G: usize, const N: usize> = [Lanes<G>; N];

/// Transposes a block's weights so that the groups are side by side.
#[inline(always)]
pub fn side_by_side<const G: usize, const N: usize>(x: &[f32; 256]) -> Rows<G, N> {
    let mut rows = [Lanes([0.0; G]); N];
    for (g, group) in x.as_chunks::<N>().0.iter().enumerate() {
        for i in 0..N {
            rows[i].0[g] = group[i];
        }
    }
    rows
}

/// Returns the nearest integer from `low` to `high`, both below 2^22 in magnitude; ties to even.
///
/// It rounds by adding a number so large that it has no fraction bits. `round` is a library call if the instruction
/// set lacks it, and the NaN handling of `clamp` costs two more instructions.
#[inline(always)]
pub fn nearest(x: f32, low: f32, high: f32) -> f32 {
    const WHOLE: f32 = 12_582_912.0;
    let x = if x > low { x } else { low };
    let x = if x < high { x } else { high };
    (x + WHOLE) - WHOLE
}

/// Returns the largest magnitude, which is not finite if any value is not: compared as bits, NaN is above infinity.
#[inline(always)]
pub fn largest(x: &[f32]) -> f32 {
    f32::from_bits(x.iter().fold(0, |most, x| most.max(x.to_bits() & 0x7fff_ffff)))
}

/// Converts the numbers of a block to f16. `None` if one of them or a weight is too large, or if a weight is not
/// finite.
#[inline(always)]
pub fn storable<const N: usize>(x: &[f32; 256], numbers: [f32; N]) -> Option<[f16; N]> {
    /// q6_k has the widest range, up to 65504 · 128 · 32. Larger weights could overflow within a search, where they
    /// would not be noticed.
    const TOO_LARGE: f32 = (1 << 29) as f32;
    let halves = numbers.map(f16::from_f32_const);
    (largest(x) < TOO_LARGE && halves.iter().all(|half| half.is_finite())).then_some(halves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rounds_ties_to_even_and_stays_within_its_ends() {
        let rounded = [-9.0, -0.5, 0.5, 0.49999997, 1.5, 2.5, 14.6, 99.0].map(|x| nearest(x, 0.0, 15.0));
        assert_eq!(rounded, [0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 15.0, 15.0]);
        assert_eq!([-32.5, -31.4, 31.4].map(|x| nearest(x, -32.0, 31.0)), [-32.0, -31.0, 31.0]);
    }
}

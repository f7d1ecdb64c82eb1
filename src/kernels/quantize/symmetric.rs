//! q6_k: 16 groups of 16 weights, each `level · scale` with levels from -32 to 31. A block stores the groups' scales
//! as signed bytes, multiples of one f16 number.
//!
//! The search is ggml's in kind (`make_qx_quants`): several scales about the one that puts the largest weight at the
//! last level, the least-squares scale of each, the best kept. What is added is as in `affine`: the best is fitted
//! again to its levels, multiples about the nearest are tried, and the number is fitted to them. ggml counts an error
//! by the square of the weight alone; here the group's mean square has a share, which lessens the plain error at little
//! cost to that weighted one.

use std::hint::black_box;

use super::groups::{Lanes, Magnitude, Rows, nearest, scale_to_half, side_by_side, stored};

type Sixteen = Lanes<16>;

/// The lowest level, and the lowest multiple; each has one less on the other side of zero.
const LEVEL: f32 = -32.0;
const MULTIPLE: f32 = -128.0;

/// A super-block's weights, and how much an error in each counts.
struct Groups {
    x: Rows<16, 16>,
    importance: Rows<16, 16>,
}

impl Groups {
    #[inline(always)]
    fn new(x: Rows<16, 16>) -> Self {
        /// Of a group's mean square in each weight's importance: against none, 0.4 lessens the plain error by 0.8 % and
        /// raises the one weighted by squares alone by 0.2 %.
        const SHARE: f32 = 0.3;
        let mut squares = Sixteen::all(0.0);
        for x in &x {
            squares += *x * *x;
        }
        let typical = squares.map(|sum| sum / 16.0 * SHARE);
        let mut groups = Self { x, importance: x };
        for x in &mut groups.importance {
            *x = *x * *x + typical;
        }
        groups
    }

    // For the shape of the two passes see `affine`.

    /// Sums over a group's levels, weighted by importance: of their squares, and of their products with the weights.
    #[inline(always)]
    fn moments(&self, scale: Sixteen) -> (Sixteen, Sixteen) {
        let Lanes(inverse) = black_box(scale.inverse());
        let (mut squares, mut products) = ([0.0; 16], [0.0; 16]);
        for (Lanes(x), Lanes(importance)) in self.x.iter().zip(&self.importance) {
            for g in 0..16 {
                let level = nearest(x[g] * inverse[g], LEVEL, -LEVEL - 1.0);
                let weighted = importance[g] * level;
                squares[g] += weighted * level;
                products[g] += weighted * x[g];
            }
        }
        black_box((Lanes(squares), Lanes(products)))
    }

    /// Each group's squared error, weighted by importance.
    #[inline(always)]
    fn errors(&self, scale: Sixteen) -> Sixteen {
        let (Lanes(inverse), Lanes(scale)) = black_box((scale.inverse(), scale));
        let mut sums = [0.0; 16];
        for (Lanes(x), Lanes(importance)) in self.x.iter().zip(&self.importance) {
            for g in 0..16 {
                let error = nearest(x[g] * inverse[g], LEVEL, -LEVEL - 1.0) * scale[g] - x[g];
                sums[g] += importance[g] * error * error;
            }
        }
        black_box(Lanes(sums))
    }

    /// Each group's best scale.
    #[inline(always)]
    fn search(&self) -> Sixteen {
        /// At how many levels beyond the last the largest weight is put: fewer leave it out. With none below -0.8 the
        /// error is 3 % more.
        const RANGES: [f32; 10] = [-5.0, -4.4, -3.8, -3.2, -2.6, -2.0, -1.4, -0.8, -0.2, 0.4];
        const REFITS: usize = 2;
        let zero = Sixteen::all(0.0);
        let mut extreme = zero;
        for x in &self.x {
            extreme = x.map(f32::abs).if_greater(extreme.map(f32::abs), *x, extreme);
        }
        let (mut best, mut most) = (zero, zero);
        for attempt in 0..RANGES.len() + REFITS {
            let scale = match RANGES.get(attempt) {
                Some(more) => extreme / Sixteen::all(LEVEL - more),
                None => best,
            };
            let (square, product) = self.moments(scale);
            let fitted = product * square.inverse();
            let gain = fitted * product;
            best = gain.if_greater(most, fitted, best);
            most = gain.if_greater(most, gain, most);
        }
        best
    }

    /// The best of three multiples of `scale` about each group's own, and the error of the whole.
    #[inline(always)]
    fn neighbours(&self, scale: f32, about: Sixteen) -> (Sixteen, f32) {
        let scale = Sixteen::all(scale);
        let mut best = about;
        let mut least = self.errors(about * scale);
        for step in [-1.0, 1.0] {
            let multiples = (about + Sixteen::all(step)).nearest(MULTIPLE, -MULTIPLE - 1.0);
            let errors = self.errors(multiples * scale);
            best = least.if_greater(errors, multiples, best);
            least = least.if_greater(errors, errors, least);
        }
        (best, least.sum())
    }

    /// The best number that a block can store, and the groups' multiples of it; `None` if it is too large for f16.
    #[inline(always)]
    fn multiples(&self, unit: f32) -> Option<(f32, Sixteen)> {
        let scales = self.search();
        let scale = stored(scales.extreme() / MULTIPLE, unit);
        if scale.is_infinite() {
            return None;
        }
        let nearest = (scales * Sixteen::all(scale).inverse()).nearest(MULTIPLE, -MULTIPLE - 1.0);
        let (best, error) = self.neighbours(scale, nearest);
        let (square, product) = self.moments(best * Sixteen::all(scale));
        let fitted = stored((best * product).sum() / (best * best * square).sum(), unit);
        // An infinite number leaves an error that is not less.
        let (again, error_again) = self.neighbours(fitted, best);
        Some(if error_again < error { (fitted, again) } else { (scale, best) })
    }
}

/// 128 bytes of low 4 bits, 64 bytes of high 2 bits, 16 signed scales, scale. `false` if the weights are not finite or
/// too large.
#[inline(always)]
pub fn q6_k(x: &[f32; 256], b: &mut [u8; 210]) -> bool {
    let unit = match Magnitude::of(x) {
        Magnitude::Unit(unit) => unit,
        Magnitude::Negligible => {
            *b = [0; 210];
            return true;
        }
        Magnitude::TooLarge => return false,
    };
    let groups = Groups::new(side_by_side(x, unit));
    let Some((scale, multiples)) = groups.multiples(unit) else { return false };
    let inverse = (multiples * Sixteen::all(scale)).inverse();
    let mut levels = [0u8; 256];
    for (i, x) in groups.x.iter().enumerate() {
        let row = (*x * inverse).nearest(LEVEL, -LEVEL - 1.0) - Sixteen::all(LEVEL);
        for g in 0..16 {
            levels[g * 16 + i] = row.0[g] as u8;
        }
    }
    // Each half of 128 weights is four runs of 32: two share the low and high halves of 32 bytes, all four the 2-bit
    // places of 32 other bytes.
    for (half, levels) in levels.as_chunks::<128>().0.iter().enumerate() {
        for i in 0..32 {
            let run = |n: usize| levels[n * 32 + i];
            b[half * 64 + i] = run(0) & 15 | run(2) << 4;
            b[half * 64 + 32 + i] = run(1) & 15 | run(3) << 4;
            b[128 + half * 32 + i] = run(0) >> 4 | run(1) >> 4 << 2 | run(2) >> 4 << 4 | run(3) >> 4 << 6;
        }
    }
    for (b, multiple) in b[192..208].iter_mut().zip(multiples.0) {
        *b = (multiple as i8).cast_unsigned();
    }
    b[208..].copy_from_slice(&scale_to_half(scale / unit).to_le_bytes());
    true
}

//! q4_k and q5_k: 8 groups of 32 weights, each on a line of its own, `level · scale + low`. A block stores the
//! groups' scales and lows as 6-bit multiples of two f16 numbers.
//!
//! The search for a group's line is ggml's in kind (`make_qkx2_quants`): several ranges for the levels, a
//! least-squares line through each, the best kept; errors in large weights count more. What is added here: the best
//! line is fitted again to the levels it gives; rounding to multiples is searched too, a group taking the best of
//! nine pairs about the nearest; and the two numbers are fitted to the multiples that the groups took.

use std::hint::black_box;

use super::groups::{Lanes, Magnitude, Rows, nearest, scale_to_half, side_by_side, stored};

type Eight = Lanes<8>;

/// The largest multiple.
const MOST: f32 = 63.0;

/// Every group's line. Lows are never above zero.
#[derive(Clone, Copy)]
struct Lines {
    scale: Eight,
    low: Eight,
}

/// The same as a block stores them: integers, and what they are multiples of. A minimum is a low without its sign.
#[derive(Clone, Copy)]
struct Multiples {
    scale: f32,
    minimum: f32,
    scales: Eight,
    minima: Eight,
}

impl Multiples {
    /// The multiples nearest to `lines`.
    #[inline(always)]
    fn nearest(lines: Lines, scale: f32, minimum: f32) -> Self {
        let scales = lines.scale * Eight::all(scale).inverse();
        let minima = -lines.low * Eight::all(minimum).inverse();
        Self { scale, minimum, scales: scales.nearest(0.0, MOST), minima: minima.nearest(0.0, MOST) }
    }

    #[inline(always)]
    fn lines(&self) -> Lines {
        let low = -(self.minima * Eight::all(self.minimum));
        Lines { scale: self.scales * Eight::all(self.scale), low }
    }
}

/// Sums over a group's levels, weighted by importance: of the level, its square, its product with the weight.
struct Moments {
    level: Eight,
    square: Eight,
    product: Eight,
}

/// A super-block's weights and how much an error in each counts; the groups' sums of the latter, and of its product
/// with the weight. Levels run from 0 to `TOP`.
struct Groups<const TOP: u8> {
    x: Rows<8, 32>,
    importance: Rows<8, 32>,
    total: Eight,
    product: Eight,
}

impl<const TOP: u8> Groups<TOP> {
    /// A weight's importance is its group's root mean square plus its own magnitude, as in ggml.
    #[inline(always)]
    fn new(x: Rows<8, 32>) -> Self {
        let zero = Eight::all(0.0);
        let mut groups = Self { x, importance: x, total: zero, product: zero };
        let mut squares = zero;
        for x in &x {
            squares += *x * *x;
        }
        let typical = squares.map(|sum| (sum / 32.0).sqrt());
        for (x, importance) in x.iter().zip(&mut groups.importance) {
            *importance = typical + x.map(f32::abs);
            groups.total += *importance;
            groups.product += *importance * *x;
        }
        groups
    }

    // The two passes below are where the time goes. Written out, and with what goes in and comes out held in memory,
    // they become eight lanes wide; left to see further, the compiler shuffles halves about: 0.7 times the rate.

    #[inline(always)]
    fn moments(&self, lines: Lines) -> Moments {
        let (Lanes(inverse), Lanes(low)) = black_box((lines.scale.inverse(), lines.low));
        let (mut levels, mut squares, mut products) = ([0.0; 8], [0.0; 8], [0.0; 8]);
        for (Lanes(x), Lanes(importance)) in self.x.iter().zip(&self.importance) {
            for g in 0..8 {
                let level = nearest((x[g] - low[g]) * inverse[g], 0.0, f32::from(TOP));
                let weighted = importance[g] * level;
                levels[g] += weighted;
                squares[g] += weighted * level;
                products[g] += weighted * x[g];
            }
        }
        black_box(Moments { level: Lanes(levels), square: Lanes(squares), product: Lanes(products) })
    }

    /// Each group's squared error, weighted by importance.
    #[inline(always)]
    fn errors(&self, lines: Lines) -> Eight {
        let (Lanes(inverse), Lanes(scale), Lanes(low)) =
            black_box((lines.scale.inverse(), lines.scale, lines.low));
        let mut sums = [0.0; 8];
        for (Lanes(x), Lanes(importance)) in self.x.iter().zip(&self.importance) {
            for g in 0..8 {
                let level = nearest((x[g] - low[g]) * inverse[g], 0.0, f32::from(TOP));
                let error = level * scale[g] + low[g] - x[g];
                sums[g] += importance[g] * error * error;
            }
        }
        black_box(Lanes(sums))
    }

    /// The least-squares line through a group's levels, low at most 0, and by how much it leaves a smaller error than
    /// the line that is zero. Where levels hardly differ a free line is ill-determined: then `low` is kept.
    #[inline(always)]
    fn fit(&self, sums: &Moments, low: Eight) -> (Lines, Eight) {
        let spread = self.total * sums.square;
        let determinant = spread - sums.level * sums.level;
        let free = (sums.square * self.product - sums.level * sums.product) / determinant;
        let low = determinant.if_greater(spread * Eight::all(1e-5), free, low).at_most(Eight::all(0.0));
        let above = sums.product - low * sums.level;
        let scale = above / sums.square;
        let line = scale * (above + above - scale * sums.square);
        (Lines { scale, low }, line + self.gain_of_low(low))
    }

    /// By how much the line `0 · scale + low` leaves a smaller error than the line that is zero.
    #[inline(always)]
    fn gain_of_low(&self, low: Eight) -> Eight {
        low * (self.product + self.product - low * self.total)
    }

    /// Each group's best line.
    #[inline(always)]
    fn search(&self) -> Lines {
        /// How many levels more than there are a group's range is cut into: fewer leave out the largest weights.
        /// From -3 on it is no better than from -2, from -1 on 0.2 % worse; more than two refits gain nothing.
        const RANGES: [f32; 8] = [-2.0, -1.6, -1.2, -0.8, -0.4, 0.0, 0.4, 0.8];
        const REFITS: usize = 2;
        let (mut lowest, mut highest) = (Eight::all(0.0), Eight::all(f32::MIN));
        for x in &self.x {
            lowest = lowest.at_most(*x);
            highest = highest.at_least(*x);
        }
        let mut best = Lines { scale: Eight::all(0.0), low: lowest };
        let mut most = self.gain_of_low(lowest);
        for attempt in 0..RANGES.len() + REFITS {
            let lines = match RANGES.get(attempt) {
                Some(more) => {
                    let levels = Eight::all(f32::from(TOP) + more);
                    Lines { scale: (highest - lowest) / levels, low: lowest }
                }
                None => best,
            };
            let (line, gain) = self.fit(&self.moments(lines), lowest);
            best.scale = gain.if_greater(most, line.scale, best.scale);
            best.low = gain.if_greater(most, line.low, best.low);
            most = gain.if_greater(most, gain, most);
        }
        best
    }

    /// The best of the nine pairs of multiples about each group's own, and the error of the whole.
    #[inline(always)]
    fn neighbours(&self, about: Multiples) -> (Multiples, f32) {
        const STEPS: [(f32, f32); 8] = [
            (-1.0, -1.0),
            (-1.0, 0.0),
            (-1.0, 1.0),
            (0.0, -1.0),
            (0.0, 1.0),
            (1.0, -1.0),
            (1.0, 0.0),
            (1.0, 1.0),
        ];
        let mut best = about;
        let mut least = self.errors(about.lines());
        for (scale, minimum) in STEPS {
            let scales = (about.scales + Eight::all(scale)).nearest(0.0, MOST);
            let minima = (about.minima + Eight::all(minimum)).nearest(0.0, MOST);
            let errors = self.errors(Multiples { scales, minima, ..about }.lines());
            best.scales = least.if_greater(errors, scales, best.scales);
            best.minima = least.if_greater(errors, minima, best.minima);
            least = least.if_greater(errors, errors, least);
        }
        (best, least.sum())
    }

    /// The two numbers that suit the multiples best, by least squares with levels as they are; `None` if they are
    /// ill-determined.
    #[inline(always)]
    fn refit(&self, of: &Multiples) -> Option<(f32, f32)> {
        let sums = self.moments(of.lines());
        let scales = (of.scales * of.scales * sums.square).sum();
        let both = (of.scales * of.minima * sums.level).sum();
        let minima = (of.minima * of.minima * self.total).sum();
        let with_scales = (of.scales * sums.product).sum();
        let with_minima = (of.minima * self.product).sum();
        let determinant = scales * minima - both * both;
        let scale = (with_scales * minima - with_minima * both) / determinant;
        let minimum = (with_scales * both - with_minima * scales) / determinant;
        (determinant > 1e-5 * scales * minima && scale > 0.0 && minimum > 0.0).then_some((scale, minimum))
    }

    /// The best that a block can store; `None` if a number is too large for f16.
    #[inline(always)]
    fn multiples(&self, unit: f32) -> Option<Multiples> {
        let lines = self.search();
        let scale = stored(lines.scale.extreme() / MOST, unit);
        let minimum = stored(-lines.low.extreme() / MOST, unit);
        if scale.is_infinite() || minimum.is_infinite() {
            return None;
        }
        let (best, error) = self.neighbours(Multiples::nearest(lines, scale, minimum));
        let Some((scale, minimum)) = self.refit(&best) else { return Some(best) };
        let (scale, minimum) = (stored(scale, unit), stored(minimum, unit));
        // Infinite numbers leave errors that are not less.
        let (again, error_again) = self.neighbours(Multiples { scale, minimum, ..best });
        Some(if error_again < error { again } else { best })
    }
}

/// Writes the first 16 bytes of a block (scale, minimum, 8 groups' multiples) and every weight's level. `false` if the
/// weights are not finite or too large.
#[inline(always)]
fn quantize<const TOP: u8>(x: &[f32; 256], head: &mut [u8], levels: &mut [u8; 256]) -> bool {
    let unit = match Magnitude::of(x) {
        Magnitude::Unit(unit) => unit,
        Magnitude::Negligible => {
            head.fill(0);
            return true;
        }
        Magnitude::TooLarge => return false,
    };
    let groups = Groups::<TOP>::new(side_by_side(x, unit));
    let Some(multiples) = groups.multiples(unit) else { return false };
    let lines = multiples.lines();
    let inverse = lines.scale.inverse();
    for (i, x) in groups.x.iter().enumerate() {
        let row = ((*x - lines.low) * inverse).nearest(0.0, f32::from(TOP));
        for g in 0..8 {
            levels[g * 32 + i] = row.0[g] as u8;
        }
    }
    head[..2].copy_from_slice(&scale_to_half(multiples.scale / unit).to_le_bytes());
    head[2..4].copy_from_slice(&scale_to_half(multiples.minimum / unit).to_le_bytes());
    for (packed, multiples) in [(4, multiples.scales), (8, multiples.minima)] {
        // The first four groups' 6 bits, above them the high 2 bits of the others, whose low 4 bits follow: scales'
        // in the low half of a byte, minima's in the high one.
        for g in 0..4 {
            let (first, other) = (multiples.0[g] as u8, multiples.0[g + 4] as u8);
            head[packed + g] = first | other >> 4 << 6;
            head[12 + g] = if packed == 4 { other & 15 } else { head[12 + g] | other << 4 };
        }
    }
    true
}

/// Scale, minimum, 8 groups' scales and minima, 128 bytes of two weights each: each 32 bytes hold two groups.
#[inline(always)]
pub fn q4_k(x: &[f32; 256], b: &mut [u8; 144]) -> bool {
    let (head, qs) = b.split_at_mut(16);
    let mut levels = [0; 256];
    let fits = quantize::<15>(x, head, &mut levels);
    nibbles(&levels, qs);
    fits
}

/// As q4_k, with 32 bytes of fifth bits before the 128.
#[inline(always)]
pub fn q5_k(x: &[f32; 256], b: &mut [u8; 176]) -> bool {
    let (head, qs) = b.split_at_mut(16);
    let (fifths, qs) = qs.split_at_mut(32);
    let mut levels = [0; 256];
    let fits = quantize::<31>(x, head, &mut levels);
    for (i, fifths) in fifths.iter_mut().enumerate() {
        *fifths = (0..8).fold(0, |bits, g| bits | levels[g * 32 + i] >> 4 << g);
    }
    nibbles(&levels, qs);
    fits
}

/// The low 4 bits of levels, two groups in each 32 bytes.
#[inline(always)]
fn nibbles(levels: &[u8; 256], b: &mut [u8]) {
    for (pair, b) in levels.as_chunks::<64>().0.iter().zip(b.as_chunks_mut::<32>().0) {
        for i in 0..32 {
            b[i] = pair[i] & 15 | pair[32 + i] << 4;
        }
    }
}

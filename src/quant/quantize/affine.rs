//! q4_k and q5_k: 8 groups of 32 weights, each on a line of its own, `level · scale + low`. A block stores the
//! groups' scales and lows as 6-bit multiples of two f16 numbers.
//!
//! The search for a group's line is ggml's (`make_qkx2_quants`, `quantize_row_q4_K_ref`, `quantize_row_q5_K_ref` in
//! `ggml-quants.c`), operation by operation, so a block is byte for byte the one that llama-quantize writes: several
//! ranges for the levels, a least-squares line through each, the best kept; errors in large weights count more.
//!
//! A search that left less error was here before: two more fits, neighbouring multiples tried, the two numbers fitted
//! again. Its root mean square error was 1.2 % less in every tensor, its perplexity as often worse as better (62.1
//! where these blocks give 59.6, 58.1 where they give 58.4): at four bits which weights err decides, not how much.

use std::hint::black_box;

use super::groups::{Lanes, Rows, nearest, side_by_side, storable};

type Eight = Lanes<8>;

/// The largest multiple.
const MOST: f32 = 63.0;

/// The ranges that a search tries: so many levels more than there are, from `first` on, `STEP` apart.
struct Ranges {
    first: f32,
    steps: u8,
}

const STEP: f32 = 0.1;

/// Every group's line, and how levels were counted for it: from `base`, `inverse` to a unit.
#[derive(Clone, Copy)]
struct Lines {
    scale: Eight,
    low: Eight,
    base: Eight,
    inverse: Eight,
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
    /// A weight's importance is its group's root mean square plus its own magnitude.
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

    /// Counts levels from `base`, and sums over them.
    #[inline(always)]
    fn moments(&self, base: Eight, inverse: Eight, levels: &mut Rows<8, 32>) -> Moments {
        let (Lanes(base), Lanes(inverse)) = black_box((base, inverse));
        let (mut sums, mut squares, mut products) = ([0.0; 8], [0.0; 8], [0.0; 8]);
        for ((Lanes(x), Lanes(importance)), levels) in self.x.iter().zip(&self.importance).zip(levels) {
            for g in 0..8 {
                let level = nearest(inverse[g] * (x[g] - base[g]), 0.0, f32::from(TOP));
                levels.0[g] = level;
                let weighted = importance[g] * level;
                sums[g] += weighted;
                squares[g] += weighted * level;
                products[g] += weighted * x[g];
            }
        }
        black_box(Moments { level: Lanes(sums), square: Lanes(squares), product: Lanes(products) })
    }

    /// Each group's squared error, weighted by importance.
    #[inline(always)]
    fn errors(&self, scale: Eight, low: Eight, levels: &Rows<8, 32>) -> Eight {
        let (Lanes(scale), Lanes(low)) = black_box((scale, low));
        let mut sums = [0.0; 8];
        for ((Lanes(x), Lanes(importance)), Lanes(level)) in self.x.iter().zip(&self.importance).zip(levels) {
            for g in 0..8 {
                let error = scale[g] * level[g] + low[g] - x[g];
                sums[g] += importance[g] * (error * error);
            }
        }
        black_box(Lanes(sums))
    }

    /// The least-squares line through a group's levels, low at most 0; the scale is infinite where they are all one
    /// level.
    #[inline(always)]
    fn fit(&self, sums: &Moments) -> (Eight, Eight) {
        let zero = Eight::all(0.0);
        let determinant = self.total * sums.square - sums.level * sums.level;
        let scale = (self.total * sums.product - self.product * sums.level) / determinant;
        let low = (sums.square * self.product - sums.level * sums.product) / determinant;
        let scale = low.if_greater(zero, sums.product / sums.square, scale);
        (determinant.if_greater(zero, scale, Eight::all(f32::INFINITY)), low.at_most(zero))
    }

    /// Each group's best line.
    #[inline(always)]
    fn search(&self, ranges: &Ranges) -> Lines {
        let (mut lowest, mut highest) = (Eight::all(0.0), Eight::all(f32::NEG_INFINITY));
        for x in &self.x {
            lowest = lowest.at_most(*x);
            highest = highest.at_least(*x);
        }
        let top = f32::from(TOP);
        let inverse = Eight::all(top) / (highest - lowest);
        let mut best = Lines { scale: Eight::all(1.0) / inverse, low: lowest, base: lowest, inverse };
        let mut levels = self.x;
        self.moments(lowest, inverse, &mut levels);
        let mut least = self.errors(best.scale, best.low, &levels);
        for step in 0..=ranges.steps {
            let inverse = Eight::all(ranges.first + STEP * f32::from(step) + top) / (highest - best.low);
            let sums = self.moments(best.low, inverse, &mut levels);
            let (scale, low) = self.fit(&sums);
            // Not a number, or infinite, where there is no line: not less.
            let error = self.errors(scale, low, &levels);
            best.base = least.if_greater(error, best.low, best.base);
            best.inverse = least.if_greater(error, inverse, best.inverse);
            best.scale = least.if_greater(error, scale, best.scale);
            best.low = least.if_greater(error, low, best.low);
            least = least.if_greater(error, error, least);
        }
        best
    }
}

/// The number whose multiples the groups take, and those multiples, 0 to 63.
#[inline(always)]
fn multiples(of: Eight) -> (f32, [u8; 8]) {
    let most = of.0.iter().fold(0.0, |most: f32, x| if *x > most { *x } else { most });
    let inverse = if most > 0.0 { MOST / most } else { 0.0 };
    (most / MOST, (of * Eight::all(inverse)).nearest(0.0, MOST).0.map(|multiple| multiple as u8))
}

/// Writes the first 16 bytes of a block (scale, minimum, 8 groups' multiples) and every weight's level. `false` if the
/// weights are not finite or too large.
#[inline(always)]
fn quantize<const TOP: u8>(x: &[f32; 256], ranges: &Ranges, head: &mut [u8], levels: &mut [u8; 256]) -> bool {
    let groups = Groups::<TOP>::new(side_by_side(x));
    let lines = groups.search(ranges);
    let (scale, scales) = multiples(lines.scale);
    let (minimum, minima) = multiples(-lines.low);
    let Some([scale, minimum]) = storable(x, [scale, minimum]) else { return false };
    let scaled = Lanes(scales.map(|multiple| scale.to_f32_const() * f32::from(multiple)));
    let lows = Lanes(minima.map(|multiple| minimum.to_f32_const() * f32::from(multiple)));
    let top = f32::from(TOP);
    for (i, x) in groups.x.iter().enumerate() {
        // A group whose multiple is zero keeps the levels of the search, which nothing reads.
        let searched = ((*x - lines.base) * lines.inverse).nearest(0.0, top);
        let stored = ((*x + lows) / scaled).nearest(0.0, top);
        let Lanes(row) = scaled.if_greater(Eight::all(0.0), stored, searched);
        for g in 0..8 {
            levels[g * 32 + i] = row[g] as u8;
        }
    }
    head[..2].copy_from_slice(&scale.to_le_bytes());
    head[2..4].copy_from_slice(&minimum.to_le_bytes());
    for g in 0..4 {
        // The first four groups' 6 bits, above them the high 2 bits of the others, whose low 4 bits follow: scales'
        // in the low half of a byte, minima's in the high one.
        head[4 + g] = scales[g] | scales[g + 4] >> 4 << 6;
        head[8 + g] = minima[g] | minima[g + 4] >> 4 << 6;
        head[12 + g] = scales[g + 4] & 15 | minima[g + 4] << 4;
    }
    true
}

/// Scale, minimum, 8 groups' scales and minima, 128 bytes of two weights each: each 32 bytes hold two groups.
#[inline(always)]
pub fn q4_k(x: &[f32; 256], b: &mut [u8; 144]) -> bool {
    let (head, qs) = b.split_at_mut(16);
    let mut levels = [0; 256];
    let fits = quantize::<15>(x, &Ranges { first: -1.0, steps: 20 }, head, &mut levels);
    nibbles(&levels, qs);
    fits
}

/// As q4_k, with 32 bytes of fifth bits before the 128.
#[inline(always)]
pub fn q5_k(x: &[f32; 256], b: &mut [u8; 176]) -> bool {
    let (head, qs) = b.split_at_mut(16);
    let (qh, qs) = qs.split_at_mut(32);
    let mut levels = [0; 256];
    let fits = quantize::<31>(x, &Ranges { first: -0.5, steps: 15 }, head, &mut levels);
    for (i, qh) in qh.iter_mut().enumerate() {
        *qh = (0..8).fold(0, |bits, g| bits | levels[g * 32 + i] >> 4 << g);
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

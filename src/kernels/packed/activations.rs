//! Activations as 8-bit integers, quantized once for all parts of a matrix.

use crate::kernels::cpu::kernel;

/// Columns over which a sum of activations is kept: those that share a scale in q6_k.
const SUM: usize = 16;

/// Rows of activations that share the unpacking of a group of weights.
pub(super) const TILE: usize = 16;

/// Rows of activations `(M, K)` as blocks of signed bytes with one f32 scale each: x ≈ q · scale, |q| <= 127.
///
/// Blocks of 32 are ggml's `q8_0` (with its scale in f32, not f16), blocks of 256 its `q8_k` (with |q| <= 127, so
/// that no pair of products overflows 16 bits). They lie in the order in which kernels read them: tile after tile
/// of 16 rows, in a tile block after block of columns, in that row after row. Rows 4096 bytes apart would share a
/// cache set.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    rows: usize,
    /// Blocks of columns.
    blocks: usize,
    quants: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i16>,
}

impl Activations {
    /// Quantizes rows of `columns` values in blocks of `block`, 32 or 256, over what was held before.
    ///
    /// A row's result does not depend on the others. Columns or rows beyond a whole number of blocks or rows are
    /// left out. A block that is not finite gets a scale that is not, so that the result is not finite either.
    pub fn fill(&mut self, x: &[f32], columns: usize, block: usize) {
        let rows = x.len().checked_div(columns).unwrap_or(0);
        let blocks = columns.checked_div(block).unwrap_or(0);
        (self.rows, self.blocks) = (rows, blocks);
        let count = rows * blocks;
        self.quants.resize(count * block, 0);
        self.scales.resize(count, 0.0);
        self.sums.resize(count * block / SUM, 0);
        if count == 0 {
            return;
        }
        let quants = self.quants.chunks_mut(TILE * blocks * block);
        let scales = self.scales.chunks_mut(TILE * blocks);
        let sums = self.sums.chunks_mut(TILE * blocks * block / SUM);
        let tiles = x[..rows * columns].chunks(TILE * columns).zip(quants).zip(scales).zip(sums);
        tiles.for_each(|(((x, quants), scales), sums)| {
            let rows = x.len() / columns;
            let quants = quants.chunks_exact_mut(rows * block);
            let scales = scales.chunks_exact_mut(rows);
            let sums = sums.chunks_exact_mut(rows * block / SUM);
            let columns_of = |b: usize| x.chunks_exact(columns).map(move |x| &x[b * block..][..block]);
            let blocks = quants.zip(scales).zip(sums).enumerate();
            blocks.for_each(|(b, ((quants, scales), sums))| {
                let rows = quants.chunks_exact_mut(block).zip(scales).zip(sums.chunks_exact_mut(block / SUM));
                for (x, ((quants, scale), sums)) in columns_of(b).zip(rows) {
                    quantize(x, quants, scale);
                    for (sum, q) in sums.iter_mut().zip(quants.as_chunks::<SUM>().0) {
                        *sum = q.iter().map(|q| i16::from(*q)).sum();
                    }
                }
            });
        });
    }

    /// Holds no rows any more, and keeps its memory.
    pub fn clear(&mut self) {
        self.rows = 0;
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The tile that begins with row `row`, a multiple of [`TILE`], from its block of columns `block` on.
    pub fn tile(&self, row: usize, block: usize) -> Tile<'_> {
        let rows = TILE.min(self.rows - row);
        Tile { all: self, start: row * self.blocks + block * rows, rows }
    }
}

/// Some rows of the activations, from some column on.
#[derive(Clone, Copy)]
pub struct Tile<'a> {
    all: &'a Activations,
    /// The first block of the first row, counted over all.
    start: usize,
    /// How many rows.
    pub rows: usize,
}

/// The tile's rows in one block of columns, `B` wide, with `S` sums each.
#[derive(Clone, Copy)]
pub struct Block<'a, const B: usize, const S: usize> {
    pub quants: &'a [[i8; B]],
    pub scales: &'a [f32],
    pub sums: &'a [[i16; S]],
}

impl<'a> Tile<'a> {
    /// The rows in the tile's block of columns `b`. The widths must be those of the activations: B = block, S = block / 16.
    #[inline(always)]
    pub fn block<const B: usize, const S: usize>(&self, b: usize) -> Block<'a, B, S> {
        let start = self.start + b * self.rows;
        let rows = start..start + self.rows;
        Block {
            quants: &self.all.quants.as_chunks().0[rows.clone()],
            scales: &self.all.scales[rows.clone()],
            sums: &self.all.sums.as_chunks().0[rows],
        }
    }
}

impl<const B: usize, const S: usize> Block<'_, B, S> {
    /// The sum of a row's activations.
    #[inline(always)]
    pub fn sum(&self, row: usize) -> i32 {
        self.sums[row].iter().map(|sum| i32::from(*sum)).sum()
    }
}

/// Sums 2j and 2j + 1, side by side in one operand.
#[inline(always)]
pub fn pair<const S: usize>(sums: &[i16; S], j: usize) -> i32 {
    i32::from(sums[2 * j] as u16) | i32::from(sums[2 * j + 1]) << 16
}

/// Below this the inverse of a scale could be infinite; so small a block is taken for zeros.
const TINY: f32 = 1e-30;

kernel! {
    /// One block: `scale` becomes the largest magnitude / 127, and `q` the nearest multiples of it, ties to even.
    fn quantize(x: &[f32], q: &mut [i8], scale: &mut f32) = body
}

#[inline(always)]
fn body<const FUSED: bool>(x: &[f32], q: &mut [i8], scale: &mut f32) {
    // As integers, magnitudes are in order and NaN is the largest.
    let largest = x.iter().fold(0, |m, x| (x.to_bits() & 0x7fff_ffff).max(m));
    let largest = f32::from_bits(largest);
    *scale = largest / 127.0;
    if !(largest > TINY && largest.is_finite()) {
        return q.fill(0);
    }
    let inverse = 127.0 / largest;
    for (q, x) in q.iter_mut().zip(x) {
        // 1.5 · 2^23 has ulp 1: the sum's low byte is the nearest integer. Twice as fast as `round_ties_even`.
        *q = (x * inverse + 12_582_912.0).to_bits() as i8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantized(x: &[f32], columns: usize, block: usize) -> Activations {
        let mut out = Activations::default();
        out.fill(x, columns, block);
        out
    }

    #[test]
    fn values_are_the_nearest_multiples_of_the_scale() {
        let x: Vec<f32> = (0..512).map(|i| ((i * 7919 % 1009) as f32 - 500.0) / 37.0).collect();
        for block in [32, 256] {
            let a = quantized(&x, 256, block);
            assert_eq!((a.rows(), a.blocks), (2, 256 / block));
            for (i, x) in x.iter().enumerate() {
                let (row, b, within) = (i / 256, i % 256 / block, i % block);
                let at = b * 2 + row;
                let y = f32::from(a.quants[at * block + within]) * a.scales[at];
                assert!((x - y).abs() <= a.scales[at] * 0.5001, "{x} {y}");
            }
            for (sum, q) in a.sums.iter().zip(a.quants.as_chunks::<SUM>().0) {
                assert_eq!(i32::from(*sum), q.iter().map(|q| i32::from(*q)).sum::<i32>());
            }
        }
    }

    #[test]
    fn the_compiled_sets_agree_bit_for_bit() {
        let x: Vec<f32> = (0..256).map(|i| ((i * 7919 % 1009) as f32 - 500.0) / 37.0).collect();
        let (mut a, mut b) = ([0i8; 256], [1i8; 256]);
        let (mut s, mut t) = (0.0, 1.0);
        quantize(&x, &mut a, &mut s);
        body::<false>(&x, &mut b, &mut t);
        assert_eq!((a, s.to_bits()), (b, t.to_bits()));
    }

    #[test]
    fn what_is_not_finite_stays_so_and_what_is_tiny_becomes_zero() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0; 32];
            x[7] = bad;
            let a = quantized(&x, 32, 32);
            assert!(!a.scales[0].is_finite() && a.quants == [0; 32]);
        }
        let a = quantized(&[1e-40; 32], 32, 32);
        assert_eq!(a.quants, [0; 32]);
    }
}

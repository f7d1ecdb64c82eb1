//! The packed product in plain Rust: the twin that the other kernels match bit for bit.

use super::activations::Activations;
use super::rounding::STEPS;
use super::scheme::{Block32, KQuant, Packed};
use crate::cpu::{FUSED, multiply_add};
use crate::quant::ROWS;
use crate::quant::dequantize::fields::{half_at, nibbles, nibbles_and_high_bits, scale_and_minimum, word_at};
use crate::quant::layout::gather;

/// Adds to `sums[i][r]` the product of row i of the activations with row r of `rows` interleaved rows, whose first
/// block is block `first` of the row.
///
/// With `rows` = 1, `panel` holds plain, uninterleaved blocks.
pub fn panel(
    scheme: Packed,
    panel: &[u8],
    rows: usize,
    x: &Activations,
    first: usize,
    sums: &mut [[f32; ROWS]],
) {
    match scheme {
        Packed::Block32(Block32::Q4_0) => each(scheme, panel, rows, (x, first), sums, Numbers::new(0), q4_0),
        Packed::Block32(Block32::Q4_1) => each(scheme, panel, rows, (x, first), sums, Numbers::both(), q4_1),
        Packed::Block32(Block32::Q5_0) => each(scheme, panel, rows, (x, first), sums, Numbers::new(0), q5_0),
        Packed::Block32(Block32::Q5_1) => each(scheme, panel, rows, (x, first), sums, Numbers::both(), q5_1),
        Packed::Block32(Block32::Q8_0) => each(scheme, panel, rows, (x, first), sums, Numbers::new(0), q8_0),
        Packed::KQuant(KQuant::Q4) => each(scheme, panel, rows, (x, first), sums, Numbers::both(), q4_k),
        Packed::KQuant(KQuant::Q5) => each(scheme, panel, rows, (x, first), sums, Numbers::both(), q5_k),
        Packed::KQuant(KQuant::Q6) => each(scheme, panel, rows, (x, first), sums, Numbers::new(208), q6_k),
    }
}

/// Byte offsets of a block's f16 numbers.
#[derive(Clone, Copy)]
struct Numbers {
    scale: usize,
    minimum: Option<usize>,
}

impl Numbers {
    fn new(scale: usize) -> Self {
        Self { scale, minimum: None }
    }

    /// Returns the offsets in a block that begins with a scale and a minimum.
    fn both() -> Self {
        Self { scale: 0, minimum: Some(2) }
    }
}

/// Computes, for a weight block and a plane of activations, the integer sums that the block's scale and minimum are
/// multiplied by.
type Integers<const N: usize, const B: usize> = fn(&[u8; N], &[i8; B]) -> [i32; 2];

fn each<const N: usize, const B: usize>(
    scheme: Packed,
    panel: &[u8],
    rows: usize,
    (x, first): (&Activations, usize),
    sums: &mut [[f32; ROWS]],
    numbers: Numbers,
    integers: Integers<N, B>,
) {
    let mut block = [0; N];
    for (b, interleaved) in panel.chunks_exact(N * rows).enumerate() {
        for row in 0..rows {
            gather(scheme.scheme(), interleaved, rows, row, &mut block);
            for (above, tile) in x.tiles(first + b) {
                for (i, sums) in sums[above..][..tile.rows / x.planes()].iter_mut().enumerate() {
                    let mut whole = [0.0; 2];
                    for plane in i * x.planes()..(i + 1) * x.planes() {
                        let integers = integers(&block, tile.row::<B>(0, plane).1);
                        whole = std::array::from_fn(|i| fused(STEPS as f32, whole[i], integers[i] as f32));
                    }
                    let [products, minima] = whole;
                    let mut term = products * half_at(&block, numbers.scale);
                    if let Some(at) = numbers.minimum {
                        term = fused(minima, half_at(&block, at), term);
                    }
                    let (scale, _) = tile.row::<B>(0, (i + 1) * x.planes() - 1);
                    sums[row] = fused(term, scale, sums[row]);
                }
            }
        }
    }
}

// All kernels build a block's term in the same order: they combine the planes of a row, then apply the weights'
// numbers, then the activations' scale. Every multiply-add is fused, so the bits are the same everywhere. This
// takes one operation per term less than multiplying the scales first.

fn fused(a: f32, b: f32, c: f32) -> f32 {
    multiply_add::<FUSED>(a, b, c)
}

fn q8_0(block: &[u8; 34], x: &[i8; 32]) -> [i32; 2] {
    let products = block[2..].iter().zip(x).map(|(w, x)| i32::from(*w as i8) * i32::from(*x));
    [products.sum(), 0]
}

fn q4_0(block: &[u8; 18], x: &[i8; 32]) -> [i32; 2] {
    let [_, _, qs @ ..] = block;
    [dot(&nibbles(qs), x) - 8 * total(x), 0]
}

fn q4_1(block: &[u8; 20], x: &[i8; 32]) -> [i32; 2] {
    let [_, _, _, _, qs @ ..] = block;
    [dot(&nibbles(qs), x), total(x)]
}

fn q5_0(block: &[u8; 22], x: &[i8; 32]) -> [i32; 2] {
    let [_, _, _, _, _, _, qs @ ..] = block;
    let q = nibbles_and_high_bits(qs, word_at(block, 2));
    [dot(&q, x) - 16 * total(x), 0]
}

fn q5_1(block: &[u8; 24], x: &[i8; 32]) -> [i32; 2] {
    let [_, _, _, _, _, _, _, _, qs @ ..] = block;
    let q = nibbles_and_high_bits(qs, word_at(block, 4));
    [dot(&q, x), total(x)]
}

fn q4_k(block: &[u8; 144], x: &[i8; 256]) -> [i32; 2] {
    let weight = |j: usize, i: usize| block[16 + j / 2 * 32 + i] >> (j % 2 * 4) & 15;
    groups(weight, block, x)
}

fn q5_k(block: &[u8; 176], x: &[i8; 256]) -> [i32; 2] {
    let weight = |j: usize, i: usize| {
        let qh = block[16 + i] >> j & 1;
        block[48 + j / 2 * 32 + i] >> (j % 2 * 4) & 15 | qh << 4
    };
    groups(weight, block, x)
}

/// Sums eight groups of 32 columns, each with a scale and a minimum that is subtracted. `weight(group, column)`
/// returns a weight.
fn groups(weight: impl Fn(usize, usize) -> u8, block: &[u8], x: &[i8; 256]) -> [i32; 2] {
    let [mut products, mut minima] = [0, 0];
    for (j, x) in x.as_chunks::<32>().0.iter().enumerate() {
        let (scale, minimum): (i32, i32) = scale_and_minimum(&block[4..16], j);
        products += scale * dot(&std::array::from_fn(|i| weight(j, i)), x);
        minima -= minimum * total(x);
    }
    [products, minima]
}

fn q6_k(block: &[u8; 210], x: &[i8; 256]) -> [i32; 2] {
    let mut products = 0;
    for (j, x) in x.as_chunks::<16>().0.iter().enumerate() {
        // Each half of 128 weights is four runs of 32 that share 64 bytes of low bits and 32 bytes of high bits.
        let (half, within) = (j / 8, j % 8 / 2);
        let low = &block[half * 64 + within % 2 * 32 + j % 2 * 16..];
        let high = &block[128 + half * 32 + j % 2 * 16..];
        let weight = |i: usize| low[i] >> (within / 2 * 4) & 15 | (high[i] >> (within * 2) & 3) << 4;
        let signed = dot::<16>(&std::array::from_fn(weight), x) - 32 * total(x);
        products += i32::from(block[192 + j] as i8) * signed;
    }
    [products, 0]
}

fn dot<const N: usize>(w: &[u8; N], x: &[i8; N]) -> i32 {
    w.iter().zip(x).map(|(w, x)| i32::from(*w) * i32::from(*x)).sum()
}

fn total(x: &[i8]) -> i32 {
    x.iter().map(|x| i32::from(*x)).sum()
}

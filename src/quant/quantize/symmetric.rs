//! q6_k: 16 groups of 16 weights, each `level · scale` with levels from -32 to 31. A block stores the groups' scales
//! as signed bytes, multiples of one f16 number.
//!
//! The search is ggml's (`make_qx_quants`, `quantize_row_q6_K_ref` in `ggml-quants.c`), operation by operation, so a
//! block is byte for byte the one that llama-quantize writes: several scales about the one that puts the largest weight
//! at the last level, the least-squares scale of each, the best kept. An error counts by the square of the weight.

use std::hint::black_box;

use super::groups::{Lanes, Rows, nearest, side_by_side, storable};

type Sixteen = Lanes<16>;

/// The lowest level, and the lowest multiple; each has one less on the other side of zero.
const LEVEL: f32 = -32.0;
const MULTIPLE: f32 = -128.0;

/// A group, or a block, whose largest number is less is all zeros.
const NOTHING: f32 = 1e-15;

/// Each group's weight of the largest magnitude, the first of several; its scale; and what levels were counted with
/// for it.
struct Found {
    extreme: Sixteen,
    scale: Sixteen,
    inverse: Sixteen,
}

/// Sums over a group's levels, weighted by importance: of their products with the weights, and of their squares. The
/// first pass is where the time goes: for its shape see `affine`.
#[inline(always)]
fn moments(x: &Rows<16, 16>, inverse: Sixteen) -> (Sixteen, Sixteen) {
    let Lanes(inverse) = black_box(inverse);
    let (mut products, mut squares) = ([0.0; 16], [0.0; 16]);
    for Lanes(x) in x {
        for g in 0..16 {
            let level = nearest(inverse[g] * x[g], LEVEL, -LEVEL - 1.0);
            let importance = x[g] * x[g];
            products[g] += importance * x[g] * level;
            squares[g] += importance * level * level;
        }
    }
    black_box((Lanes(products), Lanes(squares)))
}

#[inline(always)]
fn search(x: &Rows<16, 16>) -> Found {
    let zero = Sixteen::all(0.0);
    let mut extreme = zero;
    for x in x {
        extreme = x.map(f32::abs).if_greater(extreme.map(f32::abs), *x, extreme);
    }
    let mut inverse = Sixteen::all(LEVEL) / extreme;
    let (product, square) = moments(x, inverse);
    let mut scale = square.if_greater(zero, product / square, zero);
    let mut gain = scale * product;
    for step in (-9i8..=9).filter(|step| *step != 0) {
        let attempt = Sixteen::all(LEVEL - 0.1 * f32::from(step)) / extreme;
        let (product, square) = moments(x, attempt);
        let (this, least) = (product * product, gain * square);
        let fitted = product / square;
        // Where all squares are nothing neither is greater.
        scale = this.if_greater(least, fitted, scale);
        inverse = this.if_greater(least, attempt, inverse);
        gain = this.if_greater(least, fitted * product, gain);
    }
    let something = |found: Sixteen| Sixteen::all(NOTHING).if_greater(extreme.map(f32::abs), zero, found);
    Found { extreme, scale: something(scale), inverse }
}

/// 128 bytes of low 4 bits, 64 bytes of high 2 bits, 16 signed scales, scale. `false` if the weights are not finite or
/// too large.
#[inline(always)]
pub fn q6_k(x: &[f32; 256], b: &mut [u8; 210]) -> bool {
    let rows = side_by_side(x);
    let found = search(&rows);
    let most = found.scale.extreme();
    if most.abs() < NOTHING {
        *b = [0; 210];
        return storable(x, []).is_some();
    }
    let inverse = MULTIPLE / most;
    let Some([scale]) = storable(x, [1.0 / inverse]) else { return false };
    let multiples = (found.scale * Sixteen::all(inverse)).nearest(MULTIPLE, -MULTIPLE - 1.0);
    let scaled = multiples * Sixteen::all(scale.to_f32_const());
    let mut levels = [0u8; 256];
    for (i, x) in rows.iter().enumerate() {
        // A group whose multiple is zero keeps the levels of the search, which nothing reads.
        let searched = (*x * found.inverse).nearest(LEVEL, -LEVEL - 1.0);
        let stored = (*x / scaled).nearest(LEVEL, -LEVEL - 1.0);
        for g in 0..16 {
            let level = if scaled.0[g] != 0.0 { stored.0[g] } else { searched.0[g] };
            let level = if found.extreme.0[g].abs() < NOTHING { LEVEL } else { level };
            levels[g * 16 + i] = (level - LEVEL) as u8;
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
    b[208..].copy_from_slice(&scale.to_le_bytes());
    true
}

//! Quantizes to q6_k: 16 groups of 16 weights, each `quant · scale` with quants from -32 to 31. A block stores the
//! scales of the groups as signed bytes, multiples of one f16 number.
//!
//! The search is ggml's, operation by operation, so a block has the same bytes as llama-quantize's
//! (`make_qx_quants`, `quantize_row_q6_K_ref` in `ggml-quants.c`). It tries several scales around the one that maps
//! the largest weight to the last quant, fits the least-squares scale to each, and keeps the best. An error is
//! weighted by the square of the weight.

use std::hint::black_box;

use super::groups::{Lanes, Rows, nearest, side_by_side, storable};

type Sixteen = Lanes<16>;

/// The lowest quant and the lowest multiple. The highest ones are one less in magnitude.
const LOWEST: f32 = -32.0;
const LOWEST_MULTIPLE: f32 = -128.0;

/// A group or block whose largest number is below this is stored as zeros.
const NEGLIGIBLE: f32 = 1e-15;

/// For each group, the weight of the largest magnitude (the first of several), the scale, and the factor from
/// weights to quants.
struct Found {
    extreme: Sixteen,
    scale: Sixteen,
    inverse: Sixteen,
}

/// Sums over a group's quants, weighted by importance: of their products with the weights, and of their squares.
/// This pass takes most of the time; `affine` explains its shape.
#[inline(always)]
fn moments(x: &Rows<16, 16>, inverse: Sixteen) -> (Sixteen, Sixteen) {
    let Lanes(inverse) = black_box(inverse);
    let (mut products, mut squares) = ([0.0; 16], [0.0; 16]);
    for Lanes(x) in x {
        for g in 0..16 {
            let quant = nearest(inverse[g] * x[g], LOWEST, -LOWEST - 1.0);
            let importance = x[g] * x[g];
            products[g] += importance * x[g] * quant;
            squares[g] += importance * quant * quant;
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
    let mut inverse = Sixteen::all(LOWEST) / extreme;
    let (product, square) = moments(x, inverse);
    let mut scale = square.if_greater(zero, product / square, zero);
    let mut gain = scale * product;
    for step in (-9i8..=9).filter(|step| *step != 0) {
        let attempt = Sixteen::all(LOWEST - 0.1 * f32::from(step)) / extreme;
        let (product, square) = moments(x, attempt);
        let (this, least) = (product * product, gain * square);
        let fitted = product / square;
        // If all squares are zero, the comparison is false.
        scale = this.if_greater(least, fitted, scale);
        inverse = this.if_greater(least, attempt, inverse);
        gain = this.if_greater(least, fitted * product, gain);
    }
    let unless_negligible =
        |found: Sixteen| Sixteen::all(NEGLIGIBLE).if_greater(extreme.map(f32::abs), zero, found);
    Found { extreme, scale: unless_negligible(scale), inverse }
}

/// Writes a q6_k block: 128 bytes of low 4 bits, 64 bytes of high 2 bits, 16 signed scales, scale. Returns `false`
/// if the weights are not finite or too large.
#[inline(always)]
pub fn q6_k(x: &[f32; 256], b: &mut [u8; 210]) -> bool {
    let rows = side_by_side(x);
    let found = search(&rows);
    let most = found.scale.extreme();
    if most.abs() < NEGLIGIBLE {
        *b = [0; 210];
        return storable(x, []).is_some();
    }
    let inverse = LOWEST_MULTIPLE / most;
    let Some([scale]) = storable(x, [1.0 / inverse]) else { return false };
    let multiples = (found.scale * Sixteen::all(inverse)).nearest(LOWEST_MULTIPLE, -LOWEST_MULTIPLE - 1.0);
    let scaled = multiples * Sixteen::all(scale.to_f32_const());
    let mut quants = [0u8; 256];
    for (i, x) in rows.iter().enumerate() {
        // A group whose multiple is zero keeps the quants of the search, which have no effect.
        let searched = (*x * found.inverse).nearest(LOWEST, -LOWEST - 1.0);
        let stored = (*x / scaled).nearest(LOWEST, -LOWEST - 1.0);
        for g in 0..16 {
            let quant = if scaled.0[g] != 0.0 { stored.0[g] } else { searched.0[g] };
            let quant = if found.extreme.0[g].abs() < NEGLIGIBLE { LOWEST } else { quant };
            quants[g * 16 + i] = (quant - LOWEST) as u8;
        }
    }
    // Each half of 128 weights is four runs of 32. Two runs each share the low and high nibbles of 32 bytes; all
    // four share 32 bytes of 2-bit fields.
    for (half, quants) in quants.as_chunks::<128>().0.iter().enumerate() {
        for i in 0..32 {
            let run = |n: usize| quants[n * 32 + i];
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

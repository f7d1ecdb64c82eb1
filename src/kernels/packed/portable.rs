//! The packed product in plain Rust: the oracle of the others, and the way of the rows that fill no strip.

use super::activations::Tile;
use crate::kernels::Scheme;
use crate::kernels::dequantize::half_at;
use crate::kernels::layout::{ROWS, gather};

/// Adds to `sums[i][r]` the product of the tile's row i with row r of `rows` interleaved rows.
///
/// One row is a strip of one: its interleaved blocks are the plain ones.
pub fn strip(scheme: Scheme, strip: &[u8], rows: usize, x: Tile, sums: &mut [[f32; ROWS]]) {
    match scheme {
        Scheme::Q4_0 => each(scheme, strip, rows, x, sums, q4_0),
        Scheme::Q8_0 => each(scheme, strip, rows, x, sums, q8_0),
        Scheme::Q4K => each(scheme, strip, rows, x, sums, q4_k),
        _ => {}
    }
}

/// Weight block, activations, their scale, their sums.
type Product<const N: usize, const B: usize, const S: usize> = fn(&[u8; N], &[i8; B], f32, &[i16; S]) -> f32;

fn each<const N: usize, const B: usize, const S: usize>(
    scheme: Scheme,
    strip: &[u8],
    rows: usize,
    x: Tile,
    sums: &mut [[f32; ROWS]],
    product: Product<N, B, S>,
) {
    let mut block = [0; N];
    for (b, interleaved) in strip.chunks_exact(N * rows).enumerate() {
        let x = x.block(b);
        for row in 0..rows {
            gather(scheme, interleaved, rows, row, &mut block);
            for (i, sums) in sums.iter_mut().take(x.quants.len()).enumerate() {
                sums[row] += product(&block, &x.quants[i], x.scales[i], &x.sums[i]);
            }
        }
    }
}

fn q8_0(block: &[u8; 34], x: &[i8; 32], scale: f32, _: &[i16; 1]) -> f32 {
    let products = block[2..].iter().zip(x).map(|(w, x)| i32::from(*w as i8) * i32::from(*x));
    products.sum::<i32>() as f32 * (half_at(block, 0) * scale)
}

fn q4_0(block: &[u8; 18], x: &[i8; 32], scale: f32, sums: &[i16; 1]) -> f32 {
    let sum = nibbles(&block[2..], x) - 8 * i32::from(sums[0]);
    sum as f32 * (half_at(block, 0) * scale)
}

fn q4_k(block: &[u8; 144], x: &[i8; 256], scale: f32, sums: &[i16; 8]) -> f32 {
    let [mut sum, mut minima] = [0, 0];
    for (j, x_sum) in sums.iter().enumerate() {
        let (scale, minimum) = scale_and_minimum(&block[4..16], j);
        let bytes = &block[16 + j / 2 * 32..][..32];
        let products = bytes.iter().zip(&x[32 * j..]).map(|(w, x)| {
            let w = if j % 2 == 0 { w & 15 } else { w >> 4 };
            i32::from(w) * i32::from(*x)
        });
        sum += scale * products.sum::<i32>();
        minima += minimum * i32::from(*x_sum);
    }
    // No fused multiply-add, nor in any other set: the same bits everywhere.
    sum as f32 * (half_at(block, 0) * scale) - minima as f32 * (half_at(block, 2) * scale)
}

/// The low halves of `bytes` times the first activations, plus the high halves times those after.
fn nibbles(bytes: &[u8], x: &[i8]) -> i32 {
    let (low, high) = x.split_at(bytes.len());
    let low = bytes.iter().zip(low).map(|(w, x)| i32::from(w & 15) * i32::from(*x));
    let high = bytes.iter().zip(high).map(|(w, x)| i32::from(w >> 4) * i32::from(*x));
    low.sum::<i32>() + high.sum::<i32>()
}

/// Scale and minimum of the j-th of 8 groups, 6 bits each, packed in 12 bytes.
fn scale_and_minimum(packed: &[u8], j: usize) -> (i32, i32) {
    let (scale, minimum) = match j < 4 {
        true => (packed[j] & 63, packed[j + 4] & 63),
        false => (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4),
    };
    (i32::from(scale), i32::from(minimum))
}

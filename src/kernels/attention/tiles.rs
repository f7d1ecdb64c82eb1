//! The innermost loops of attention, in registers: scores of queries with keys, and weighted sums of values.
//!
//! A tile is a few rows by a few vectors. Every load of keys or values is used for all rows of the tile, every
//! broadcast of a query or weight for all its vectors. An element is summed in the same order in any tile.

use super::positions::SPAN;
use super::store::BLOCK;
use crate::cpu::simd::Simd;

/// Computes the scores of some rows of queries with N vectors of positions.
///
/// # Safety
/// `q` has `rows` rows of `size` values. Each of the N vectors points to `size` rows of sixteen values. `scores`
/// has rows of SPAN values with room for N vectors.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) unsafe fn score_rows<S: Simd, const N: usize>(
    q: *const f32,
    rows: usize,
    size: usize,
    keys: [*const f32; 2],
    scores: *mut f32,
) {
    let mut row = 0;
    while row < rows {
        // SAFETY: the caller guarantees the rows.
        unsafe {
            let (q, scores) = (q.add(row * size), scores.add(row * SPAN));
            row += match rows - row {
                8.. if S::LANES == BLOCK => score_tile::<S, 8, N>(q, size, keys, scores),
                4.. => score_tile::<S, 4, N>(q, size, keys, scores),
                3 => score_tile::<S, 3, N>(q, size, keys, scores),
                2 => score_tile::<S, 2, N>(q, size, keys, scores),
                _ => score_tile::<S, 1, N>(q, size, keys, scores),
            };
        }
    }
}

/// Computes the scores of R rows with N vectors of positions, and returns R.
///
/// # Safety
/// As for [`score_rows`], for R rows.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn score_tile<S: Simd, const R: usize, const N: usize>(
    q: *const f32,
    size: usize,
    keys: [*const f32; 2],
    scores: *mut f32,
) -> usize {
    let mut sums = [[S::splat(0.0); N]; R];
    for d in 0..size {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let mut vectors = [S::splat(0.0); N];
            for (v, vector) in vectors.iter_mut().enumerate() {
                *vector = S::load(keys[v].add(d * BLOCK));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let q = S::splat(*q.add(r * size + d));
                for (sum, key) in sums.iter_mut().zip(vectors) {
                    *sum = q.mul_add(key, *sum);
                }
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        for (v, sum) in sums.into_iter().enumerate() {
            // SAFETY: guaranteed by the caller.
            unsafe { sum.store(scores.add(r * SPAN + v * S::LANES)) };
        }
    }
    R
}

/// Adds the values of some positions, times their weights, to rows of sums.
///
/// # Safety
/// `weights` has `rows` rows of SPAN values, `values` has `count` rows of `width`, and `sums` has `rows` rows of
/// `width + 2`.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) unsafe fn mix_rows<S: Simd>(
    weights: *const f32,
    rows: usize,
    count: usize,
    values: *const f32,
    width: usize,
    sums: *mut f32,
) {
    let mut row = 0;
    while row < rows {
        let tall = (rows - row).min(4);
        let mut d = 0;
        while d < width {
            // SAFETY: the caller guarantees the rows and columns.
            unsafe {
                let at = (weights.add(row * SPAN), values.add(d), sums.add(row * (width + 2) + d));
                let vectors = (width - d) / S::LANES;
                d += S::LANES
                    * match (tall, vectors) {
                        (4, 4..) if S::LANES == BLOCK => mix_tile::<S, 4, 4>(at, count, width),
                        (4, 2..) => mix_tile::<S, 4, 2>(at, count, width),
                        (4, _) => mix_tile::<S, 4, 1>(at, count, width),
                        (3, 4..) if S::LANES == BLOCK => mix_tile::<S, 3, 4>(at, count, width),
                        (3, 2..) => mix_tile::<S, 3, 2>(at, count, width),
                        (3, _) => mix_tile::<S, 3, 1>(at, count, width),
                        (2, 2..) => mix_tile::<S, 2, 2>(at, count, width),
                        (2, _) => mix_tile::<S, 2, 1>(at, count, width),
                        (_, 4..) => mix_tile::<S, 1, 4>(at, count, width),
                        (_, 2..) => mix_tile::<S, 1, 2>(at, count, width),
                        _ => mix_tile::<S, 1, 1>(at, count, width),
                    };
            }
        }
        row += tall;
    }
}

/// Adds to R rows by N vectors of sums, and returns N.
///
/// # Safety
/// As for [`mix_rows`], for R rows and N vectors at the pointers.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn mix_tile<S: Simd, const R: usize, const N: usize>(
    (weights, values, sums): (*const f32, *const f32, *mut f32),
    count: usize,
    width: usize,
) -> usize {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut mixed = [[S::splat(0.0); N]; R];
        for (r, mixed) in mixed.iter_mut().enumerate() {
            for (v, mixed) in mixed.iter_mut().enumerate() {
                *mixed = S::load(sums.add(r * (width + 2) + v * S::LANES));
            }
        }
        for j in 0..count {
            let mut vectors = [S::splat(0.0); N];
            for (v, vector) in vectors.iter_mut().enumerate() {
                *vector = S::load(values.add(j * width + v * S::LANES));
            }
            for (r, mixed) in mixed.iter_mut().enumerate() {
                let weight = S::splat(*weights.add(r * SPAN + j));
                for (mixed, value) in mixed.iter_mut().zip(vectors) {
                    *mixed = weight.mul_add(value, *mixed);
                }
            }
        }
        for (r, mixed) in mixed.into_iter().enumerate() {
            for (v, mixed) in mixed.into_iter().enumerate() {
                mixed.store(sums.add(r * (width + 2) + v * S::LANES));
            }
        }
    }
    N
}

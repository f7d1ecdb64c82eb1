//! The packed product with AMX: sixteen rows of activations by a strip in one instruction, for 64 columns.
//!
//! A piece of a strip, four bytes of sixteen rows, is a line of the instruction's second operand as it lies, and sixteen rows
//! of activations are its first. So only scales are in the way:
//!
//! - Of the k-schemes the groups' scales are multiplied into the weights, exactly, as two bytes: the products' sums of 256
//!   columns are those of the high bytes and of the low bytes, and there is nothing to do for a group (`k`).
//! - Blocks of 32 columns have scales in f32, so that sums end after 32 columns, half of what an instruction can take
//!   (`blocks`).
//!
//! Weights are unpacked as for AVX512, and what becomes of the sums is done there too. The instructions are written as
//! assembly, since their intrinsics are not stable. Below [`LEAST`] rows AVX512 is as fast.
//!
//! Tiles are set up and released by each call: released, they cost nothing when the system switches threads.

mod blocks;
mod k;
#[cfg(test)]
mod model;
mod tiles;

use std::cell::RefCell;

use super::activations::{Activations, TILE};
use super::scheme::{K, Of32, Packed};
use super::span::{Lanes, Span};
use super::{SPAN, avx512};
use crate::quant::ROWS;

/// Rows of quants from which on this is faster.
const LEAST: usize = 9;

/// Strips that are multiplied at a time.
const WIDTH: usize = 2;

/// What a thread keeps.
struct Scratch {
    spans: [Span; WIDTH],
    /// Of the k-schemes the second bytes of the weights.
    high: [[Lanes; SPAN / 4]; WIDTH],
    /// Sums as tiles are stored.
    sums: [[[Lanes; ROWS]; SPAN / 32]; 2],
}

thread_local! {
    static SCRATCH: RefCell<(Scratch, Vec<[f32; ROWS]>)> = const { RefCell::new((Scratch {
        spans: [Span::ZERO; WIDTH],
        high: [[Lanes::ZERO; SPAN / 4]; WIDTH],
        sums: [[[Lanes::ZERO; ROWS]; SPAN / 32]; 2],
    }, Vec::new())) };
}

/// See [`multiply_strips`](super::multiply_strips).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn strips(scheme: Packed, strips: &[&[u8]], x: &Activations, first: usize, sums: &mut [[f32; ROWS]]) {
    if x.quant_rows() < LEAST {
        return avx512::strips(scheme, strips, x, first, sums);
    }
    match x.planes() {
        1 => of_planes::<1>(scheme, strips, x, first, sums),
        _ => of_planes::<2>(scheme, strips, x, first, sums),
    }
}

/// The same of activations whose rows have P planes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn of_planes<const P: usize>(
    scheme: Packed,
    strips: &[&[u8]],
    x: &Activations,
    first: usize,
    sums: &mut [[f32; ROWS]],
) {
    SCRATCH.with_borrow_mut(|(scratch, padded)| {
        let rows = x.rows();
        for (strips, sums) in strips.chunks(WIDTH).zip(sums.chunks_mut(WIDTH * rows)) {
            if x.quant_rows().is_multiple_of(TILE) {
                some::<P>(scheme, strips, x, first, scratch, sums);
                continue;
            }
            // The last tile's rows are fewer: all are copied beside what was there before, whose sums nobody reads.
            let of_tiles = x.quant_rows().div_ceil(TILE) * (TILE / P);
            padded.resize(WIDTH * of_tiles, [0.0; ROWS]);
            for (padded, sums) in padded.chunks_mut(of_tiles).zip(sums.chunks(rows)) {
                padded[..rows].copy_from_slice(sums);
            }
            some::<P>(scheme, strips, x, first, scratch, padded);
            for (padded, sums) in padded.chunks(of_tiles).zip(sums.chunks_mut(rows)) {
                sums.copy_from_slice(&padded[..rows]);
            }
        }
    });
}

/// The same of up to [`WIDTH`] strips. Of each, all tiles' sums lie together: of a tile TILE / P.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn some<const P: usize>(
    scheme: Packed,
    strips: &[&[u8]],
    x: &Activations,
    first: usize,
    scratch: &mut Scratch,
    sums: &mut [[f32; ROWS]],
) {
    match scheme {
        Packed::K(scheme) => match strips {
            [a, b] => of_k::<P, WIDTH>(scheme, [a, b], x, first, scratch, sums),
            [a] => of_k::<P, 1>(scheme, [a], x, first, scratch, sums),
            // Chunks are one or two.
            _ => {}
        },
        Packed::Of32(Of32::Q4_1 | Of32::Q5_1) => {
            blocks::strips::<P, true>(scheme, strips, x, first, scratch, sums);
        }
        Packed::Of32(Of32::Q4_0 | Of32::Q5_0 | Of32::Q8_0) => {
            blocks::strips::<P, false>(scheme, strips, x, first, scratch, sums);
        }
    }
}

/// The same of S strips of a k-scheme.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn of_k<const P: usize, const S: usize>(
    scheme: K,
    strips: [&[u8]; S],
    x: &Activations,
    first: usize,
    scratch: &mut Scratch,
    sums: &mut [[f32; ROWS]],
) {
    match scheme {
        K::Q4 => k::strips::<P, S, 4>(scheme, strips, x, first, scratch, sums),
        K::Q5 => k::strips::<P, S, 5>(scheme, strips, x, first, scratch, sums),
        K::Q6 => k::strips::<P, S, 6>(scheme, strips, x, first, scratch, sums),
    }
}

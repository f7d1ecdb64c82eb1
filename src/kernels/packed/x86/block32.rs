//! Multiplies panels of blocks of 32 weights by the rows of a tile. A block's weights stay in registers while the
//! rows of activations stream past. With registers that hold a whole piece, eight sums are computed at a time: the
//! products of a sum wait for each other, and Intel's processors do not look far enough ahead to overlap many sums
//! that follow one another (`docs/performance.md`).

use super::super::activations::TILE;
use super::super::tile::{Columns32, Tile, last_plane};
use super::block::{add, block_of, block32_bytes, blocks, broadcast4, combine_planes, numbers, weights32};
use super::lanes::{Kernel, Lanes, each_part};
use crate::quant::ROWS;

/// Number of sums that are computed at a time if a register holds a whole piece. With the weights of two panels, they
/// just fit the registers.
const SUMS: usize = 8;

/// N panels by the rows of a tile, which have P planes each. ONE is true if the tile has a single row.
pub struct Block32<'a, const N: usize, const P: usize, const ONE: bool, const BITS: u32, const MINIMUM: bool>
{
    pub panels: [&'a [u8]; N],
    pub x: Tile<'a>,
    /// Offset from a panel's sums to the next panel's.
    pub stride: usize,
}

impl<const N: usize, const P: usize, const ONE: bool, const BITS: u32, const MINIMUM: bool> Kernel
    for Block32<'_, N, P, ONE, BITS, MINIMUM>
{
    type Out = [[f32; ROWS]];

    #[inline(always)]
    fn run<S: Lanes>(self, sums: &mut [[f32; ROWS]]) {
        let size = const { block32_bytes(BITS, MINIMUM) };
        let rows = if ONE { 1 } else { (self.x.rows / P).min(TILE / P) };
        // Sums of 16 bits would need another step.
        let together = if ONE || S::PARTS > 1 || !S::VNNI { 0 } else { rows - rows % (SUMS / N / P) };
        // Alternates between the blocks of two panels: memory is faster when it is read in two places at once.
        for b in 0..blocks(&self.panels, size) {
            let x = self.x.columns32::<TILE>(b, 0);
            if together > 0 {
                let blocks = self.panels.map(|panel| block_of(panel, b, size));
                let (x, sums) = (&x, (&mut *sums, self.stride));
                // Parameters that do not fit are not compiled.
                if const { N == 1 && P == 1 } {
                    rows_by_blocks::<S, N, 8, 8, P, BITS, MINIMUM>(blocks, x, sums, together);
                } else if const { N == 1 } {
                    rows_by_blocks::<S, N, 8, 4, P, BITS, MINIMUM>(blocks, x, sums, together);
                } else if const { P == 1 } {
                    rows_by_blocks::<S, N, 4, 4, P, BITS, MINIMUM>(blocks, x, sums, together);
                } else {
                    rows_by_blocks::<S, N, 4, 2, P, BITS, MINIMUM>(blocks, x, sums, together);
                }
            }
            if together == rows {
                continue;
            }
            for (p, panel) in self.panels.iter().enumerate() {
                let sums = &mut sums[p * self.stride..][..rows];
                block_by_rows::<S, P, BITS, MINIMUM>(block_of(panel, b, size), &x, (sums, together));
            }
        }
    }
}

/// Multiplies a block of each of N panels by the tile's first `rows` rows of activations, O at a time, which are R rows
/// of quants. `rows` is a multiple of O.
#[inline(always)]
fn rows_by_blocks<
    S: Lanes,
    const N: usize,
    const R: usize,
    const O: usize,
    const P: usize,
    const BITS: u32,
    const MINIMUM: bool,
>(
    blocks: [&[u8]; N],
    x: &Columns32<TILE>,
    (sums, stride): (&mut [[f32; ROWS]], usize),
    rows: usize,
) {
    const { assert!(N <= 2) };
    let (mut w, mut scales, mut minima) =
        ([[S::zero(); 8]; N], [S::splat_f32(0.0); N], [S::splat_f32(0.0); N]);
    for (p, block) in blocks.into_iter().enumerate() {
        w[p] = weights32::<S, BITS, MINIMUM, false>(block, 0);
        scales[p] = numbers::<S>(block, 0, 0);
        if MINIMUM {
            minima[p] = numbers::<S>(block, 2, 0);
        }
    }
    let (first, second) = sums.split_at_mut(if N == 2 { stride } else { rows });
    let (first, second) = (first[..rows].as_chunks_mut::<O>().0, second.as_chunks_mut::<O>().0);
    for (i, first) in first.iter_mut().enumerate() {
        // Everything that is checked comes first: otherwise the products of one panel are computed after those of the
        // other, and the activations go through memory in between.
        let (quants, bsums) = (chunk::<_, R>(x.quants, i), chunk::<_, R>(x.bsums, i));
        let (x_scales, bsums_f32) = (chunk::<_, R>(x.scales, i), chunk::<_, R>(x.bsums_f32, i));
        let second = if N == 2 { &mut second[i][..] } else { &mut [] };
        let mut products = [[S::zero(); N]; R];
        if !MINIMUM {
            for (products, bsum) in products.iter_mut().zip(bsums) {
                *products = [offset::<S, BITS>(*bsum); N];
            }
        }
        for s in 0..8 {
            for (products, quants) in products.iter_mut().zip(quants) {
                let four = broadcast4::<S, 32>(quants, s);
                for (product, w) in products.iter_mut().zip(&w) {
                    *product = match BITS {
                        8 => S::dot_signed(*product, w[s], four),
                        _ => S::dot(*product, w[s], four),
                    };
                }
            }
        }
        for (p, sums) in [&mut first[..], second].into_iter().enumerate().take(N) {
            for (r, sums) in sums.iter_mut().enumerate() {
                let mut planes = [S::zero(); P];
                for (plane, planes) in planes.iter_mut().enumerate() {
                    *planes = products[P * r + plane][p];
                }
                let of_x = S::splat_f32(last_plane::<P>(bsums_f32, r));
                let minima = if MINIMUM { Some([of_x, minima[p]]) } else { None };
                add::<S, P>(sums, 0, combine_planes::<S, P>(&planes), scales[p], minima, (x_scales, r));
            }
        }
    }
}

/// Returns the i-th chunk of R entries.
#[inline(always)]
fn chunk<T, const R: usize>(all: &[T; TILE], i: usize) -> &[T; R] {
    &all.as_chunks().0[i]
}

#[inline(always)]
fn block_by_rows<S: Lanes, const P: usize, const BITS: u32, const MINIMUM: bool>(
    block: &[u8],
    x: &Columns32<TILE>,
    (sums, first): (&mut [[f32; ROWS]], usize),
) {
    each_part!(S, part => {
        let scales = numbers::<S>(block, 0, part);
        let minima = if MINIMUM { numbers::<S>(block, 2, part) } else { scales };
        let w = match BITS == 4 && S::VNNI {
            true => weights32::<S, BITS, MINIMUM, true>(block, part),
            false => weights32::<S, BITS, MINIMUM, false>(block, part),
        };
        for (r, sums) in sums.iter_mut().enumerate().skip(first) {
            let mut products = [S::zero(); P];
            for (plane, products) in products.iter_mut().enumerate() {
                let row = P * r + plane;
                let offset = if MINIMUM { S::zero() } else { offset::<S, BITS>(x.bsums[row]) };
                *products = dot::<S, BITS>(&w, &x.quants[row], offset);
            }
            let minima = if MINIMUM { Some([S::splat_f32(last_plane::<P>(x.bsums_f32, r)), minima]) } else { None };
            add::<S, P>(sums, part, combine_planes::<S, P>(&products), scales, minima, (x.scales, r));
        }
    });
}

/// Returns the correction for weights that are `2^(BITS - 1)` too large, from the negated sum of activations.
/// Weights of 8 bits need it only with VNNI.
#[inline(always)]
fn offset<S: Lanes, const BITS: u32>(bsum: i32) -> S::Ints {
    match BITS {
        4 => S::left::<3>(S::splat(bsum)),
        5 => S::left::<4>(S::splat(bsum)),
        _ if S::VNNI => S::left::<7>(S::splat(bsum)),
        _ => S::zero(),
    }
}

/// Returns the sum of the products of 32 columns, plus an offset. It uses two accumulators, because each product
/// waits for the one before it.
#[inline(always)]
fn dot<S: Lanes, const BITS: u32>(w: &[S::Ints; 8], x: &[i8; 32], offset: S::Ints) -> S::Ints {
    let mut sums = [if S::VNNI { offset } else { S::zero() }, S::zero()];
    for (half, (sum, w)) in sums.iter_mut().zip(w.as_chunks::<4>().0).enumerate() {
        for (s, w) in w.iter().enumerate() {
            let x = broadcast4::<S, 32>(x, 4 * half + s);
            *sum = if BITS == 8 { S::dot_signed(*sum, *w, x) } else { S::dot(*sum, *w, x) };
        }
    }
    let [first, second] = sums;
    let ones = S::splat(0x0001_0001);
    match BITS {
        // The weights in the high 4 bits were multiplied unshifted.
        4 if S::VNNI => S::add(first, S::right::<4>(second)),
        // Pairs of 32 columns reach 8 · 2 · 15 · 127; pairs of 16 columns of 5 bits reach 4 · 2 · 31 · 127. Both
        // fit 16 bits.
        4 => S::dot_pairs(offset, S::add_pairs(first, second), ones),
        5 if !S::VNNI => S::dot_pairs(S::dot_pairs(offset, first, ones), second, ones),
        _ => S::add(first, second),
    }
}

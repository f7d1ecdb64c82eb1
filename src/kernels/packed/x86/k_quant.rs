//! Multiplies panels of k-quants by a few rows. Each piece of weights is multiplied by all rows right after it is
//! unpacked, in registers.
//!
//! This spaces memory requests evenly. Unpacking 256 columns to the cache first made one row of q4_k a fifth
//! slower: requests came in bursts that exceeded the available slots, with none in between.

use super::super::tile::{Columns256, Tile};
use super::block::{
    Groups, KFields, add, add_group, block_of, blocks, broadcast4, combine_planes, group, numbers, piece,
    pieces_of_sum, times_sums, weights_of_pair,
};
use super::lanes::{Kernel, Lanes, each_part};
use crate::cpu::prefetch::ahead;
use crate::quant::ROWS;

/// N panels by all R rows of quants of a tile. P of them are planes of one row.
pub struct FewRows<'a, const N: usize, const R: usize, const P: usize, const BITS: u32> {
    pub panels: [&'a [u8]; N],
    pub x: Tile<'a>,
}

impl<const N: usize, const R: usize, const P: usize, const BITS: u32> Kernel for FewRows<'_, N, R, P, BITS> {
    /// The sums of all panels, one panel after another, R / P rows each.
    type Out = [[f32; ROWS]];

    #[inline(always)]
    fn run<S: Lanes>(self, sums: &mut [[f32; ROWS]]) {
        let size = const { KFields::new(BITS).bytes };
        for b in 0..blocks(&self.panels, size) {
            // All bounds checks come before the computation. With a check in between, the compiler moves loads of
            // weights before the check and their use after it. The weights then went through memory, which took
            // four times as long.
            let x = self.x.columns256::<R>(b, 0);
            for (p, panel) in self.panels.iter().enumerate() {
                let sums = &mut sums[p * (R / P)..][..R / P];
                block_by_rows::<S, R, P, BITS>(block_of(panel, b, size), &x, sums);
            }
        }
    }
}

#[inline(always)]
fn block_by_rows<S: Lanes, const R: usize, const P: usize, const BITS: u32>(
    block: &[u8],
    x: &Columns256<R>,
    sums: &mut [[f32; ROWS]],
) {
    let fields = const { KFields::new(BITS) };
    if BITS < 6 {
        // The block's scale and minimum are on a separate cache line. It is loaded last, and no other load
        // prefetches it.
        ahead(piece(block, fields.scale));
    }
    let mut groups = S::parts(Groups::<S>::new::<BITS>(block, 0));
    if S::PARTS > 1 {
        groups[1] = Groups::new::<BITS>(block, 1);
    }
    let mut totals = S::parts([S::zero(); R]);
    add_pair::<S, 0, R, BITS>(block, &groups, x, &mut totals);
    add_pair::<S, 1, R, BITS>(block, &groups, x, &mut totals);
    add_pair::<S, 2, R, BITS>(block, &groups, x, &mut totals);
    add_pair::<S, 3, R, BITS>(block, &groups, x, &mut totals);
    each_part!(S, part => {
        let mut pairs = [S::zero(); 8];
        for (p, pair) in pairs.iter_mut().enumerate().take(if BITS == 6 { 8 } else { 4 }) {
            *pair = groups[part].pair::<BITS>(p);
        }
        let scales = numbers::<S>(block, fields.scale, part);
        let minima = if BITS < 6 { numbers::<S>(block, fields.scale + 2, part) } else { scales };
        finish::<S, R, P, BITS>(sums, part, totals[part], &pairs, [scales, minima], x);
    });
}

/// Adds the sums of the two groups that share the `PAIR`-th 32 bytes, times the groups' scales. PAIR is a constant,
/// so that no shift has a variable count.
#[inline(always)]
fn add_pair<S: Lanes, const PAIR: usize, const R: usize, const BITS: u32>(
    block: &[u8],
    groups: &S::Parts<Groups<S>>,
    x: &Columns256<R>,
    totals: &mut S::Parts<[S::Ints; R]>,
) {
    let in_place = BITS == 4 && S::VNNI;
    let pieces = pieces_of_sum(BITS, S::VNNI);
    each_part!(S, part => {
        for first in (0..8).step_by(pieces) {
            let mut sums = [[S::zero(); R]; 2];
            for (which, sums) in sums.iter_mut().enumerate() {
                for (sum, bsums8) in sums.iter_mut().zip(x.bsums8) {
                    *sum = begin::<S, BITS>(bsums8, 8 * group::<BITS, PAIR>(which) + first);
                }
            }
            for s in first..first + pieces {
                let w = match in_place {
                    true => weights_of_pair::<S, BITS, PAIR, true>(block, s, part),
                    false => weights_of_pair::<S, BITS, PAIR, false>(block, s, part),
                };
                for (which, sums) in sums.iter_mut().enumerate() {
                    let at = 8 * group::<BITS, PAIR>(which) + s;
                    for (sum, x) in sums.iter_mut().zip(x.quants) {
                        *sum = S::dot(*sum, w[which], broadcast4::<S, 256>(x, at));
                    }
                }
            }
            for (which, sums) in sums.into_iter().enumerate() {
                let j = group::<BITS, PAIR>(which);
                let scale = groups[part].scale(if BITS == 6 { 2 * j + first / 4 } else { j });
                for (total, sum) in totals[part].iter_mut().zip(sums) {
                    // These sums are still 16 times too large.
                    let sum = if in_place && which == 1 { S::right::<4>(sum) } else { sum };
                    *total = add_group::<S, BITS>(*total, sum, scale);
                }
            }
        }
        // Without this, the compiler defers these additions to the end of the block, where the pending sums need
        // twice as many registers.
        for total in &mut totals[part] {
            *total = S::computed(*total);
        }
    });
}

/// Returns the initial value for the sum of pieces from the `at`-th on. With VNNI it corrects the offset of 6-bit
/// weights, so that the sum fits 16 bits. Without VNNI the offset is subtracted at the end.
#[inline(always)]
pub fn begin<S: Lanes, const BITS: u32>(bsums8: &[i32; 32], at: usize) -> S::Ints {
    if BITS == 6 && S::VNNI { S::splat(bsums8[at / 2]) } else { S::zero() }
}

/// Adds a block's products with R rows of quants to the rows' sums.
#[inline(always)]
pub fn finish<S: Lanes, const R: usize, const P: usize, const BITS: u32>(
    sums: &mut [[f32; ROWS]],
    part: usize,
    mut totals: [S::Ints; R],
    pairs: &[S::Ints; 8],
    [scales, minima]: [S::Floats; 2],
    x: &Columns256<R>,
) {
    let mut of_minima = [S::zero(); R];
    for r in 0..R {
        if BITS < 6 {
            let pairs: &[S::Ints; 4] = &pairs.as_chunks().0[0];
            of_minima[r] = times_sums::<S, 4>(pairs, &x.bsums32[r]);
        } else if !S::VNNI {
            let offset = times_sums::<S, 8>(pairs, &x.bsums16[r]);
            totals[r] = S::sub(totals[r], S::left::<5>(offset));
        }
    }
    let rows = totals.as_chunks::<P>().0.iter().zip(of_minima.as_chunks::<P>().0);
    for (r, (totals, of_minima)) in rows.enumerate() {
        let minima = if BITS < 6 { Some([combine_planes::<S, P>(of_minima), minima]) } else { None };
        add::<S, P>(&mut sums[r], part, combine_planes::<S, P>(totals), scales, minima, (x.scales, r));
    }
}

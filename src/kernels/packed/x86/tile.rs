//! Multiplies unpacked k-quants by several rows of quants at a time: as many as have room for their sums in registers.

use super::super::tile::Tile;
use super::super::unpacked::{Piece, Unpacked};
use super::block::{add_group, broadcast4, pieces_of_sum};
use super::k_quant::{begin, finish};
use super::lanes::{Kernel, Lanes};
use crate::quant::ROWS;

/// Rows `row` to `row + R` of a tile by a block of one or two panels. C is the number of registers per piece: two
/// parts of one panel, or one part of each panel.
pub struct Rows<'a, const R: usize, const P: usize, const C: usize, const BITS: u32> {
    pub panels: &'a [Unpacked],
    pub x: Tile<'a>,
    pub row: usize,
    /// Offset from a panel's sums to the next panel's.
    pub stride: usize,
}

impl<const R: usize, const P: usize, const C: usize, const BITS: u32> Kernel for Rows<'_, R, P, C, BITS> {
    type Out = [[f32; ROWS]];

    #[inline(always)]
    fn run<S: Lanes>(self, sums: &mut [[f32; ROWS]]) {
        let Self { panels, x, row, stride } = self;
        let panels = &panels[..C / S::PARTS];
        let (x, sums) = (x.columns256::<R>(0, row), &mut sums[..(C / S::PARTS - 1) * stride + R / P]);
        let pieces = pieces_of_sum(BITS, S::VNNI);
        let mut totals = [[S::zero(); R]; C];
        for group in 0..8 {
            for first in (8 * group..8 * group + 8).step_by(pieces) {
                let mut products = [[S::zero(); R]; C];
                for r in 0..R {
                    for products in &mut products {
                        products[r] = begin::<S, BITS>(&x.bsums8[r], first);
                    }
                }
                for at in first..first + pieces {
                    let mut w = [S::zero(); C];
                    for (c, w) in w.iter_mut().enumerate() {
                        *w = load::<S>(&panels[c / S::PARTS].words[at], c);
                    }
                    for r in 0..R {
                        let four = broadcast4::<S, 256>(&x.quants[r], at);
                        for (products, w) in products.iter_mut().zip(w) {
                            products[r] = S::dot(products[r], w, four);
                        }
                    }
                }
                for c in 0..C {
                    let j = if BITS == 6 { first / 4 } else { group };
                    let scale = load::<S>(&panels[c / S::PARTS].groups[j], c);
                    for r in 0..R {
                        totals[c][r] = add_group::<S, BITS>(totals[c][r], products[c][r], scale);
                    }
                }
            }
        }
        for (c, totals) in totals.into_iter().enumerate() {
            let (panel, part) = (&panels[c / S::PARTS], c % S::PARTS);
            let mut pairs = [S::zero(); 8];
            for (p, pair) in pairs.iter_mut().enumerate() {
                *pair = load::<S>(&panel.pairs[p], c);
            }
            let numbers = [&panel.scales[0], &panel.minima[0]];
            let numbers = [S::as_floats(load::<S>(numbers[0], c)), S::as_floats(load::<S>(numbers[1], c))];
            let sums = &mut sums[c / S::PARTS * stride..][..R / P];
            finish::<S, R, P, BITS>(sums, part, totals, &pairs, numbers, &x);
        }
    }
}

/// Loads the part of a piece that belongs to register c.
#[inline(always)]
fn load<S: Lanes>(piece: &Piece, c: usize) -> S::Ints {
    S::load(&piece.0, c % S::PARTS)
}

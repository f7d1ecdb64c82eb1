//! Which kernel a product takes.

use super::super::activations::{Activations, TILE};
use super::super::scheme::{KQuant, Packed, with_block32};
use super::super::tile::Tile;
use super::multiply::{blocks, q6_k, with_minima};
use crate::quant::ROWS;

/// See [`multiply_panels`](super::super::dispatch::multiply_panels).
#[target_feature(enable = "neon,dotprod")]
pub fn panels(scheme: Packed, panels: &[&[u8]], x: &Activations, first: usize, sums: &mut [[f32; ROWS]]) {
    let size = ROWS * scheme.block_bytes();
    for (panel, sums) in panels.iter().zip(sums.chunks_mut(x.rows().max(1))) {
        for (b, block) in panel.chunks_exact(size).enumerate() {
            for (above, tile) in x.tiles(first + b) {
                let sums = &mut sums[above..][..tile.rows / x.planes()];
                match (x.planes(), tile.rows) {
                    (1, 1) => of_rows::<1, 1>(scheme, block, tile, sums),
                    (1, _) => of_rows::<TILE, 1>(scheme, block, tile, sums),
                    (_, 2) => of_rows::<2, 2>(scheme, block, tile, sums),
                    _ => of_rows::<TILE, 2>(scheme, block, tile, sums),
                }
            }
        }
    }
}

/// The rows of quants of a tile, at most `MOST`, by a panel's block. P of them are planes of one row.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn of_rows<const MOST: usize, const P: usize>(
    scheme: Packed,
    block: &[u8],
    x: Tile,
    sums: &mut [[f32; ROWS]],
) {
    match scheme {
        Packed::Block32(scheme) => with_block32!(scheme, blocks[MOST, P](block, x, sums)),
        Packed::KQuant(KQuant::Q4) => with_minima::<MOST, P, 4>(block, x, sums),
        Packed::KQuant(KQuant::Q5) => with_minima::<MOST, P, 5>(block, x, sums),
        Packed::KQuant(KQuant::Q6) => q6_k::<MOST, P>(block, x, sums),
    }
}

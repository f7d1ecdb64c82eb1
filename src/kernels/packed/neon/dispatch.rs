//! Selects the NEON kernel for a product.

use super::super::activations::{Activations, TILE};
use super::super::scheme::{KQuant, Packed, with_block32};
use super::super::tile::Tile;
use super::multiply::{blocks, q4_k_q5_k, q6_k};
use crate::quant::ROWS;

/// Multiplies panels by activations: see [`multiply_panels`](super::super::dispatch::multiply_panels).
#[target_feature(enable = "neon,dotprod")]
pub fn panels(scheme: Packed, panels: &[&[u8]], x: &Activations, first: usize, sums: &mut [[f32; ROWS]]) {
    let size = ROWS * scheme.block_bytes();
    for (panel, sums) in panels.iter().zip(sums.chunks_mut(x.rows().max(1))) {
        for (b, block) in panel.chunks_exact(size).enumerate() {
            for (above, tile) in x.tiles(first + b) {
                let sums = &mut sums[above..][..tile.rows / x.planes()];
                match (x.planes(), tile.rows) {
                    (1, 1) => multiply_rows::<1, 1>(scheme, block, tile, sums),
                    (1, _) => multiply_rows::<TILE, 1>(scheme, block, tile, sums),
                    (_, 2) => multiply_rows::<2, 2>(scheme, block, tile, sums),
                    _ => multiply_rows::<TILE, 2>(scheme, block, tile, sums),
                }
            }
        }
    }
}

/// Multiplies a panel's block by the rows of quants of a tile, at most `MOST`, P of which are planes of one row.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn multiply_rows<const MOST: usize, const P: usize>(
    scheme: Packed,
    block: &[u8],
    x: Tile,
    sums: &mut [[f32; ROWS]],
) {
    match scheme {
        Packed::Block32(scheme) => with_block32!(scheme, blocks[MOST, P](block, x, sums)),
        Packed::KQuant(KQuant::Q4) => q4_k_q5_k::<MOST, P, 4>(block, x, sums),
        Packed::KQuant(KQuant::Q5) => q4_k_q5_k::<MOST, P, 5>(block, x, sums),
        Packed::KQuant(KQuant::Q6) => q6_k::<MOST, P>(block, x, sums),
    }
}

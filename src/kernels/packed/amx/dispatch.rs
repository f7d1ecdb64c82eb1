//! Which kernel a product takes.

use std::cell::RefCell;

use super::super::activations::{Activations, TILE};
use super::super::scheme::{Block32, PANELS, Packed, with_k_quant};
use super::super::x86::{self, Avx512};
use super::blocks;
use super::k::panels as k_panels;
use super::scratch::Scratch;
use crate::quant::ROWS;

/// Rows of quants from which on this is faster.
const LEAST: usize = 9;

thread_local! {
    static SCRATCH: RefCell<(Scratch, Vec<[f32; ROWS]>)> = const { RefCell::new((Scratch::ZERO, Vec::new())) };
}

/// See [`multiply_panels`](super::super::dispatch::multiply_panels).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn panels(scheme: Packed, panels: &[&[u8]], x: &Activations, first: usize, sums: &mut [[f32; ROWS]]) {
    if x.quant_rows() < LEAST {
        // SAFETY: this function has the features.
        #[allow(unsafe_code)]
        return unsafe { x86::panels::<Avx512>(scheme, panels, x, first, sums) };
    }
    match x.planes() {
        1 => of_planes::<1>(scheme, panels, x, first, sums),
        _ => of_planes::<2>(scheme, panels, x, first, sums),
    }
}

/// The same of activations whose rows have P planes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn of_planes<const P: usize>(
    scheme: Packed,
    panels: &[&[u8]],
    x: &Activations,
    first: usize,
    sums: &mut [[f32; ROWS]],
) {
    SCRATCH.with_borrow_mut(|(scratch, padded)| {
        let rows = x.rows();
        for (panels, sums) in panels.chunks(PANELS).zip(sums.chunks_mut(PANELS * rows)) {
            if x.quant_rows().is_multiple_of(TILE) {
                some::<P>(scheme, panels, x, first, scratch, sums);
                continue;
            }
            // The last tile's rows are fewer: all are copied beside what was there before, whose sums nobody reads.
            let of_tiles = x.quant_rows().div_ceil(TILE) * (TILE / P);
            padded.resize(PANELS * of_tiles, [0.0; ROWS]);
            for (padded, sums) in padded.chunks_mut(of_tiles).zip(sums.chunks(rows)) {
                padded[..rows].copy_from_slice(sums);
            }
            some::<P>(scheme, panels, x, first, scratch, padded);
            for (padded, sums) in padded.chunks(of_tiles).zip(sums.chunks_mut(rows)) {
                sums.copy_from_slice(&padded[..rows]);
            }
        }
    });
}

/// The same of up to [`PANELS`] panels. Of each, all tiles' sums lie together: of a tile TILE / P.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn some<const P: usize>(
    scheme: Packed,
    panels: &[&[u8]],
    x: &Activations,
    first: usize,
    scratch: &mut Scratch,
    sums: &mut [[f32; ROWS]],
) {
    match scheme {
        Packed::KQuant(scheme) => match panels {
            [a, b] => with_k_quant!(scheme, k_panels[P, PANELS]([a, b], x, first, scratch, sums)),
            [a] => with_k_quant!(scheme, k_panels[P, 1]([a], x, first, scratch, sums)),
            // Chunks are one or two.
            _ => {}
        },
        Packed::Block32(scheme @ (Block32::Q4_1 | Block32::Q5_1)) => {
            blocks::panels::<P, true>(scheme, panels, x, first, scratch, sums);
        }
        Packed::Block32(scheme) => blocks::panels::<P, false>(scheme, panels, x, first, scratch, sums),
    }
}

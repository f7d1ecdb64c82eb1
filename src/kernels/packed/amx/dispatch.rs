//! Selects the AMX kernel for a product.

use std::cell::RefCell;

use super::super::activations::{Activations, TILE};
use super::super::scheme::{Block32, PANELS, Packed, with_k_quant};
use super::super::x86::{self, Avx512};
use super::blocks;
use super::k::panels as k_panels;
use super::scratch::Scratch;
use crate::quant::ROWS;

/// Minimum number of rows of quants for which AMX is faster than AVX512.
const MIN_ROWS: usize = 9;

thread_local! {
    static SCRATCH: RefCell<(Scratch, Vec<[f32; ROWS]>)> = const { RefCell::new((Scratch::ZERO, Vec::new())) };
}

/// Multiplies panels by activations: see [`multiply_panels`](super::super::dispatch::multiply_panels).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn panels(scheme: Packed, panels: &[&[u8]], x: &Activations, first: usize, sums: &mut [[f32; ROWS]]) {
    if x.quant_rows() < MIN_ROWS {
        // SAFETY: this function enables the same features.
        #[allow(unsafe_code)]
        return unsafe { x86::panels::<Avx512>(scheme, panels, x, first, sums) };
    }
    match x.planes() {
        1 => with_planes::<1>(scheme, panels, x, first, sums),
        _ => with_planes::<2>(scheme, panels, x, first, sums),
    }
}

/// Multiplies panels by activations whose rows have P planes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn with_planes<const P: usize>(
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
                multiply_chunk::<P>(scheme, panels, x, first, scratch, sums);
                continue;
            }
            // The last tile is partial, so the sums are copied to a buffer of whole tiles. The buffer's other rows
            // hold old content that is not read.
            let padded_rows = x.quant_rows().div_ceil(TILE) * (TILE / P);
            padded.resize(PANELS * padded_rows, [0.0; ROWS]);
            for (padded, sums) in padded.chunks_mut(padded_rows).zip(sums.chunks(rows)) {
                padded[..rows].copy_from_slice(sums);
            }
            multiply_chunk::<P>(scheme, panels, x, first, scratch, padded);
            for (padded, sums) in padded.chunks(padded_rows).zip(sums.chunks_mut(rows)) {
                sums.copy_from_slice(&padded[..rows]);
            }
        }
    });
}

/// Multiplies up to [`PANELS`] panels. `sums` holds all tiles of the first panel, then all tiles of the second,
/// with TILE / P entries per tile.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn multiply_chunk<const P: usize>(
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
            // Chunks have one or two panels.
            _ => {}
        },
        Packed::Block32(scheme @ (Block32::Q4_1 | Block32::Q5_1)) => {
            blocks::panels::<P, true>(scheme, panels, x, first, scratch, sums);
        }
        Packed::Block32(scheme) => blocks::panels::<P, false>(scheme, panels, x, first, scratch, sums),
    }
}

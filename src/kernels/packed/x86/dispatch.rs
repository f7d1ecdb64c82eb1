//! Selects the kernel for a product by its scheme and number of rows.

use std::cell::RefCell;

use super::super::activations::{Activations, TILE};
use super::super::scheme::{PANELS, Packed, with_block32, with_k_quant};
use super::super::tile::Tile;
use super::super::unpacked::Unpacked;
use super::block::KFields;
use super::block32::Block32;
use super::k_quant::FewRows;
use super::lanes::Lanes;
use super::tile::Rows;
use super::unpack::UnpackKQuant;
use crate::quant::ROWS;

thread_local! {
    static UNPACKED: RefCell<[Unpacked; PANELS]> = const { RefCell::new([Unpacked::ZERO; PANELS]) };
}

/// Multiplies panels by activations: see [`multiply_panels`](super::super::dispatch::multiply_panels).
///
/// # Safety
/// The processor has the instruction set.
#[allow(unsafe_code)]
pub unsafe fn panels<S: Lanes>(
    scheme: Packed,
    panels: &[&[u8]],
    x: &Activations,
    first: usize,
    sums: &mut [[f32; ROWS]],
) {
    let stride = x.rows();
    if stride == 0 {
        return;
    }
    for (i, panels) in panels.chunks(S::PANELS).enumerate() {
        let sums = &mut sums[i * S::PANELS * stride..][..panels.len() * stride];
        // SAFETY: guaranteed by the caller.
        unsafe {
            match scheme {
                Packed::Block32(scheme) => {
                    for (above, tile) in x.tiles(first) {
                        let sums = &mut sums[above..];
                        match (x.planes(), x.rows_of(tile.rows)) {
                            (1, 1) => with_block32!(scheme, block32[S, 1, true](panels, tile, sums, stride)),
                            (1, _) => with_block32!(scheme, block32[S, 1, false](panels, tile, sums, stride)),
                            (_, 1) => with_block32!(scheme, block32[S, 2, true](panels, tile, sums, stride)),
                            _ => with_block32!(scheme, block32[S, 2, false](panels, tile, sums, stride)),
                        }
                    }
                }
                Packed::KQuant(scheme) if x.quant_rows() <= S::FEW => {
                    with_k_quant!(scheme, few[S](panels, x, first, sums));
                }
                Packed::KQuant(scheme) => with_k_quant!(scheme, many[S](panels, x, first, sums)),
            }
        }
    }
}

/// Runs a kernel with one panel, or with two if the instruction set multiplies two together.
macro_rules! run {
    ($panels:expr, $sums:expr, $kernel:ident<$($generic:ident),*> { $($field:ident: $value:expr),* }) => {
        match *$panels {
            [a, b] if const { S::PANELS == 2 } => {
                S::run($kernel::<2 $(, $generic)*> { panels: [a, b], $($field: $value),* }, $sums);
            }
            [a] => S::run($kernel::<1 $(, $generic)*> { panels: [a], $($field: $value),* }, $sums),
            // Chunks have at most S::PANELS panels.
            _ => {}
        }
    };
}

/// Calls `$go::<S, R, P, BITS>($argument…)` for R rows of quants, at most eight, of which P are planes of one row.
macro_rules! with_rows {
    ($planes:expr, $rows:expr, $go:ident($($argument:expr),*)) => {
        match ($planes, $rows) {
            (1, 1) => $go::<S, 1, 1, BITS>($($argument),*),
            (1, 2) => $go::<S, 2, 1, BITS>($($argument),*),
            (1, 3) => $go::<S, 3, 1, BITS>($($argument),*),
            (1, 4) => $go::<S, 4, 1, BITS>($($argument),*),
            (1, 5) => $go::<S, 5, 1, BITS>($($argument),*),
            (1, 6) => $go::<S, 6, 1, BITS>($($argument),*),
            (1, 7) => $go::<S, 7, 1, BITS>($($argument),*),
            (1, _) => $go::<S, 8, 1, BITS>($($argument),*),
            (_, 2) => $go::<S, 2, 2, BITS>($($argument),*),
            (_, 4) => $go::<S, 4, 2, BITS>($($argument),*),
            (_, 6) => $go::<S, 6, 2, BITS>($($argument),*),
            _ => $go::<S, 8, 2, BITS>($($argument),*),
        }
    };
}

/// Multiplies blocks of 32 by the rows of a tile.
///
/// # Safety
/// The processor has the instruction set.
#[allow(unsafe_code)]
unsafe fn block32<S: Lanes, const P: usize, const ONE: bool, const BITS: u32, const MINIMUM: bool>(
    panels: &[&[u8]],
    x: Tile,
    sums: &mut [[f32; ROWS]],
    stride: usize,
) {
    // SAFETY: guaranteed by the caller.
    unsafe { run!(panels, sums, Block32<P, ONE, BITS, MINIMUM> { x: x, stride: stride }) }
}

/// Multiplies a k-quant by up to [`Lanes::FEW`] rows of quants.
///
/// # Safety
/// The processor has the instruction set.
#[allow(unsafe_code)]
unsafe fn few<S: Lanes, const BITS: u32>(
    panels: &[&[u8]],
    x: &Activations,
    first: usize,
    sums: &mut [[f32; ROWS]],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { with_rows!(x.planes(), x.quant_rows(), few_rows(panels, x.tile(0, first), sums)) }
}

/// Multiplies a k-quant by R rows of quants.
///
/// # Safety
/// The processor has the instruction set.
#[allow(unsafe_code)]
unsafe fn few_rows<S: Lanes, const R: usize, const P: usize, const BITS: u32>(
    panels: &[&[u8]],
    x: Tile,
    sums: &mut [[f32; ROWS]],
) {
    // Numbers of rows that an instruction set does not use are not compiled.
    if const { R <= S::FEW } {
        // SAFETY: guaranteed by the caller.
        unsafe { run!(panels, sums, FewRows<R, P, BITS> { x: x }) }
    }
}

/// Multiplies a k-quant by any number of rows, a block of 256 columns at a time.
///
/// # Safety
/// The processor has the instruction set.
#[allow(unsafe_code)]
unsafe fn many<S: Lanes, const BITS: u32>(
    panels: &[&[u8]],
    x: &Activations,
    first: usize,
    sums: &mut [[f32; ROWS]],
) {
    let size = const { KFields::new(BITS).bytes * ROWS };
    UNPACKED.with_borrow_mut(|unpacked| {
        for b in 0..panels[0].len() / size {
            for (out, panel) in unpacked.iter_mut().zip(panels) {
                // SAFETY: guaranteed by the caller.
                unsafe { S::run(UnpackKQuant::<BITS> { block: &panel[b * size..][..size] }, out) }
            }
            for (above, tile) in x.tiles(first + b) {
                if tile.rows == TILE {
                    tile.prefetch_next();
                }
                for row in (0..tile.rows).step_by(S::HEIGHT) {
                    let (rows, sums) = (S::HEIGHT.min(tile.rows - row), &mut sums[above + x.rows_of(row)..]);
                    let by = Strided { x: tile, row, sums, stride: x.rows() };
                    // SAFETY: guaranteed by the caller.
                    unsafe { with_rows!(x.planes(), rows, some_rows(&unpacked[..panels.len()], by)) }
                }
            }
        }
    });
}

/// Rows of a tile from row `row` on, and their sums. The sums of the next panel are `stride` further on.
struct Strided<'a> {
    x: Tile<'a>,
    row: usize,
    sums: &'a mut [[f32; ROWS]],
    stride: usize,
}

/// Multiplies unpacked panels by R rows of quants.
///
/// # Safety
/// The processor has the instruction set.
#[allow(unsafe_code)]
unsafe fn some_rows<S: Lanes, const R: usize, const P: usize, const BITS: u32>(
    panels: &[Unpacked],
    Strided { x, row, sums, stride }: Strided,
) {
    if const { R <= S::HEIGHT } {
        // SAFETY: guaranteed by the caller.
        unsafe {
            match panels.len() * S::PARTS {
                1 => S::run(Rows::<R, P, 1, BITS> { panels, x, row, stride }, sums),
                _ => S::run(Rows::<R, P, 2, BITS> { panels, x, row, stride }, sums),
            }
        }
    }
}

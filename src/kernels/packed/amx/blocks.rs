//! The AMX kernel for schemes with blocks of 32 columns.
//!
//! Sums end after 32 columns: an instruction does half of what it could in the same time, and a store and three
//! operations per row follow. These are the bottleneck: 48 operations for 16384 multiplications and additions. A
//! row's sums stay in registers for eight blocks. The sums of a tile of rows are added while the next tile is
//! multiplied.

use super::super::activations::{Activations, TILE};
use super::super::scheme::{Block32, Packed, SUPER_BLOCK, with_block32};
use super::super::tile::{Tile, last_plane};
use super::super::unpacked::{Piece, Unpacked};
use super::super::x86::{Avx512, Lanes, UnpackBlock32, combine_planes};
use super::scratch::Scratch;
use super::tiles::{self, Tiles};

use crate::quant::ROWS;

/// Multiplies panels by activations whose rows have P planes: see
/// [`multiply_panels`](super::super::dispatch::multiply_panels).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn panels<const P: usize, const MINIMUM: bool>(
    scheme: Block32,
    panels: &[&[u8]],
    x: &Activations,
    first: usize,
    scratch: &mut Scratch,
    sums: &mut [[f32; ROWS]],
) {
    let Scratch { unpacked, sums: stored, .. } = scratch;
    let blocks = SUPER_BLOCK / 32;
    let size = blocks * Packed::Block32(scheme).block_bytes() * ROWS;
    // SAFETY: `Level::Amx` exists only where AMX may be used.
    #[allow(unsafe_code)]
    let _tiles = unsafe { Tiles::halves() };
    let tiles = x.quant_rows().div_ceil(TILE);
    let count = tiles * panels.len();
    for i in 0..panels[0].len().div_ceil(size) {
        for (out, panel) in unpacked.iter_mut().zip(panels) {
            with_block32!(scheme, unpack[](out, &panel[i * size..panel.len().min((i + 1) * size)]));
        }
        let [now, before] = &mut *stored;
        let (mut now, mut before) = (now, before);
        // Multiplies each tile of activations by one panel, then by the other.
        for unit in 0..=count {
            let of = |unit: usize| {
                let (t, s) = (unit / panels.len(), unit % panels.len());
                (x.tile(t * TILE, first + i * blocks), &unpacked[s], s * tiles + t)
            };
            let next = (unit < count).then(|| of(unit));
            let previous = (unit > 0).then(|| of(unit - 1));
            if let Some((tile, ..)) = next
                && unit % panels.len() == 0
            {
                tile.prefetch_next();
            }
            let at = previous.map_or(0, |(_, _, at)| at);
            let sums = &mut sums[at * (TILE / P)..][..TILE / P];
            multiply_and_add::<P, MINIMUM>(next, now, previous, before, sums);
            std::mem::swap(&mut now, &mut before);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn unpack<const BITS: u32, const MINIMUM: bool>(out: &mut Unpacked, blocks: &[u8]) {
    // SAFETY: this function enables the same features.
    #[allow(unsafe_code)]
    unsafe {
        Avx512::run(UnpackBlock32::<BITS, MINIMUM> { blocks }, out);
    }
}

/// A tile of activations, an unpacked panel, and the index of their sums.
type Unit<'a> = (Tile<'a>, &'a Unpacked, usize);

/// Multiplies the `next` tile by the blocks of an unpacked panel, and adds the products of the `previous` one to
/// its sums.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn multiply_and_add<const P: usize, const MINIMUM: bool>(
    next: Option<Unit>,
    now: &mut [[Piece; ROWS]; SUPER_BLOCK / 32],
    previous: Option<Unit>,
    before: &[[Piece; ROWS]; SUPER_BLOCK / 32],
    out: &mut [[f32; ROWS]],
) {
    let mut sums = [Avx512::splat_f32(0.0); TILE];
    for (sum, out) in sums.iter_mut().zip(&*out) {
        *sum = Avx512::load_f32(out, 0);
    }
    for b in 0..SUPER_BLOCK / 32 {
        if let Some((x, w, _)) = next
            && b < w.blocks
        {
            let words: &[Piece; 8] = &w.words.as_chunks().0[b];
            // SAFETY: the tiles are configured. There are 16 rows of 32 activations, eight lines of weights, and 16
            // lines for sums.
            #[allow(unsafe_code)]
            unsafe {
                let (x, words, now) =
                    (x.columns32::<TILE>(b, 0).quants.as_ptr(), words.as_ptr(), now[b].as_mut_ptr());
                match b.is_multiple_of(2) {
                    true => tiles::product!("tmm0", "tmm4": x, 32, "tmm6": words, now),
                    false => tiles::product!("tmm1", "tmm5": x, 32, "tmm7": words, now),
                }
            }
        }
        if let Some((x, w, _)) = previous
            && b < w.blocks
        {
            let scales = Avx512::as_floats(Avx512::load(&w.scales[b].0, 0));
            let minima = Avx512::as_floats(Avx512::load(&w.minima[b].0, 0));
            let x = x.columns32::<TILE>(b, 0);
            for (row, sum) in sums.iter_mut().enumerate().take(TILE / P) {
                let planes = std::array::from_fn(|plane| Avx512::load(&before[b][P * row + plane].0, 0));
                let mut term = Avx512::mul_f32(combine_planes::<Avx512, P>(&planes), scales);
                if MINIMUM {
                    term = Avx512::fnma(Avx512::splat_f32(last_plane::<P>(x.bsums_f32, row)), minima, term);
                }
                *sum = Avx512::fma(term, Avx512::splat_f32(last_plane::<P>(x.scales, row)), *sum);
            }
        }
    }
    for (sum, out) in sums.into_iter().zip(out) {
        Avx512::store_f32(out, 0, sum);
    }
}

//! The AMX kernel for k-quants, which adds up whole blocks of 256 columns.
//!
//! A group's scale times a weight is exactly the sum of two products of bytes:
//!
//! - With 4 and 5 bits, a 6-bit scale is 8 · high + low, and 31 · 7 fits a byte. Two adjacent weights are
//!   multiplied at once as 16 bits, because nothing carries from one to the other.
//! - With 6 bits, |scale · (weight - 32)| <= 128 · 32 fits 16 bits. The upper byte is signed, the lower is not.
//!
//! So a tile of sixteen rows by a panel takes two times four instructions per block, followed by two stores and a
//! dozen AVX512 operations per row. The kernel interleaves these operations with the multiplication of the next
//! tile: in sequence, the two did not overlap.

use std::arch::x86_64::*;

use super::super::activations::{Activations, TILE};
use super::super::scheme::{PANELS, SUPER_BLOCK};
use super::super::tile::Tile;
use super::super::unpacked::{Piece, Unpacked};
use super::super::x86::{self, Avx512, KFields, Lanes, UnpackKQuant, combine_planes, times_sums};
use super::scratch::Scratch;
use super::tiles::{self, Tiles};

use crate::quant::ROWS;

/// Multiplies S panels of a scheme with BITS bits by activations whose rows have P planes: see
/// [`multiply_panels`](super::super::dispatch::multiply_panels).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub fn panels<const P: usize, const S: usize, const BITS: u32>(
    panels: [&[u8]; S],
    x: &Activations,
    first: usize,
    scratch: &mut Scratch,
    sums: &mut [[f32; ROWS]],
) {
    let Scratch { unpacked, high, sums: stored } = scratch;
    let size = const { KFields::new(BITS).bytes * ROWS };
    // SAFETY: `Level::Amx` exists only where AMX may be used.
    #[allow(unsafe_code)]
    let _tiles = unsafe { Tiles::whole() };
    let count = x.quant_rows().div_ceil(TILE);
    for i in 0..panels[0].len() / size {
        for (s, panel) in panels.iter().enumerate() {
            // SAFETY: this function enables the same features.
            #[allow(unsafe_code)]
            unsafe {
                Avx512::run(UnpackKQuant::<BITS> { block: &panel[i * size..][..size] }, &mut unpacked[s]);
            }
            planes::<BITS>(&mut unpacked[s], &mut high[s]);
        }
        let [now, before] = &mut *stored;
        let (mut now, mut before) = (now, before);
        for t in 0..=count {
            let tile = (t < count).then(|| x.tile(t * TILE, first + i));
            let last = (t > 0).then(|| x.tile((t - 1) * TILE, first + i));
            let (words, high) = (unpacked.each_ref().map(|w| &w.words), &*high);
            if let Some(tile) = tile {
                // SAFETY: the tiles are configured.
                #[allow(unsafe_code)]
                unsafe {
                    zero_sums::<S>();
                }
                tile.prefetch_next();
            }
            for step in 0..4 {
                if let Some(tile) = tile {
                    let at = |planes: &[Piece; SUPER_BLOCK / 4]| planes[16 * step..][..16].as_ptr();
                    // SAFETY: the tiles are configured. There are 16 lines at each pointer, and 16 rows of 256
                    // activations.
                    #[allow(unsafe_code)]
                    unsafe {
                        let x = tile.columns256::<TILE>(0, 0).quants.as_flattened()[64 * step..].as_ptr();
                        multiply::<S, BITS>(x, words.map(at), high.each_ref().map(at));
                    }
                }
                if let Some(last) = last {
                    add::<P, S, BITS>(before, unpacked, last, step, sums, count, t - 1);
                }
            }
            if tile.is_some() {
                // SAFETY: the tiles are configured; each destination has 16 lines.
                #[allow(unsafe_code)]
                unsafe {
                    store_sums::<S>(now);
                }
            }
            std::mem::swap(&mut now, &mut before);
        }
    }
}

/// Multiplies the scales into the weights. The low bytes replace the weights; the high bytes go to `high`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn planes<const BITS: u32>(unpacked: &mut Unpacked, high: &mut [Piece; SUPER_BLOCK / 4]) {
    let low = &mut unpacked.words;
    if BITS < 6 {
        let groups = low.as_chunks_mut::<8>().0.iter_mut().zip(high.as_chunks_mut::<8>().0);
        for ((low, high), scale) in groups.zip(&unpacked.groups) {
            let scale = repeat_low(load(scale));
            let scales = [_mm512_and_si512(scale, _mm512_set1_epi16(7)), _mm512_srli_epi16::<3>(scale)];
            for (low, high) in low.iter_mut().zip(high) {
                let w = load(low);
                store(low, _mm512_mullo_epi16(w, scales[0]));
                store(high, _mm512_mullo_epi16(w, scales[1]));
            }
        }
        return;
    }
    let groups = low.as_chunks_mut::<4>().0.iter_mut().zip(high.as_chunks_mut::<4>().0);
    for ((low, high), scale) in groups.zip(&unpacked.groups) {
        let scale = repeat_low(load(scale));
        let offset = _mm512_slli_epi16::<5>(scale);
        for (low, high) in low.iter_mut().zip(high) {
            let w = load(low);
            let even = _mm512_and_si512(w, _mm512_set1_epi16(0xff));
            let even = _mm512_sub_epi16(_mm512_mullo_epi16(even, scale), offset);
            let odd = _mm512_sub_epi16(_mm512_mullo_epi16(_mm512_srli_epi16::<8>(w), scale), offset);
            const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
            store(low, _mm512_mask_blend_epi8(ODD, even, _mm512_slli_epi16::<8>(odd)));
            store(high, _mm512_mask_blend_epi8(ODD, _mm512_srli_epi16::<8>(even), odd));
        }
    }
}

/// Copies the lower 16 bits of each lane to its upper 16 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn repeat_low(x: __m512i) -> __m512i {
    _mm512_or_si512(_mm512_and_si512(x, _mm512_set1_epi32(0xffff)), _mm512_slli_epi32::<16>(x))
}

/// Zeroes the tiles of sums.
///
/// # Safety
/// The tiles are configured.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn zero_sums<const S: usize>() {
    // SAFETY: guaranteed by the caller.
    unsafe {
        tiles::zero!("tmm0");
        tiles::zero!("tmm1");
        if S == PANELS {
            tiles::zero!("tmm2");
            tiles::zero!("tmm3");
        }
    }
}

/// Adds the products of 64 columns.
///
/// # Safety
/// The tiles are configured by [`Tiles::whole`]. At `x`, 16 rows of 64 bytes can be read, 256 bytes apart; at each
/// other pointer, 16 lines.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn multiply<const S: usize, const BITS: u32>(
    x: *const i8,
    low: [*const Piece; PANELS],
    high: [*const Piece; PANELS],
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        tiles::load!("tmm4", x, 256);
        tiles::load!("tmm5", low[0], 64);
        tiles::dot!("tdpbsud", "tmm0", "tmm4", "tmm5");
        tiles::load!("tmm6", high[0], 64);
        match BITS {
            6 => tiles::dot!("tdpbssd", "tmm1", "tmm4", "tmm6"),
            _ => tiles::dot!("tdpbsud", "tmm1", "tmm4", "tmm6"),
        }
        if S == PANELS {
            tiles::load!("tmm7", low[S - 1], 64);
            tiles::dot!("tdpbsud", "tmm2", "tmm4", "tmm7");
            tiles::load!("tmm5", high[S - 1], 64);
            match BITS {
                6 => tiles::dot!("tdpbssd", "tmm3", "tmm4", "tmm5"),
                _ => tiles::dot!("tdpbsud", "tmm3", "tmm4", "tmm5"),
            }
        }
    }
}

/// Stores the sums: for each panel, those of the low bytes, then those of the high bytes.
///
/// # Safety
/// The tiles are configured.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn store_sums<const S: usize>(stored: &mut [[Piece; ROWS]; SUPER_BLOCK / 32]) {
    // SAFETY: the caller guarantees configured tiles; sixteen lines are a tile.
    unsafe {
        tiles::store!("tmm0", stored[0].as_mut_ptr());
        tiles::store!("tmm1", stored[1].as_mut_ptr());
        if S == PANELS {
            tiles::store!("tmm2", stored[2].as_mut_ptr());
            tiles::store!("tmm3", stored[3].as_mut_ptr());
        }
    }
}

/// Adds four rows of quants to the sums: the `step`-th four of tile t of `count`. It applies the scales and minima.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn add<const P: usize, const S: usize, const BITS: u32>(
    stored: &[[Piece; ROWS]; SUPER_BLOCK / 32],
    unpacked: &[Unpacked; PANELS],
    x: Tile,
    step: usize,
    sums: &mut [[f32; ROWS]],
    count: usize,
    t: usize,
) {
    let x = x.columns256::<4>(0, 4 * step);
    for r in 0..4 / P {
        for s in 0..S {
            let totals: [__m512i; P] = std::array::from_fn(|plane| {
                let row = 4 * step + P * r + plane;
                let (low, high) = (load(&stored[2 * s][row]), load(&stored[2 * s + 1][row]));
                let high =
                    if BITS == 6 { _mm512_slli_epi32::<8>(high) } else { _mm512_slli_epi32::<3>(high) };
                _mm512_add_epi32(high, low)
            });
            let minima = if BITS < 6 {
                let pairs = std::array::from_fn(|p| load(&unpacked[s].pairs[p]));
                let of_minima =
                    std::array::from_fn(|plane| times_sums::<Avx512, 4>(&pairs, &x.bsums32[P * r + plane]));
                Some([
                    combine_planes::<Avx512, P>(&of_minima),
                    Avx512::as_floats(load(&unpacked[s].minima[0])),
                ])
            } else {
                None
            };
            let (totals, numbers) =
                (combine_planes::<Avx512, P>(&totals), Avx512::as_floats(load(&unpacked[s].scales[0])));
            let row = (s * count + t) * (TILE / P) + 4 / P * step + r;
            x86::add::<Avx512, P>(&mut sums[row], 0, totals, numbers, minima, (x.scales, r));
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(piece: &Piece) -> __m512i {
    Avx512::load(&piece.0, 0)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(piece: &mut Piece, x: __m512i) {
    Avx512::store(piece, 0, x);
}

//! Multiplies rows of activations by weights in registers.
//!
//! `MOST` rows of quants can be read in every tile, and P of them are planes of one row. The kernels multiply as
//! many rows as `sums` has. A single row has a separate instance, so that its sums stay in registers too.

use std::arch::aarch64::*;

use super::super::rounding::STEPS;
use super::super::tile::{Tile, last_plane};
use super::piece::{LANES, QUARTERS, load, pieces};
use super::unpack::{Columns, GroupNumbers, load_f16, unpack_block32, unpack_half, unpack_pair, widen_byte};

use crate::quant::ROWS;

/// Multiplies a block of 32 weights with BITS bits. Weights of 8 bits are signed; others have minima or are
/// `2^(BITS - 1)` too large.
#[inline(never)]
#[target_feature(enable = "neon,dotprod")]
pub fn blocks<const MOST: usize, const P: usize, const BITS: u32, const MINIMUM: bool>(
    block: &[u8],
    x: Tile,
    sums: &mut [[f32; ROWS]],
) {
    let (numbers, rest) = block.split_at(if MINIMUM { 4 * ROWS } else { 2 * ROWS });
    let (qh, words) = pieces(rest).split_at(if BITS == 5 { 1 } else { 0 });
    let x = x.columns32::<MOST>(0, 0);
    for quarter in 0..QUARTERS {
        let w = unpack_block32::<BITS>(qh, words, quarter);
        let scales = load_f16(numbers, quarter);
        let minima = if MINIMUM { load_f16(&numbers[2 * ROWS..], quarter) } else { scales };
        for (r, sums) in sums.iter_mut().enumerate().take(MOST / P) {
            let mut products = [vdupq_n_s32(0); P];
            for (plane, products) in products.iter_mut().enumerate() {
                let r = P * r + plane;
                let offset = if MINIMUM || BITS == 8 { 0 } else { x.bsums[r] << (BITS - 1) };
                *products = dot(vdupq_n_s32(offset), w.as_chunks().0, &x.quants[r]);
            }
            let mut term = vmulq_f32(combine_planes(&products), scales);
            if MINIMUM {
                let bsums = x.bsums.as_chunks::<P>().0[r].map(|bsum| vdupq_n_s32(bsum));
                term = vfmsq_f32(term, combine_planes(&bsums), minima);
            }
            add(sums, quarter, term, last_plane::<P>(x.scales, r));
        }
    }
}

/// Multiplies a block of q4_k or q5_k, with BITS bits per weight: eight groups of 32 columns with a scale and a
/// minimum.
#[inline(never)]
#[target_feature(enable = "neon,dotprod")]
pub fn q4_k_q5_k<const MOST: usize, const P: usize, const BITS: u32>(
    block: &[u8],
    x: Tile,
    sums: &mut [[f32; ROWS]],
) {
    let (numbers, rest) = block.split_at(4 * ROWS);
    let (small, rest) = pieces(rest).split_at(3);
    let (qh, words) = rest.split_at(if BITS == 5 { 8 } else { 0 });
    let (small, words) = (&small.as_chunks().0[0], words.as_chunks().0);
    let x = x.columns256::<MOST>(0, 0);
    for quarter in 0..QUARTERS {
        let small = GroupNumbers::new(small, quarter);
        let mut products = [vdupq_n_s32(0); MOST];
        for (pair, words) in words.iter().enumerate().take(4) {
            let w = unpack_pair::<BITS>(qh, words, pair, quarter);
            let mut scales = [vdupq_n_s32(0); 2];
            for (which, scale) in scales.iter_mut().enumerate() {
                *scale = widen_byte(small.scales[pair / 2], pair % 2 * 2 + which);
            }
            for (r, products) in products.iter_mut().enumerate().take(P * sums.len()) {
                let x: &[[i8; 32]] = x.quants[r].as_chunks().0;
                for which in 0..2 {
                    let group = dot(vdupq_n_s32(0), w[which].as_chunks().0, &x[2 * pair + which]);
                    *products = vmlaq_s32(*products, group, scales[which]);
                }
            }
        }
        let mut groups = [vdup_n_s16(0); 8];
        for (j, minima) in groups.iter_mut().enumerate() {
            *minima = vmovn_s32(widen_byte(small.minima[j / 4], j % 4));
        }
        let (scales, minima) = (load_f16(numbers, quarter), load_f16(&numbers[2 * ROWS..], quarter));
        for (r, sums) in sums.iter_mut().enumerate().take(MOST / P) {
            let mut of_minima = [vdupq_n_s32(0); P];
            for (of_minima, bsums32) in of_minima.iter_mut().zip(&x.bsums32.as_chunks::<P>().0[r]) {
                for (j, minima) in groups.iter().enumerate() {
                    let bsum = (bsums32[j / 2] >> (16 * (j % 2))) as i16;
                    *of_minima = vmlal_n_s16(*of_minima, *minima, bsum);
                }
            }
            let term = vmulq_f32(combine_planes(&products.as_chunks::<P>().0[r]), scales);
            let term = vfmsq_f32(term, combine_planes(&of_minima), minima);
            add(sums, quarter, term, last_plane::<P>(x.scales, r));
        }
    }
}

/// Multiplies a block of q6_k: sixteen groups of 16 columns with a scale.
#[inline(never)]
#[target_feature(enable = "neon,dotprod")]
pub fn q6_k<const MOST: usize, const P: usize>(block: &[u8], x: Tile, sums: &mut [[f32; ROWS]]) {
    let (bytes, numbers) = block.split_at(208 * ROWS);
    let (low, rest) = pieces(bytes).split_at(32);
    let (high, small) = rest.split_at(16);
    let (low, high) = (low.as_chunks().0, high.as_chunks().0);
    let x = x.columns256::<MOST>(0, 0);
    for quarter in 0..QUARTERS {
        let mut products = [vdupq_n_s32(0); MOST];
        for (half, p) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let w: [Columns; 2] = unpack_half(&low[2 * half + p], &high[half], p, quarter);
            // Two groups of 16 for each run of 32 columns.
            let mut scales = [[vdupq_n_s32(0); 2]; 2];
            for (which, scales) in scales.iter_mut().enumerate() {
                let four = load(&small[2 * half + which], quarter);
                *scales = [widen_byte(four, 2 * p), widen_byte(four, 2 * p + 1)];
            }
            for (r, products) in products.iter_mut().enumerate().take(P * sums.len()) {
                let x: &[[i8; 16]] = x.quants[r].as_chunks().0;
                for which in 0..2 {
                    for (i, w) in w[which].as_chunks().0.iter().enumerate() {
                        let x = &x[8 * half + 2 * (p + 2 * which) + i];
                        let group = dot(vdupq_n_s32(0), std::slice::from_ref(w), x);
                        *products = vmlaq_s32(*products, group, scales[which][i]);
                    }
                }
            }
        }
        let scales = load_f16(numbers, quarter);
        for (r, sums) in sums.iter_mut().enumerate().take(MOST / P) {
            let term = vmulq_f32(combine_planes(&products.as_chunks::<P>().0[r]), scales);
            add(sums, quarter, term, last_plane::<P>(x.scales, r));
        }
    }
}

/// Converts the integer sums of a row's planes to f32; those of two planes are combined.
#[inline]
#[target_feature(enable = "neon")]
fn combine_planes<const P: usize>(planes: &[int32x4_t; P]) -> float32x4_t {
    let (first, last) = (planes[0], planes[P - 1]);
    match P {
        1 => vcvtq_f32_s32(last),
        _ => vfmaq_f32(vcvtq_f32_s32(last), vdupq_n_f32(STEPS as f32), vcvtq_f32_s32(first)),
    }
}

/// Adds the products of 16 columns for each four registers of weights.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot(mut sums: int32x4_t, w: &[[int8x16_t; 4]], x: &[i8]) -> int32x4_t {
    for (w, x) in w.iter().zip(x.as_chunks::<16>().0) {
        // SAFETY: the array is 16 bytes; the load requires no alignment.
        #[allow(unsafe_code)]
        let x = unsafe { vld1q_s8(x.as_ptr()) };
        sums = sdot::<0>(sums, w[0], x);
        sums = sdot::<1>(sums, w[1], x);
        sums = sdot::<2>(sums, w[2], x);
        sums = sdot::<3>(sums, w[3], x);
    }
    sums
}

/// Adds to each lane the products of its four weights with the four activations of lane `LANE`. The standard
/// library's function (`vdotq_laneq_s32`) is not stable yet.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const LANE: u32>(mut sums: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: this function enables the feature of the instruction, which takes registers and has no other effect.
    // The assembler rejects a lane that is not one of four.
    #[allow(unsafe_code)]
    unsafe {
        std::arch::asm!(
            "sdot {sums:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]",
            sums = inout(vreg) sums,
            w = in(vreg) w,
            x = in(vreg) x,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Adds four rows' terms, times the scale of the activations, to the rows' sums.
#[inline]
#[target_feature(enable = "neon")]
fn add(sums: &mut [f32; ROWS], quarter: usize, terms: float32x4_t, scale: f32) {
    let sums: &mut [f32; LANES] = &mut sums.as_chunks_mut().0[quarter];
    // SAFETY: the array is four f32; the load and store require no alignment.
    #[allow(unsafe_code)]
    unsafe {
        let sum = vfmaq_f32(vld1q_f32(sums.as_ptr()), terms, vdupq_n_f32(scale));
        vst1q_f32(sums.as_mut_ptr(), sum);
    }
}

//! The products of a few rows with a few rows, in registers: one text for AVX2 and AVX512.
//!
//! A sum is [`LANES`] partial sums, one register of AVX512 and two of AVX2, which are taken one after the other. All of a
//! tile's are in registers while some columns are multiplied. Each load of weights serves every row of activations and the
//! other way round.

use crate::cpu::LANES;
use crate::quant::dequantize::fields::half_at;

/// Weights as they lie in memory.
pub const F32: u8 = 0;
pub const F16: u8 = 1;
pub const BF16: u8 = 2;
/// Weights that were widened into a cache: f32, which need not be asked for ahead.
pub const WIDENED: u8 = 3;

/// Bytes of a weight.
pub const fn size_of_weight(kind: u8) -> usize {
    if kind == F16 || kind == BF16 { 2 } else { 4 }
}

/// Some rows of activations and of weights, and a number of columns of them.
#[derive(Clone, Copy)]
pub struct Tile<'a> {
    /// Rows of activations.
    pub m: usize,
    /// Rows of weights.
    pub n: usize,
    /// From the first of the columns on; a row begins `x_stride` after the one before.
    pub x: &'a [f32],
    pub x_stride: usize,
    /// The same of weights, in bytes.
    pub w: &'a [u8],
    pub w_stride: usize,
    /// Where the weights are that are needed next, rows with the same stride: to be asked for.
    pub following: *const u8,
    /// How many columns, a multiple of [`LANES`].
    pub columns: usize,
    /// From one row of activations' sums to the next: a number of sums.
    pub sums_stride: usize,
}

/// One weight, of a row's tail.
#[inline(always)]
fn weight<const KIND: u8>(w: &[u8], index: usize) -> f32 {
    let at = index * size_of_weight(KIND);
    match KIND {
        F16 => half_at(w, at),
        BF16 => f32::from_bits(u32::from(u16::from_le_bytes([w[at], w[at + 1]])) << 16),
        _ => f32::from_le_bytes([w[at], w[at + 1], w[at + 2], w[at + 3]]),
    }
}

/// The kernels of an instruction set, of whose registers `$width` f32 are one. `shapes` are the rows of activations that a
/// tile may have, with the most rows of weights that fit the registers beside them.
macro_rules! tiles {
    (
        $features:literal, $register:ty, $width:literal,
        zero: $zero:ident, load: $load:ident, store: $store:ident, fused: $fused:ident,
        f16: $from_f16:ident($load_half:ident), bf16: $from_bf16:ident, $shift:ident, $as_f32:ident,
        shapes: [$(($m:literal, $n:literal)),*],
    ) => {
        use std::arch::x86_64::*;

        use super::{BF16, F16, LANES, Tile, WIDENED, size_of_weight};
        use crate::cpu::prefetch::line;

        /// The most rows of weights of a tile with m rows of activations.
        pub fn widest(m: usize) -> usize {
            match m {
                $($m => $n,)*
                _ => 1,
            }
        }

        /// A register of weights as f32.
        ///
        /// # Safety
        /// So many weights can be read at `at`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn widen<const KIND: u8>(at: *const u8) -> $register {
            // SAFETY: by the caller's promise; no load asks for alignment.
            unsafe {
                match KIND {
                    F16 => $from_f16($load_half(at.cast())),
                    BF16 => $as_f32($shift::<16>($from_bf16($load_half(at.cast())))),
                    _ => $load(at.cast()),
                }
            }
        }

        /// Adds the products of a tile to their partial sums.
        #[target_feature(enable = $features)]
        pub fn add<const KIND: u8>(tile: Tile, sums: &mut [f32]) {
            match (tile.m, tile.n) {
                $(
                    ($m, $n) => add_tile::<KIND, $m, $n>(tile, sums),
                    ($m, 1) => add_tile::<KIND, $m, 1>(tile, sums),
                )*
                _ => {}
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn add_tile<const KIND: u8, const M: usize, const N: usize>(tile: Tile, sums: &mut [f32]) {
            let Tile { x, x_stride, w, w_stride, following, columns, sums_stride, .. } = tile;
            let size = size_of_weight(KIND);
            // What lies `strides` times `stride` and `more` further on, saturated: no slice is that long.
            let needed = |strides: usize, stride: usize, more: usize| {
                stride.saturating_mul(strides).saturating_add(more)
            };
            assert!(columns.is_multiple_of(LANES) && x.len() >= needed(M - 1, x_stride, columns));
            assert!(sums.len() >= needed(M - 1, sums_stride, N).saturating_mul(LANES));
            assert!(w.len() >= needed(N - 1, w_stride, columns.saturating_mul(size)));
            for part in 0..LANES / $width {
                let place = |r: usize, c: usize| (r * sums_stride + c) * LANES + part * $width;
                let mut registers = [[$zero(); N]; M];
                for (r, registers) in registers.iter_mut().enumerate() {
                    for (c, register) in registers.iter_mut().enumerate() {
                        // SAFETY: the length of `sums` is asserted for r < M and c < N.
                        *register = unsafe { $load(sums.as_ptr().add(place(r, c))) };
                    }
                }
                let step = |i: usize, registers: &mut [[$register; N]; M]| {
                    // SAFETY: the lengths are asserted for c < N, r < M and i + width <= columns.
                    let ws: [$register; N] = std::array::from_fn(|c| unsafe {
                        widen::<KIND>(w.as_ptr().add(c * w_stride + i * size))
                    });
                    for (r, registers) in registers.iter_mut().enumerate() {
                        // SAFETY: as above.
                        let xs = unsafe { $load(x.as_ptr().add(r * x_stride + i)) };
                        for (register, ws) in registers.iter_mut().zip(ws) {
                            *register = $fused(xs, ws, *register);
                        }
                    }
                };
                // Two at a time: a line of narrow weights, and half the instructions for places.
                let mut i = part * $width;
                while i + LANES < columns {
                    if KIND != WIDENED && part == 0 {
                        for c in 0..N {
                            line(following.wrapping_add(c * w_stride + i * size));
                            if size > 2 {
                                line(following.wrapping_add(c * w_stride + (i + LANES) * size));
                            }
                        }
                    }
                    step(i, &mut registers);
                    step(i + LANES, &mut registers);
                    i += 2 * LANES;
                }
                if i < columns {
                    step(i, &mut registers);
                }
                for (r, registers) in registers.iter().enumerate() {
                    for (c, register) in registers.iter().enumerate() {
                        // SAFETY: the length of `sums` is asserted for r < M and c < N.
                        unsafe { $store(sums.as_mut_ptr().add(place(r, c)), *register) };
                    }
                }
            }
        }
    };
}

#[allow(unsafe_code)]
pub mod avx2 {
    use super::weight;

    tiles! {
        "avx2,fma,f16c", __m256, 8,
        zero: _mm256_setzero_ps, load: _mm256_loadu_ps, store: _mm256_storeu_ps, fused: _mm256_fmadd_ps,
        f16: _mm256_cvtph_ps(_mm_loadu_si128), bf16: _mm256_cvtepu16_epi32, _mm256_slli_epi32, _mm256_castsi256_ps,
        shapes: [(1, 4), (2, 4), (3, 4)],
    }

    /// The whole sums: their partial ones added, then the products of the few columns beyond `tile.columns`.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub fn finish<const KIND: u8>(tile: Tile, tail: usize, sums: &[f32], write: impl Fn(usize, usize, f32)) {
        for r in 0..tile.m {
            let sums = &sums.as_chunks::<LANES>().0[r * tile.sums_stride..];
            let x = &tile.x[r * tile.x_stride..];
            for (c, sum) in sums.iter().enumerate().take(tile.n) {
                let w = &tile.w[c * tile.w_stride..];
                let tail = tile.columns..tile.columns + tail;
                write(r, c, tail.fold(total(sum), |sum, i| x[i].mul_add(weight::<KIND>(w, i), sum)));
            }
        }
    }

    /// The partial sums added, in the order of `sum_lanes`.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn total(lanes: &[f32; LANES]) -> f32 {
        // SAFETY: the array holds twice eight.
        let [low, high] = [0, 8].map(|i| unsafe { _mm256_loadu_ps(lanes.as_ptr().add(i)) });
        let eight = _mm256_add_ps(low, high);
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}

#[allow(unsafe_code)]
pub mod avx512 {
    tiles! {
        "avx512f,avx512bw,fma,f16c", __m512, 16,
        zero: _mm512_setzero_ps, load: _mm512_loadu_ps, store: _mm512_storeu_ps, fused: _mm512_fmadd_ps,
        f16: _mm512_cvtph_ps(_mm256_loadu_si256), bf16: _mm512_cvtepu16_epi32, _mm512_slli_epi32, _mm512_castsi512_ps,
        shapes: [(1, 4), (2, 4), (3, 4), (4, 4), (5, 4), (6, 4), (7, 3), (8, 3)],
    }
}

//! Multiplies a few rows by a few rows in registers, from one source for AVX2 and AVX512.
//!
//! A sum has [`LANES`] partial sums: one AVX512 register, or two AVX2 registers that are computed one after the
//! other. All sums of a tile stay in registers for a run of columns. Each load of weights is used for every row of
//! activations, and each load of activations for every row of weights.

use crate::cpu::LANES;
use crate::quant::dequantize::fields::half_at;

/// Weights as the matrix stores them.
pub const F32: u8 = 0;
pub const F16: u8 = 1;
pub const BF16: u8 = 2;
/// Weights that were converted to f32 in a cache, and need no prefetch.
pub const WIDENED: u8 = 3;

/// Returns the bytes of a weight.
pub const fn size_of_weight(kind: u8) -> usize {
    if kind == F16 || kind == BF16 { 2 } else { 4 }
}

/// Some rows of activations, some rows of weights, and a number of columns.
#[derive(Clone, Copy)]
pub struct Tile<'a> {
    /// Number of rows of activations.
    pub m: usize,
    /// Number of rows of weights.
    pub n: usize,
    /// Activations from the first column on; rows are `x_stride` values apart.
    pub x: &'a [f32],
    pub x_stride: usize,
    /// Bytes of weights from the first column on; rows are `w_stride` bytes apart.
    pub w: &'a [u8],
    pub w_stride: usize,
    /// Address of the next weights, in rows of the same stride, to prefetch.
    pub following: *const u8,
    /// Number of columns, a multiple of [`LANES`].
    pub columns: usize,
    /// Number of sums from one row of activations to the next.
    pub sums_stride: usize,
}

/// Converts one weight of a row's last columns.
#[inline(always)]
fn weight<const KIND: u8>(w: &[u8], index: usize) -> f32 {
    let at = index * size_of_weight(KIND);
    match KIND {
        F16 => half_at(w, at),
        BF16 => f32::from_bits(u32::from(u16::from_le_bytes([w[at], w[at + 1]])) << 16),
        _ => f32::from_le_bytes([w[at], w[at + 1], w[at + 2], w[at + 3]]),
    }
}

/// Defines the kernels of an instruction set whose registers hold `$width` f32. `shapes` lists the numbers of rows
/// of activations that a tile may have, each with the most rows of weights whose sums fit the registers.
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

        /// Returns the most rows of weights of a tile with m rows of activations.
        pub fn widest(m: usize) -> usize {
            match m {
                $($m => $n,)*
                _ => 1,
            }
        }

        /// Loads a register of weights as f32.
        ///
        /// # Safety
        /// A register's number of weights can be read at `at`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn widen<const KIND: u8>(at: *const u8) -> $register {
            // SAFETY: the caller guarantees that the weights can be read; no load requires alignment.
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
            // The length that `strides` rows and `more` need, saturated: no slice is that long.
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
                // Two steps at a time: 32 weights of two bytes are a cache line, and it takes half as many address
                // instructions.
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

    /// Completes the sums: adds their partial sums, then the products of the `tail` columns after `tile.columns`.
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

    /// Adds up the partial sums in the order of `sum_lanes`.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn total(lanes: &[f32; LANES]) -> f32 {
        // SAFETY: the array holds two times eight values.
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

//! Activations times a weight matrix, `y = x · Wᵀ`, in f32 over weights of any scheme.
//!
//! Weights are widened panel by panel into a scratch buffer that stays in the second-level cache, and
//! multiplied there in tiles of up to 3 rows of activations by 4 rows of weights: 12 accumulators and their
//! operands fill AVX2's 16 registers. Every element of the result is the dot product of
//! [`cpu::dot`](super::cpu), in its order, whatever tile it falls into; so one row, a prompt's 500 rows and any
//! number of threads give the same bits.

use std::cell::RefCell;
use std::ops::Range;

use super::cpu::{self, LANES, Level, sum_lanes};
use super::{Matrix, pool};

/// Widened weights of one panel: half of a small second-level cache.
const PANEL_BYTES: usize = 128 << 10;

/// Weight rows of a task, two strips: a matrix of 576 rows still gives two threads nine tasks each.
pub(super) const TASK_ROWS: usize = 32;

/// `out (m, n) = x (m, k) · wᵀ (k, n)`, where `w` has n rows and k columns.
///
/// The slices' lengths are the caller's promise: `x.len() = m·k`
/// and `out.len() = m·n` for the same m; rows beyond either are left alone.
pub fn matmul(x: &[f32], w: &Matrix, out: &mut [f32]) {
    let (n, k) = (w.rows(), w.columns());
    if n == 0 || k == 0 {
        return out.fill(0.0);
    }
    let m = (x.len() / k).min(out.len() / n);
    let columns = Columns { out: out.as_mut_ptr(), n };
    pool::run(n.div_ceil(TASK_ROWS), |task| {
        let rows = task * TASK_ROWS..n.min((task + 1) * TASK_ROWS);
        // SAFETY: both have m rows, and tasks share no row of `w`.
        #[allow(unsafe_code)]
        unsafe {
            some_rows(&x[..m * k], w, rows, columns);
        }
    });
}

/// The product with some rows of `w`, in this thread.
///
/// # Safety
/// `columns` is a result of as many columns as `w` has rows and, at least, as many rows as `x`; no other thread accesses
/// the columns `rows`, which lie within it.
#[allow(unsafe_code)]
pub(super) unsafe fn some_rows(x: &[f32], w: &Matrix, rows: Range<usize>, columns: Columns) {
    let k = w.columns();
    let panel_rows = (PANEL_BYTES / size_of::<f32>() / k).clamp(1, TASK_ROWS);
    SCRATCH.with_borrow_mut(|panel| {
        for first in rows.clone().step_by(panel_rows) {
            panel.resize(panel_rows.min(rows.end - first) * k, 0.0);
            w.rows_f32(first, panel);
            multiply_panel(x, panel, k, |row, column, value| {
                // SAFETY: row is one of `x` and first + column < rows.end, so the element is within the result and not
                // accessed by others, by the caller's promise.
                #[allow(unsafe_code)]
                unsafe {
                    columns.write(row, first + column, value);
                }
            });
        }
    });
}

thread_local! {
    /// The widened panel of the thread: kept, so that a token allocates nothing here.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// The result, shared by threads that write different columns of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    pub out: *mut f32,
    pub n: usize,
}

// SAFETY: the pointer is only written through `write`, whose callers write disjoint elements.
#[allow(unsafe_code)]
unsafe impl Sync for Columns {}
// SAFETY: as above; f32 may be written from any thread.
#[allow(unsafe_code)]
unsafe impl Send for Columns {}

impl Columns {
    /// # Safety
    /// `(row, column)` lies within the result and no other thread accesses it.
    #[allow(unsafe_code)]
    pub unsafe fn write(&self, row: usize, column: usize, value: f32) {
        // SAFETY: in bounds and unshared by the caller's promise.
        unsafe { *self.out.add(row * self.n + column) = value };
    }

    /// Writes consecutive elements of a row, or adds to them.
    ///
    /// # Safety
    /// They lie within the result and no other thread accesses them.
    #[allow(unsafe_code)]
    pub unsafe fn write_run(&self, row: usize, column: usize, values: &[f32], add: bool) {
        // SAFETY: in bounds and unshared by the caller's promise.
        let out =
            unsafe { std::slice::from_raw_parts_mut(self.out.add(row * self.n + column), values.len()) };
        match add {
            true => out.iter_mut().zip(values).for_each(|(out, value)| *out += value),
            false => out.copy_from_slice(values),
        }
    }
}

/// All products of the rows of `x` with the rows of `panel`, both k wide, given to `write(row, column, value)`.
fn multiply_panel(x: &[f32], panel: &[f32], k: usize, write: impl Fn(usize, usize, f32)) {
    #[cfg(target_arch = "x86_64")]
    if cpu::level() >= Level::Avx2 {
        // SAFETY: the level is Avx2 or above only where the processor has AVX2 and FMA.
        #[allow(unsafe_code)]
        return unsafe { avx2::multiply_panel(x, panel, k, write) };
    }
    multiply_panel_portable::<{ cfg!(target_arch = "aarch64") }>(x, panel, k, write);
}

/// The oracle: one dot product at a time.
fn multiply_panel_portable<const FUSED: bool>(
    x: &[f32],
    panel: &[f32],
    k: usize,
    write: impl Fn(usize, usize, f32),
) {
    for (column, w) in panel.chunks_exact(k).enumerate() {
        for (row, x) in x.chunks_exact(k).enumerate() {
            write(row, column, cpu::dot::<FUSED>(x, w));
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{__m256, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps};

    use super::{LANES, sum_lanes};

    #[target_feature(enable = "avx2,fma")]
    pub fn multiply_panel(x: &[f32], panel: &[f32], k: usize, write: impl Fn(usize, usize, f32)) {
        let (m, n) = (x.len() / k, panel.len() / k);
        let mut row = 0;
        while row < m {
            let tall = (m - row).min(3);
            let xs = &x[row * k..(row + tall) * k];
            let mut column = 0;
            while column < n {
                let wide = if n - column >= 4 { 4 } else { 1 };
                let ws = &panel[column * k..(column + wide) * k];
                let write = |r, c, v| write(row + r, column + c, v);
                match (tall, wide) {
                    (3, 4) => tile::<3, 4>(xs, ws, k, write),
                    (2, 4) => tile::<2, 4>(xs, ws, k, write),
                    (1, 4) => tile::<1, 4>(xs, ws, k, write),
                    (3, _) => tile::<3, 1>(xs, ws, k, write),
                    (2, _) => tile::<2, 1>(xs, ws, k, write),
                    _ => tile::<1, 1>(xs, ws, k, write),
                }
                column += wide;
            }
            row += tall;
        }
    }

    /// M rows of `x` by N rows of `w`: the same sums, in the same order, as `cpu::dot::<true>` of each pair.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn tile<const M: usize, const N: usize>(
        x: &[f32],
        w: &[f32],
        k: usize,
        write: impl Fn(usize, usize, f32),
    ) {
        assert!(x.len() == M * k && w.len() == N * k);
        let whole = k / LANES * LANES;
        let mut sums = [[_mm256_setzero_ps(); N]; M];
        for i in (0..whole).step_by(LANES) {
            let mut ws = [_mm256_setzero_ps(); N];
            for (c, lanes) in ws.iter_mut().enumerate() {
                *lanes = load(w, c * k + i);
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let xs = load(x, r * k + i);
                for (sum, ws) in sums.iter_mut().zip(ws) {
                    *sum = _mm256_fmadd_ps(xs, ws, *sum);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (c, lanes) in sums.iter().enumerate() {
                let tail = whole..k;
                let sum = tail.fold(sum_lanes(store(*lanes)), |s, i| x[r * k + i].mul_add(w[c * k + i], s));
                write(r, c, sum);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn load(values: &[f32], at: usize) -> __m256 {
        debug_assert!(at + LANES <= values.len());
        // SAFETY: `tile` has asserted the slices' lengths, and reads row r < M (or c < N) at i + 8 <= k.
        #[allow(unsafe_code)]
        unsafe {
            _mm256_loadu_ps(values.as_ptr().add(at))
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn store(lanes: __m256) -> [f32; LANES] {
        let mut out = [0.0; LANES];
        // SAFETY: `out` holds eight f32.
        #[allow(unsafe_code)]
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), lanes);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Scheme;
    use rand::{Rng, SeedableRng};

    fn random(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    fn matrix(values: &[f32], rows: usize, columns: usize) -> Matrix {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Matrix::new(Scheme::F32, rows, columns, bytes.into()).unwrap()
    }

    /// Ragged sizes: below, at and beyond a tile, a panel and the lanes.
    const SIZES: [(usize, usize, usize); 8] = [
        (1, 1, 1),
        (1, 5, 7),
        (2, 4, 8),
        (3, 33, 64),
        (4, 70, 37),
        (7, 31, 576),
        (11, 3, 129),
        (2, 9, 40_000),
    ];

    #[test]
    fn equals_the_sum_in_f64() {
        for (m, n, k) in SIZES {
            let (x, w) = (random(m * k, 1), random(n * k, 2));
            let mut out = vec![f32::NAN; m * n];
            matmul(&x, &matrix(&w, n, k), &mut out);
            for (i, y) in out.iter().enumerate() {
                let (row, column) = (i / n, i % n);
                let pairs = x[row * k..][..k].iter().zip(&w[column * k..][..k]);
                let exact: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                assert!(
                    (f64::from(*y) - exact).abs() < 2e-6 * (k as f64).sqrt() + 1e-6,
                    "{m} {n} {k}: {y} {exact}"
                );
            }
        }
    }

    #[test]
    fn a_row_is_the_same_bit_for_bit_alone_and_among_others() {
        for (m, n, k) in SIZES {
            let (x, w) = (random(m * k, 3), matrix(&random(n * k, 4), n, k));
            let mut together = vec![0.0; m * n];
            matmul(&x, &w, &mut together);
            for row in 0..m {
                let mut alone = vec![0.0; n];
                matmul(&x[row * k..][..k], &w, &mut alone);
                assert_eq!(alone, together[row * n..][..n]);
            }
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let (x, w) = (random(5 * 576, 5), matrix(&random(200 * 576, 6), 200, 576));
        let run = |threads| {
            let mut out = vec![0.0; 5 * 200];
            pool::with_threads(threads, || matmul(&x, &w, &mut out));
            out
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn the_fast_tile_is_the_fused_portable_one_bit_for_bit() {
        if cpu::level() < Level::Avx2 {
            return;
        }
        for (m, n, k) in SIZES {
            let (x, w) = (random(m * k, 7), random(n * k, 8));
            let expected = std::cell::RefCell::new(vec![0.0; m * n]);
            multiply_panel_portable::<true>(&x, &w, k, |r, c, v| expected.borrow_mut()[r * n + c] = v);
            let mut out = vec![0.0; m * n];
            matmul(&x, &matrix(&w, n, k), &mut out);
            assert_eq!(out, expected.into_inner());
        }
    }
}

//! Multiplies activations by a weight matrix of any scheme, `y = x · Wᵀ`, in f32.
//!
//! | file | what |
//! |---|---|
//! | `scratch` | the buffers that a thread reuses |
//! | `blocked` | a task's product, in tiles whose operands stay in the caches |
//! | `tiles` | a few rows by a few rows, in registers, with AVX2 and AVX512 |
//!
//! Every element of the result is the dot product of [`cpu::dot`](crate::cpu), in its order, in any tile. So one
//! row, the 500 rows of a prompt, any number of threads and every instruction set give the same bits.

use std::cell::RefCell;
use std::ops::Range;

use scratch::Scratch;

use crate::cpu::{self, Level, pool};
use crate::quant::matrix::Part;
use crate::quant::{Matrix, ROWS};

#[cfg(target_arch = "x86_64")]
mod blocked;
mod scratch;
#[cfg(target_arch = "x86_64")]
mod tiles;

/// Weight rows per task: two panels. A matrix of 576 rows still gives two threads nine tasks each.
pub(super) const TASK_ROWS: usize = 32;

/// Computes `out (m, n) = x (m, k) · wᵀ (k, n)`, where `w` has n rows and k columns.
///
/// The caller passes `x.len() = m·k` and `out.len() = m·n` for the same m. If one of them has more rows, the
/// surplus is ignored.
pub fn matmul(x: &[f32], w: &Matrix, out: &mut [f32]) {
    matmul_with(cpu::level(), x, w, out);
}

/// Multiplies like [`matmul`], with one of the processor's [`available`](Level::available) instruction sets.
fn matmul_with(level: Level, x: &[f32], w: &Matrix, out: &mut [f32]) {
    let (n, k) = (w.rows(), w.columns());
    if n == 0 || k == 0 {
        return out.fill(0.0);
    }
    let m = (x.len() / k).min(out.len() / n);
    if m == 0 {
        return;
    }
    let columns = Columns { out: out.as_mut_ptr(), n };
    pool::run(n.div_ceil(TASK_ROWS), |task| {
        let rows = task * TASK_ROWS..n.min((task + 1) * TASK_ROWS);
        // SAFETY: both slices have m rows, and tasks have disjoint rows of `w`.
        #[allow(unsafe_code)]
        unsafe {
            some_rows(level, &x[..m * k], w, rows, columns);
        }
    });
}

/// Computes the product with some rows of `w`, in this thread.
///
/// # Safety
/// `columns` is a result with as many columns as `w` has rows and at least as many rows as `x`. No other thread
/// accesses the columns `rows`, which lie within it.
#[allow(unsafe_code)]
pub(super) unsafe fn some_rows(level: Level, x: &[f32], w: &Matrix, rows: Range<usize>, columns: Columns) {
    let mut first = rows.start;
    for (part, rows) in w.within(rows.start, rows.len()) {
        let end = first + rows.len();
        some_rows_of_part(level, x, w.columns(), part, rows, |row, column, value| {
            // SAFETY: row is a row of `x` and first + column < end, so the element is within the result. The caller
            // guarantees that no other thread accesses it.
            unsafe { columns.write(row, first + column, value) };
        });
        first = end;
    }
}

fn some_rows_of_part(
    level: Level,
    x: &[f32],
    k: usize,
    part: &Part,
    rows: Range<usize>,
    write: impl Fn(usize, usize, f32),
) {
    SCRATCH.with_borrow_mut(|scratch| {
        #[cfg(target_arch = "x86_64")]
        if level >= Level::Avx2 {
            return blocked::some_rows(level, x, k, part, rows, scratch, write);
        }
        let _ = level;
        portable(x, k, part, rows, &mut scratch.panel, write);
    });
}

/// Computes one dot product at a time: the twin of the tiled kernels.
fn portable(
    x: &[f32],
    k: usize,
    part: &Part,
    rows: Range<usize>,
    panel: &mut Vec<f32>,
    write: impl Fn(usize, usize, f32),
) {
    panel.resize(k.max(panel.len()), 0.0);
    for (column, row) in rows.enumerate() {
        let w = &mut panel[..k];
        part.widen_blocks(row..row + 1, 0..k, k, w);
        for (row, x) in x.chunks_exact(k).enumerate() {
            write(row, column, cpu::dot::<{ cpu::FUSED }>(x, w));
        }
    }
}

thread_local! {
    /// Reused, so that a token allocates nothing here.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The result, shared by threads that access different columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    pub out: *mut f32,
    pub n: usize,
}

// SAFETY: the pointer is only accessed through `write` and `write_run`, whose callers guarantee that no two threads
// access the same elements.
#[allow(unsafe_code)]
unsafe impl Sync for Columns {}
// SAFETY: threads access different elements, as for `Sync`, and f32 may be accessed from any thread.
#[allow(unsafe_code)]
unsafe impl Send for Columns {}

impl Columns {
    /// Writes an element.
    ///
    /// # Safety
    /// `(row, column)` lies within the result, and no other thread accesses it.
    #[allow(unsafe_code)]
    pub unsafe fn write(&self, row: usize, column: usize, value: f32) {
        // SAFETY: the caller guarantees that the element is in bounds and unshared.
        unsafe { *self.out.add(row * self.n + column) = value };
    }

    /// Writes consecutive elements of a row, or adds to them.
    ///
    /// # Safety
    /// The elements lie within the result, and no other thread accesses them.
    #[allow(unsafe_code)]
    pub unsafe fn write_run(&self, row: usize, column: usize, values: &[f32], add: bool) {
        // SAFETY: the caller guarantees that the elements are in bounds and unshared.
        let out =
            unsafe { std::slice::from_raw_parts_mut(self.out.add(row * self.n + column), values.len()) };
        // Nearly all runs are whole panels. Their length is a constant, which compiles to a few instructions
        // without a call.
        match values.len() {
            ROWS => put(&mut out[..ROWS], &values[..ROWS], add),
            _ => put(out, values, add),
        }
    }
}

/// Writes values, or adds them to the content of `out`.
#[inline(always)]
fn put(out: &mut [f32], values: &[f32], add: bool) {
    match add {
        true => out.iter_mut().zip(values).for_each(|(out, value)| *out += value),
        false => out.copy_from_slice(values),
    }
}

#[cfg(test)]
mod tests;

//! The product of activations with a whole matrix: its parts, threads, and rows that are not interleaved yet.

use std::cell::{Cell, RefCell};

use rayon::prelude::*;

use super::activations::Activations;
use super::{STRIPS, activation_block, multiply_strips};
use crate::kernels::cpu::{self, Level};
use crate::kernels::interleave::{interleave, prefetch};
use crate::kernels::layout::ROWS;
use crate::kernels::matmul::{Columns, TASK_ROWS, some_rows};
use crate::kernels::matrix::{Part, Sixteen};
use crate::kernels::{Matrix, Scheme};

/// Columns of rows that are interleaved at a time: of sixteen rows they stay in the first-level cache.
const CHUNK: usize = 256;

/// How far ahead of its chunk each row is asked for, in bytes: 16 times that over all rows.
const AHEAD: usize = 320;

/// `out (m, n) = x (m, k) · wᵀ (k, n)`, where `w` has n rows and k columns.
///
/// Parts whose scheme has a kernel in integers (see [`activation_block`]) are multiplied with activations that are
/// rounded to 8 bits, once for all parts; others in f32, as [`matmul`](crate::kernels::matmul::matmul) does. A row's
/// result is the same bit for bit however weights lie and whatever other rows there are.
///
/// Threads are those of rayon's pool. The slices' lengths are the caller's promise: `x.len() = m·k` and
/// `out.len() = m·n` for the same m; rows beyond either are left alone.
pub fn multiply(x: &[f32], w: &Matrix, out: &mut [f32]) {
    multiply_with(cpu::level(), x, w, out);
}

/// The same with one of the processor's [`available`](Level::available) sets.
pub(super) fn multiply_with(level: Level, x: &[f32], w: &Matrix, out: &mut [f32]) {
    let (n, k) = (w.rows(), w.columns());
    if n == 0 || k == 0 {
        return out.fill(0.0);
    }
    let m = (x.len() / k).min(out.len() / n);
    if m == 0 {
        return;
    }
    let columns = Columns { out: out.as_mut_ptr(), n };
    // Entered once for both steps: each entry from outside the pool wakes a thread and waits for it.
    rayon::scope(|_| {
        // Taken, not borrowed: while threads are waited for, this one may begin another product.
        let mut activations = ACTIVATIONS.take();
        for (activations, block) in activations.iter_mut().zip(BLOCKS) {
            if w.each_part().iter().any(|part| activation_block(part.scheme) == Some(block)) {
                activations.fill(&x[..m * k], k, block);
            }
        }
        let product = Product { level, x: &x[..m * k], w, columns, activations: &activations };
        (0..product.tasks()).into_par_iter().for_each(|task| product.task(task));
        ACTIVATIONS.set(activations);
    });
}

/// Widths of [`activation_block`]s.
const BLOCKS: [usize; 2] = [32, 256];

thread_local! {
    /// Kept, so that a token allocates nothing here.
    static ACTIVATIONS: Cell<[Activations; BLOCKS.len()]> = Cell::default();
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a thread keeps between strips.
#[derive(Default)]
struct Scratch {
    /// Of every row of activations the sums of a strip's rows.
    sums: Vec<[f32; ROWS]>,
    /// Chunks of rows, interleaved.
    chunks: Vec<u8>,
    /// Rows that are fewer than sixteen.
    beside_zeros: Vec<u8>,
}

struct Product<'a> {
    level: Level,
    /// Whole rows, as many as the result has.
    x: &'a [f32],
    w: &'a Matrix,
    columns: Columns,
    activations: &'a [Activations; BLOCKS.len()],
}

impl Product<'_> {
    fn tasks(&self) -> usize {
        self.w.each_part().iter().map(tasks).sum()
    }

    /// One of the tasks, which share no column of the result.
    fn task(&self, mut task: usize) {
        let mut above = 0;
        for part in self.w.each_part() {
            if task < tasks(part) {
                return self.task_of_part(part, above, task);
            }
            task -= tasks(part);
            above += part.rows;
        }
    }

    fn task_of_part(&self, part: &Part, above: usize, task: usize) {
        let Some(block) = activation_block(part.scheme) else {
            let first = task * TASK_ROWS;
            let rows = above + first..above + part.rows.min(first + TASK_ROWS);
            // SAFETY: `x` has the result's rows, and tasks share no row of a part.
            #[allow(unsafe_code)]
            return unsafe { some_rows(self.x, self.w, rows, self.columns) };
        };
        let activations = &self.activations[usize::from(block != BLOCKS[0])];
        let first = task * STRIPS;
        let sixteens: [Option<Sixteen>; STRIPS] =
            std::array::from_fn(|i| (first + i < part.sixteens()).then(|| part.sixteen(first + i)));
        let rows = activations.rows();
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { sums, chunks, beside_zeros } = scratch;
            sums.clear();
            sums.resize(STRIPS * rows, [0.0; ROWS]);
            let mut strips = Strips { level: self.level, scheme: part.scheme, activations, sums };
            match &sixteens {
                [Some(a), Some(b)] if a.interleaved && b.interleaved => {
                    strips.interleaved(0, &[a.bytes, b.bytes]);
                }
                _ => {
                    for (sixteen, sums) in sixteens.iter().flatten().zip(sums.chunks_mut(rows)) {
                        let mut strip = Strips { level: self.level, scheme: part.scheme, activations, sums };
                        if sixteen.interleaved {
                            strip.interleaved(0, &[sixteen.bytes]);
                        } else {
                            let bytes = padded(sixteen.bytes, part.row_bytes, beside_zeros);
                            strip.rows(bytes, part.row_bytes, chunks);
                        }
                    }
                }
            }
            for (sixteen, sums) in sixteens.iter().flatten().zip(sums.chunks(rows)) {
                for (row, sums) in sums.iter().enumerate() {
                    for (column, sum) in sixteen.rows.clone().zip(&sums[sixteen.before..]) {
                        // SAFETY: the result has as many rows as the activations, and above + column < n as the part has
                        // that row; sixteens share no row of a part, and each element is written once.
                        #[allow(unsafe_code)]
                        unsafe {
                            self.columns.write(row, above + column, *sum);
                        }
                    }
                }
            }
        });
    }
}

/// Into how many tasks a part is divided.
fn tasks(part: &Part) -> usize {
    match activation_block(part.scheme) {
        Some(_) => part.sixteens().div_ceil(STRIPS),
        None => part.rows.div_ceil(TASK_ROWS),
    }
}

/// Strips of a part, whose products are added to `sums`.
struct Strips<'a> {
    level: Level,
    scheme: Scheme,
    activations: &'a Activations,
    sums: &'a mut [[f32; ROWS]],
}

impl Strips<'_> {
    /// Multiplies interleaved blocks, from the rows' block `first` on.
    fn interleaved(&mut self, first: usize, strips: &[&[u8]]) {
        multiply_strips(self.level, self.scheme, strips, self.activations, first, self.sums);
    }

    /// Multiplies rows that lie one after another, chunk by chunk. Each is interleaved before the one before it is
    /// multiplied: what was just stored cannot be loaded at once in registers of another width.
    fn rows(&mut self, rows: &[u8], row_bytes: usize, chunks: &mut Vec<u8>) {
        let block = self.scheme.block_bytes();
        let chunk = CHUNK / self.scheme.block_len() * block;
        let [mut now, mut next] = two_of(ROWS * chunk, chunks);
        let (level, scheme) = (self.level, self.scheme);
        let fill = |start: usize, chunk: &mut [u8]| {
            // Beyond the rows' end is what follows them, the next rows.
            let ahead = if start + AHEAD < row_bytes { AHEAD } else { AHEAD + (ROWS - 1) * row_bytes };
            prefetch(rows.as_ptr().wrapping_add(start + ahead), row_bytes, chunk.len() / ROWS);
            interleave(level, scheme, &rows[start..], row_bytes, chunk);
        };
        let starts = (0..row_bytes).step_by(chunk);
        let size = |start: usize| ROWS * chunk.min(row_bytes - start);
        fill(0, &mut now[..size(0)]);
        for start in starts {
            if start + chunk < row_bytes {
                fill(start + chunk, &mut next[..size(start + chunk)]);
            }
            self.interleaved(start / block, &[&now[..size(start)]]);
            std::mem::swap(&mut now, &mut next);
        }
    }
}

/// Two pieces of a buffer, each of `size` bytes; the first begins with a cache line.
fn two_of(size: usize, buffer: &mut Vec<u8>) -> [&mut [u8]; 2] {
    const LINE: usize = 64;
    buffer.resize(2 * size + LINE, 0);
    let start = buffer.as_ptr().align_offset(LINE).min(LINE);
    let (first, second) = buffer[start..start + 2 * size].split_at_mut(size);
    [first, second]
}

/// Sixteen rows: fewer are copied beside zeros.
fn padded<'a>(rows: &'a [u8], row_bytes: usize, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    if rows.len() == ROWS * row_bytes {
        return rows;
    }
    buffer.clear();
    buffer.extend_from_slice(rows);
    buffer.resize(ROWS * row_bytes, 0);
    buffer
}

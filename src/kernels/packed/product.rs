//! The product of activations with a whole matrix: its parts, threads, and rows that are not interleaved yet.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use super::activations::Activations;
use super::dispatch::multiply_panels;
use super::scheme::{PANELS, Packed, SUPER_BLOCK, Width};
use crate::cpu::{self, Level, pool};
use crate::kernels::matmul::{Columns, TASK_ROWS, some_rows};
use crate::quant::interleave::{ask_for, interleave};
use crate::quant::matrix::{PanelRows, Part};
use crate::quant::{ActivationBits, Blocks, Matrix, ROWS};

/// Columns of rows that are interleaved at a time: of a panel's rows they stay in the first-level cache.
const CHUNK: usize = 256;

// Each chunk is whole blocks.
const _: () = assert!(CHUNK.is_multiple_of(SUPER_BLOCK));

/// How far ahead of its chunk each row is asked for, in bytes: 16 times that over all rows.
const AHEAD: usize = 320;

/// A product `out (m, n) = x (m, k) · wᵀ (k, n)`, where `w` has n rows and k columns.
#[derive(Debug)]
pub struct Product<'a> {
    /// Whole rows, as many as the result has.
    x: &'a [f32],
    w: &'a Matrix,
    blocks: Blocks,
    /// Whether the product is added to what the result holds.
    adds: bool,
    /// Whole rows.
    out: &'a mut [f32],
}

impl<'a> Product<'a> {
    /// The product with `w` whose blocks are multiplied as `blocks` says.
    ///
    /// The slices' lengths are the caller's promise: `x.len() = m·k` and `out.len() = m·n` for the same m; rows beyond
    /// either are left alone.
    pub fn new(x: &'a [f32], w: &'a Matrix, blocks: Blocks, out: &'a mut [f32]) -> Self {
        let (n, k) = (w.rows(), w.columns());
        let rows = out.len().checked_div(n).unwrap_or(0);
        // Without columns any number of rows of activations is nothing at all.
        let m = x.len().checked_div(k).map_or(rows, |m| m.min(rows));
        Self { x: &x[..m * k], w, blocks, adds: false, out: &mut out[..m * n] }
    }

    /// The same, added to what the result holds. `None` where a part is multiplied in f32, which only stores.
    pub fn added(self) -> Option<Self> {
        let all = self.w.each_part().iter().all(|part| self.packed(part).is_some());
        all.then_some(Self { adds: true, ..self })
    }

    /// Rows of the result.
    fn m(&self) -> usize {
        self.out.len().checked_div(self.w.rows()).unwrap_or(0)
    }

    /// A part's scheme, if it is multiplied in integers; `None` where it is in f32.
    fn packed(&self, part: &Part) -> Option<Packed> {
        Packed::new(part.scheme).filter(|_| self.blocks != Blocks::F32)
    }

    /// Bits of activations, where they are integers.
    fn bits(&self) -> ActivationBits {
        match self.blocks {
            Blocks::Integer(bits) => bits,
            Blocks::F32 => ActivationBits::Eight,
        }
    }

    /// The panels of each task of a part; of a part that is multiplied in f32, some rows each.
    fn runs(&self, part: &Part, threads: usize) -> impl Iterator<Item = Range<usize>> {
        let (all, size) = match self.packed(part) {
            Some(_) => {
                let rows = self.m() * self.bits().planes();
                let most = RUN_BYTES / (ROWS * part.row_bytes * rows).max(1);
                let all = part.panels();
                (all, all.div_ceil(4 * threads).min(most).next_multiple_of(PANELS).max(PANELS))
            }
            None => (part.rows, TASK_ROWS),
        };
        (0..all).step_by(size).map(move |first| first..all.min(first + size))
    }
}

/// Most bytes of weights of a task, times the rows of activations: some ten microseconds' work, which others would wait for
/// if its thread were kept from running.
const RUN_BYTES: usize = 256 << 10;

/// One product in integers.
pub fn multiply(x: &[f32], w: &Matrix, bits: ActivationBits, out: &mut [f32]) {
    multiply_all(&mut [Product::new(x, w, Blocks::Integer(bits), out)]);
}

/// Some products that do not wait for each other: after the quantization of their activations they are one job.
///
/// Parts whose scheme has a kernel in integers (see [`activation_block`](super::activation_block)) are multiplied with
/// activations that are rounded to 8 or 16 bits, once for all parts; others in f32, as
/// [`matmul`](crate::kernels::matmul::matmul) does. A row's result is the same bit for bit however weights lie and whatever
/// other rows and products there are.
pub fn multiply_all(products: &mut [Product]) {
    multiply_with(cpu::level(), products);
}

/// The same with one of the processor's [`available`](Level::available) sets.
pub(super) fn multiply_with(level: Level, products: &mut [Product]) {
    // These have no task.
    let without_columns = products.iter_mut().filter(|product| product.w.columns() == 0 && !product.adds);
    without_columns.for_each(|product| product.out.fill(0.0));
    // Taken, not borrowed: what is computed here may begin another product.
    let (mut activations, mut tasks) = (ACTIVATIONS.take(), TASKS.take());
    quantize(level, products, &mut activations);
    list(products, &mut tasks);
    let job = Job { level, products, activations: &activations };
    pool::run_in_parts(tasks.len(), |i| job.task(&tasks[i]));
    tasks.clear();
    TASKS.set(tasks);
    ACTIVATIONS.set(activations);
}

/// Rounds each product's activations for those parts that are multiplied in integers.
fn quantize(level: Level, products: &[Product], activations: &mut Vec<[Activations; WIDTHS]>) {
    activations.resize_with(activations.len().max(products.len()), Default::default);
    for (product, activations) in products.iter().zip(activations) {
        for (activations, width) in activations.iter_mut().zip(Width::ALL) {
            let mut schemes = product.w.each_part().iter().filter_map(|part| product.packed(part));
            if schemes.any(|scheme| scheme.width() == width) {
                activations.fill(level, product.x, product.w.columns(), width, product.bits());
            }
        }
    }
}

/// Lists what there is to do.
fn list(products: &mut [Product], tasks: &mut Vec<Task>) {
    let threads = pool::threads();
    for (i, product) in products.iter_mut().enumerate() {
        if product.x.is_empty() {
            continue;
        }
        let columns = Columns { out: product.out.as_mut_ptr(), n: product.w.rows() };
        let mut above = 0;
        for (part, of_part) in product.w.each_part().iter().enumerate() {
            let task = |run| Task { product: i, part, above, run, columns };
            tasks.extend(product.runs(of_part, threads).map(task));
            above += of_part.rows;
        }
    }
}

/// Activations of every width.
const WIDTHS: usize = Width::ALL.len();

thread_local! {
    /// Kept, so that a token allocates nothing here.
    static ACTIVATIONS: Cell<Vec<[Activations; WIDTHS]>> = Cell::default();
    static TASKS: Cell<Vec<Task>> = Cell::default();
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a thread keeps between panels.
#[derive(Default)]
struct Scratch {
    /// Of every row of activations the sums of a panel's rows.
    sums: Vec<[f32; ROWS]>,
    /// Chunks of rows, interleaved.
    chunks: Vec<u8>,
    /// Rows that are fewer than panel.
    beside_zeros: Vec<u8>,
}

/// Some panels or rows of a part. Tasks share no column of a result.
struct Task {
    /// Which of the products.
    product: usize,
    /// Which of the product's parts.
    part: usize,
    /// The part's first column of the result.
    above: usize,
    /// See [`Product::runs`].
    run: Range<usize>,
    /// The product's result.
    columns: Columns,
}

/// What tasks work on.
struct Job<'a> {
    level: Level,
    products: &'a [Product<'a>],
    /// Of each product those that its parts need.
    activations: &'a [[Activations; WIDTHS]],
}

impl Job<'_> {
    fn task(&self, Task { product, part, above, run, columns }: &Task) {
        let (product, activations) = (&self.products[*product], &self.activations[*product]);
        let part = &product.w.each_part()[*part];
        let Some(scheme) = product.packed(part) else {
            let rows = above + run.start..above + run.end;
            // SAFETY: `x` has the result's rows, and tasks share no row of a part.
            #[allow(unsafe_code)]
            return unsafe { some_rows(self.level, product.x, product.w, rows, *columns) };
        };
        let activations = &activations[scheme.width() as usize];
        SCRATCH.with_borrow_mut(|scratch| {
            for i in run.clone().step_by(PANELS) {
                let stored: [Option<PanelRows>; PANELS] =
                    std::array::from_fn(|j| (i + j < run.end).then(|| part.panel(i + j)));
                self.multiply_panel_rows(scheme, part.row_bytes, &stored, activations, scratch);
                for (panel, sums) in stored.iter().flatten().zip(scratch.sums.chunks(activations.rows())) {
                    for (row, sums) in sums.iter().enumerate() {
                        let sums = &sums[panel.before..][..panel.rows.len()];
                        // SAFETY: the result has a row for each of the activations, and columns up to above + rows.end
                        // <= n, as the part has those rows; panels share no row of a part, so nobody else writes here.
                        #[allow(unsafe_code)]
                        unsafe {
                            columns.write_run(row, above + panel.rows.start, sums, product.adds);
                        }
                    }
                }
            }
        });
    }

    /// Sets the scratch's sums to the products of some panels' rows, one panel after the other.
    fn multiply_panel_rows(
        &self,
        scheme: Packed,
        row_bytes: usize,
        stored: &[Option<PanelRows>; PANELS],
        activations: &Activations,
        scratch: &mut Scratch,
    ) {
        let Scratch { sums, chunks, beside_zeros } = scratch;
        sums.clear();
        sums.resize(PANELS * activations.rows(), [0.0; ROWS]);
        let level = self.level;
        if let [Some(a), Some(b)] = stored
            && a.interleaved
            && b.interleaved
        {
            return multiply_panels(level, scheme, &[a.bytes, b.bytes], activations, 0, sums);
        }
        for (panel, sums) in stored.iter().flatten().zip(sums.chunks_mut(activations.rows())) {
            if panel.interleaved {
                multiply_panels(level, scheme, &[panel.bytes], activations, 0, sums);
            } else {
                let rows = padded(panel.bytes, row_bytes, beside_zeros);
                Plain { level, scheme, activations, sums }.multiply(rows, row_bytes, chunks);
            }
        }
    }
}

/// A panel's rows that lie one after another, whose products are added to `sums`.
struct Plain<'a> {
    level: Level,
    scheme: Packed,
    activations: &'a Activations,
    sums: &'a mut [[f32; ROWS]],
}

impl Plain<'_> {
    /// Multiplies them chunk by chunk. Each is interleaved before the one before it is multiplied: what was just stored
    /// cannot be loaded at once in registers of another width.
    fn multiply(self, rows: &[u8], row_bytes: usize, chunks: &mut Vec<u8>) {
        let block = self.scheme.block_bytes();
        let chunk = CHUNK / self.scheme.width().columns() * block;
        let [mut now, mut next] = two_of(ROWS * chunk, chunks);
        let (level, scheme) = (self.level, self.scheme);
        let fill = |start: usize, chunk: &mut [u8]| {
            // Beyond the rows' end is what follows them, the next rows.
            let ahead = if start + AHEAD < row_bytes { AHEAD } else { AHEAD + (ROWS - 1) * row_bytes };
            ask_for(rows.as_ptr().wrapping_add(start + ahead), row_bytes, chunk.len() / ROWS);
            interleave(level, scheme.scheme(), &rows[start..], row_bytes, chunk);
        };
        let starts = (0..row_bytes).step_by(chunk);
        let size = |start: usize| ROWS * chunk.min(row_bytes - start);
        fill(0, &mut now[..size(0)]);
        for start in starts {
            if start + chunk < row_bytes {
                fill(start + chunk, &mut next[..size(start + chunk)]);
            }
            multiply_panels(
                level,
                scheme,
                &[&now[..size(start)]],
                self.activations,
                start / block,
                self.sums,
            );
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

/// A panel's rows: fewer are copied beside zeros.
fn padded<'a>(rows: &'a [u8], row_bytes: usize, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    if rows.len() == ROWS * row_bytes {
        return rows;
    }
    buffer.clear();
    buffer.extend_from_slice(rows);
    buffer.resize(ROWS * row_bytes, 0);
    buffer
}

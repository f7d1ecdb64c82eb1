//! The product of activations with a whole matrix: parts, threads, and rows that are not interleaved in storage.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use super::activations::Activations;
use super::dispatch::multiply_panels;
use super::scheme::{PANELS, Packed, SUPER_BLOCK, Width};
use crate::cpu::{self, Level, pool};
use crate::kernels::matmul::{Columns, TASK_ROWS, some_rows};
use crate::quant::interleave::{interleave, prefetch_rows};
use crate::quant::matrix::{PanelRows, Part};
use crate::quant::{ActivationBits, Blocks, Matrix, ROWS};

/// Number of columns that are interleaved at a time: 16 rows of them stay in the L1 cache.
const CHUNK: usize = 256;

// A chunk is whole blocks.
const _: () = assert!(CHUNK.is_multiple_of(SUPER_BLOCK));

/// Prefetch distance within each row, in bytes. Over the 16 rows of a panel it is 16 times as much.
const PREFETCH_DISTANCE: usize = 320;

/// A product `out (m, n) = x (m, k) · wᵀ (k, n)`, where `w` has n rows and k columns.
#[derive(Debug)]
pub struct Product<'a> {
    /// Activations, as many whole rows as `out` has.
    x: &'a [f32],
    w: &'a Matrix,
    blocks: Blocks,
    /// Whether to add the product to the content of `out`.
    adds: bool,
    /// The result, in whole rows.
    out: &'a mut [f32],
}

impl<'a> Product<'a> {
    /// Creates the product with `w`, whose blocks are multiplied as `blocks` specifies.
    ///
    /// The caller passes `x.len() = m·k` and `out.len() = m·n` for the same m. If one of them has more rows, the
    /// surplus is ignored.
    pub fn new(x: &'a [f32], w: &'a Matrix, blocks: Blocks, out: &'a mut [f32]) -> Self {
        let (n, k) = (w.rows(), w.columns());
        let rows = out.len().checked_div(n).unwrap_or(0);
        // Without columns, an empty `x` has any number of rows.
        let m = x.len().checked_div(k).map_or(rows, |m| m.min(rows));
        Self { x: &x[..m * k], w, blocks, adds: false, out: &mut out[..m * n] }
    }

    /// Adds the product to the content of `out` instead of storing it. `None` if a part is multiplied in f32, which
    /// can only store.
    pub fn added(self) -> Option<Self> {
        let all = self.w.each_part().iter().all(|part| self.packed(part).is_some());
        all.then_some(Self { adds: true, ..self })
    }

    /// Returns the number of rows of the result.
    fn m(&self) -> usize {
        self.out.len().checked_div(self.w.rows()).unwrap_or(0)
    }

    /// Returns the scheme of a part that is multiplied in integers; `None` if the part is multiplied in f32.
    fn packed(&self, part: &Part) -> Option<Packed> {
        Packed::new(part.scheme).filter(|_| self.blocks != Blocks::F32)
    }

    /// Returns the bits of activations for integer products.
    fn bits(&self) -> ActivationBits {
        match self.blocks {
            Blocks::Integer(bits) => bits,
            Blocks::F32 => ActivationBits::Eight,
        }
    }

    /// Splits a part into tasks: ranges of panels, or ranges of rows if the part is multiplied in f32.
    fn runs(&self, part: &Part, threads: usize) -> impl Iterator<Item = Range<usize>> {
        let (all, size) = match self.packed(part) {
            Some(_) => {
                let rows = self.m() * self.bits().planes();
                let most = TASK_BYTES / (ROWS * part.row_bytes * rows).max(1);
                let all = part.panels();
                (all, all.div_ceil(4 * threads).min(most).next_multiple_of(PANELS).max(PANELS))
            }
            None => (part.rows, TASK_ROWS),
        };
        (0..all).step_by(size).map(move |first| first..all.min(first + size))
    }
}

/// Upper limit of a task's bytes of weights times rows of activations: some ten microseconds of work. If the system
/// interrupts the task's thread, the others wait that long.
const TASK_BYTES: usize = 256 << 10;

/// Computes one product in integers.
pub fn multiply(x: &[f32], w: &Matrix, bits: ActivationBits, out: &mut [f32]) {
    multiply_all(&mut [Product::new(x, w, Blocks::Integer(bits), out)]);
}

/// Computes independent products as one job, after quantizing their activations.
///
/// Parts whose scheme has an integer kernel (see [`activation_block`](super::activation_block)) are multiplied with
/// activations rounded to 8 or 16 bits; each product rounds them once for all its parts. Other parts are multiplied
/// in f32, as [`matmul`](crate::kernels::matmul::matmul) does. A row's result has the same bits in every layout of
/// the weights and with any other rows and products.
pub fn multiply_all(products: &mut [Product]) {
    multiply_with(cpu::level(), products);
}

/// Computes products like [`multiply_all`], with one of the processor's [`available`](Level::available) instruction
/// sets.
pub(super) fn multiply_with(level: Level, products: &mut [Product]) {
    // Products without columns get no task, so they are zeroed here.
    let without_columns = products.iter_mut().filter(|product| product.w.columns() == 0 && !product.adds);
    without_columns.for_each(|product| product.out.fill(0.0));
    // Taken, not borrowed: code that runs below may begin another product on this thread.
    let (mut activations, mut tasks) = (ACTIVATIONS.take(), TASKS.take());
    quantize(level, products, &mut activations);
    list(products, &mut tasks);
    let job = ProductJob { level, products, activations: &activations };
    pool::run_in_parts(tasks.len(), |i| job.task(&tasks[i]));
    tasks.clear();
    TASKS.set(tasks);
    ACTIVATIONS.set(activations);
}

/// Rounds each product's activations to the block widths that its integer parts need.
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

/// Lists the tasks of all products.
fn list(products: &mut [Product], tasks: &mut Vec<ProductTask>) {
    let threads = pool::threads();
    for (i, product) in products.iter_mut().enumerate() {
        if product.x.is_empty() {
            continue;
        }
        let columns = Columns { out: product.out.as_mut_ptr(), n: product.w.rows() };
        let mut first_column = 0;
        for (part, rows_of_part) in product.w.each_part().iter().enumerate() {
            let task = |run| ProductTask { product: i, part, first_column, run, columns };
            tasks.extend(product.runs(rows_of_part, threads).map(task));
            first_column += rows_of_part.rows;
        }
    }
}

/// Number of block widths.
const WIDTHS: usize = Width::ALL.len();

thread_local! {
    /// Reused, so that decoding a token allocates nothing here.
    static ACTIVATIONS: Cell<Vec<[Activations; WIDTHS]>> = Cell::default();
    static TASKS: Cell<Vec<ProductTask>> = Cell::default();
    static SCRATCH: RefCell<PanelScratch> = RefCell::default();
}

/// Buffers that a thread reuses for all panels.
#[derive(Default)]
struct PanelScratch {
    /// The products of each row of activations with the rows of a panel.
    sums: Vec<[f32; ROWS]>,
    /// Chunks of interleaved columns.
    chunks: Vec<u8>,
    /// The last rows of a part, padded to a panel with zeros.
    padded_rows: Vec<u8>,
}

/// A range of panels or rows of a part. Tasks write to disjoint columns of the result.
struct ProductTask {
    /// Index of the product.
    product: usize,
    /// Index of the part within the product's matrix.
    part: usize,
    /// First column of the part in the result.
    first_column: usize,
    /// Panels or rows of the part: see [`Product::runs`].
    run: Range<usize>,
    /// Columns of the product's result.
    columns: Columns,
}

/// The input that all tasks share.
struct ProductJob<'a> {
    level: Level,
    products: &'a [Product<'a>],
    /// Quantized activations per product, in the widths that its parts need.
    activations: &'a [[Activations; WIDTHS]],
}

impl ProductJob<'_> {
    fn task(&self, ProductTask { product, part, first_column, run, columns }: &ProductTask) {
        let (product, activations) = (&self.products[*product], &self.activations[*product]);
        let part = &product.w.each_part()[*part];
        let Some(scheme) = product.packed(part) else {
            let rows = first_column + run.start..first_column + run.end;
            // SAFETY: `x` has as many rows as the result, and tasks have disjoint rows of a part.
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
                        // SAFETY: the result has a row for each row of activations, and at least first_column +
                        // rows.end columns, because the part has those rows. Panels have disjoint rows of a part,
                        // so no other thread writes here.
                        #[allow(unsafe_code)]
                        unsafe {
                            columns.write_run(row, first_column + panel.rows.start, sums, product.adds);
                        }
                    }
                }
            }
        });
    }

    /// Sets `scratch.sums` to the products with up to [`PANELS`] panels, one panel after another.
    fn multiply_panel_rows(
        &self,
        scheme: Packed,
        row_bytes: usize,
        stored: &[Option<PanelRows>; PANELS],
        activations: &Activations,
        scratch: &mut PanelScratch,
    ) {
        let PanelScratch { sums, chunks, padded_rows } = scratch;
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
                let rows = padded(panel.bytes, row_bytes, padded_rows);
                PlainRows { level, scheme, activations, sums }.multiply(rows, row_bytes, chunks);
            }
        }
    }
}

/// A product with 16 rows in row order, added to `sums`.
struct PlainRows<'a> {
    level: Level,
    scheme: Packed,
    activations: &'a Activations,
    sums: &'a mut [[f32; ROWS]],
}

impl PlainRows<'_> {
    /// Multiplies the rows chunk by chunk. The next chunk is interleaved before the current one is multiplied: data
    /// that was just stored cannot be forwarded to loads of another width.
    fn multiply(self, rows: &[u8], row_bytes: usize, chunks: &mut Vec<u8>) {
        let block = self.scheme.block_bytes();
        let chunk = CHUNK / self.scheme.width().columns() * block;
        let [mut now, mut next] = two_buffers(ROWS * chunk, chunks);
        let (level, scheme) = (self.level, self.scheme);
        let fill = |start: usize, chunk: &mut [u8]| {
            // Past the end of a row, prefetch the next 16 rows, which follow these in memory.
            let ahead = if start + PREFETCH_DISTANCE < row_bytes {
                PREFETCH_DISTANCE
            } else {
                PREFETCH_DISTANCE + (ROWS - 1) * row_bytes
            };
            prefetch_rows(rows.as_ptr().wrapping_add(start + ahead), row_bytes, chunk.len() / ROWS);
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

/// Returns two slices of `size` bytes each from a buffer; the first is aligned to a cache line.
fn two_buffers(size: usize, buffer: &mut Vec<u8>) -> [&mut [u8]; 2] {
    const LINE: usize = 64;
    buffer.resize(2 * size + LINE, 0);
    let start = buffer.as_ptr().align_offset(LINE).min(LINE);
    let (first, second) = buffer[start..start + 2 * size].split_at_mut(size);
    [first, second]
}

/// Pads fewer than 16 rows to a panel with zeros.
fn padded<'a>(rows: &'a [u8], row_bytes: usize, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    if rows.len() == ROWS * row_bytes {
        return rows;
    }
    buffer.clear();
    buffer.extend_from_slice(rows);
    buffer.resize(ROWS * row_bytes, 0);
    buffer
}

//! A weight matrix over shared bytes, usually a memory-mapped checkpoint file.

use std::ops::Range;

use bytes::Bytes;

use super::dequantize::dequantize;
use super::interleave::ROWS;
use super::layout::{Layout, gather, pack};
use super::scheme::Scheme;

/// Rows of weights, `(rows, columns)`, multiplied as `x · Wᵀ`.
///
/// A matrix is a stack of parts; a part is a run of whole rows in one scheme. So `q_proj`, `k_proj` and `v_proj` of
/// an unconverted checkpoint are one matrix without a copy. The parts may differ in scheme, as they do in
/// llama.cpp's Q4_K_M. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Matrix {
    parts: Vec<Part>,
    rows: usize,
    columns: usize,
}

/// Number of columns of a panel that are converted to f32 at a time.
const COLUMNS: usize = 256;

/// Rows in one scheme.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub scheme: Scheme,
    layout: Layout,
    /// For `Layout::Rows`, exactly the rows of the part; for `Layout::Panels`, all rows of the matrix that was
    /// packed.
    bytes: Bytes,
    /// Index of the part's first row among the rows in `bytes`.
    first: usize,
    pub rows: usize,
    pub row_bytes: usize,
}

/// The stored rows of a panel, at most [`ROWS`], at least one of which belongs to a part.
pub(crate) struct PanelRows<'a> {
    pub bytes: &'a [u8],
    /// Whether the rows are interleaved; otherwise they are stored one after another.
    pub interleaved: bool,
    /// Range of the part's rows that the panel holds.
    pub rows: Range<usize>,
    /// Number of stored rows before the part's first row: 0 unless the part is a slice that begins within the panel.
    pub before: usize,
}

impl Matrix {
    /// Creates a matrix of `rows` by `columns` over `bytes`, one row after another.
    ///
    /// `None` if `bytes` has another length, or if a row is not a whole number of blocks.
    pub fn new(scheme: Scheme, rows: usize, columns: usize, bytes: Bytes) -> Option<Self> {
        Self::laid(Layout::Rows, scheme, rows, columns, bytes)
    }

    /// Creates a matrix like [`new`](Self::new), with rows in the given layout. Dense rows are always stored one
    /// after another.
    pub fn laid(layout: Layout, scheme: Scheme, rows: usize, columns: usize, bytes: Bytes) -> Option<Self> {
        let row_bytes = scheme.row_bytes(columns)?;
        if row_bytes.checked_mul(rows)? != bytes.len() {
            return None;
        }
        let layout = if scheme.is_dense() { Layout::Rows } else { layout };
        let part = Part { scheme, layout, bytes, first: 0, rows, row_bytes };
        Some(Self { parts: vec![part], rows, columns })
    }

    /// Stacks matrices of the same width, one below the other. `None` if there are none or the widths differ.
    pub fn stack(matrices: impl IntoIterator<Item = Matrix>) -> Option<Self> {
        let mut matrices = matrices.into_iter();
        let mut stacked = matrices.next()?;
        for matrix in matrices {
            if matrix.columns != stacked.columns {
                return None;
            }
            stacked.rows = stacked.rows.checked_add(matrix.rows)?;
            stacked.parts.extend(matrix.parts);
        }
        Some(stacked)
    }

    /// Splits a stack of `count` equal matrices: `(E·n, columns)` becomes E times `(n, columns)`. `None` if the
    /// rows do not divide evenly, or if the matrix has several parts or is a slice.
    pub fn split(&self, count: usize) -> Option<Vec<Matrix>> {
        let [part] = self.parts.as_slice() else { return None };
        if count == 0 || !self.rows.is_multiple_of(count) {
            return None;
        }
        let rows = self.rows / count;
        let size = rows * part.row_bytes;
        if part.bytes.len() != part.size() {
            return None;
        }
        // Each matrix was packed separately.
        let piece = |i: usize| part.bytes.slice(i * size..(i + 1) * size);
        (0..count).map(|i| Self::laid(part.layout, part.scheme, rows, self.columns, piece(i))).collect()
    }

    /// Returns a range of rows over the same bytes. `None` if the range is empty or not within the matrix.
    pub fn slice(&self, range: Range<usize>) -> Option<Matrix> {
        if range.is_empty() || range.end > self.rows {
            return None;
        }
        let parts = self.within(range.start, range.len()).map(|(part, rows)| part.slice(rows)).collect();
        Some(Self { parts, rows: range.len(), columns: self.columns })
    }

    /// Returns each part as a matrix. Stacking them gives this matrix.
    pub fn split_parts(&self) -> Vec<Matrix> {
        let of_one = |part: &Part| Self { parts: vec![part.clone()], rows: part.rows, columns: self.columns };
        self.parts.iter().map(of_one).collect()
    }

    /// Copies blocks in row order to panels, for schemes that have integer kernels.
    pub fn packed(&self) -> Self {
        let parts = self.parts.iter().map(|part| part.packed(self.columns).unwrap_or_else(|| part.clone()));
        Self { parts: parts.collect(), ..*self }
    }

    /// Returns the number of bytes that [`packed`](Self::packed) copies.
    pub fn packed_size(&self) -> usize {
        self.parts.iter().filter(|part| part.can_be_packed()).map(Part::size).sum()
    }

    /// Returns the number of rows: the outputs of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns: the inputs of a product.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the bytes of all parts.
    pub fn size(&self) -> usize {
        self.parts.iter().map(Part::size).sum()
    }

    /// Returns the scheme and the bytes of each part.
    pub fn parts(&self) -> impl Iterator<Item = (Scheme, usize)> {
        self.parts.iter().map(|part| (part.scheme, part.size()))
    }

    /// Returns the stored bytes of each part.
    pub fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|part| &*part.bytes)
    }

    /// Returns the parts, for the product.
    pub(crate) fn each_part(&self) -> &[Part] {
        &self.parts
    }

    /// Returns the scheme if all parts have the same one.
    pub fn scheme(&self) -> Option<Scheme> {
        let (first, _) = self.parts().next()?;
        self.parts().all(|(scheme, _)| scheme == first).then_some(first)
    }

    /// Returns all rows in row order and in their scheme, in runs of about `size` bytes. Rows stored in row order
    /// are not copied.
    pub fn runs(&self, size: usize) -> impl Iterator<Item = Bytes> {
        self.parts.iter().flat_map(move |part| part.runs(size))
    }

    /// Converts `out.len() / columns` rows to f32, from row `first` on.
    pub fn rows_f32(&self, first: usize, out: &mut [f32]) {
        let columns = self.columns.max(1);
        let mut rest = out;
        for (part, rows) in self.within(first, rest.len() / columns) {
            let (out, below) = rest.split_at_mut(rows.len() * columns);
            part.widen_blocks(rows, 0..self.columns, columns, out);
            rest = below;
        }
    }

    /// Copies the standard blocks of `out.len() / row size` rows, from row `first` on. All rows must have one
    /// scheme.
    pub fn copy_rows(&self, first: usize, out: &mut [u8]) {
        let row_bytes = self.parts.first().map_or(1, |part| part.row_bytes.max(1));
        let mut rest = out.chunks_exact_mut(row_bytes);
        for (part, rows) in self.within(first, rest.len()) {
            rows.zip(&mut rest).for_each(|(row, out)| part.copy_row(row, out));
        }
    }

    /// Returns the parts that hold `count` rows from `first` on, each with the range of its rows.
    pub(crate) fn within(&self, first: usize, count: usize) -> impl Iterator<Item = (&Part, Range<usize>)> {
        let (mut above, end) = (0, first.saturating_add(count));
        let within = move |part: &Part| {
            let [start, end] = [first, end].map(|row| row.clamp(above, above + part.rows) - above);
            above += part.rows;
            start..end
        };
        self.parts
            .iter()
            .map(within)
            .zip(&self.parts)
            .map(|(rows, part)| (part, rows))
            .filter(|(_, rows)| !rows.is_empty())
    }

    /// Converts the whole matrix to f32, `rows · columns` values: for accelerators and tests.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.columns];
        self.rows_f32(0, &mut out);
        out
    }
}

impl Part {
    fn size(&self) -> usize {
        self.rows * self.row_bytes
    }

    /// Returns whether panels would make products faster and the part is not in panels yet.
    fn can_be_packed(&self) -> bool {
        self.layout != Layout::Panels && self.scheme.activation_block().is_some() && self.rows >= ROWS
    }

    /// Copies the part to panels, if that makes products faster.
    fn packed(&self, columns: usize) -> Option<Part> {
        if !self.can_be_packed() {
            return None;
        }
        let bytes = pack(self.scheme, self.rows, columns, &self.bytes)?.into();
        Some(Part { layout: Layout::Panels, bytes, ..self.clone() })
    }

    fn slice(&self, range: Range<usize>) -> Part {
        match self.layout {
            Layout::Rows => {
                let bytes = self.bytes.slice(range.start * self.row_bytes..range.end * self.row_bytes);
                Part { bytes, rows: range.len(), ..self.clone() }
            }
            Layout::Panels => Part { first: self.first + range.start, rows: range.len(), ..self.clone() },
        }
    }

    /// Returns the number of panels that this part covers.
    pub fn panels(&self) -> usize {
        (self.first + self.rows).div_ceil(ROWS) - self.first / ROWS
    }

    /// Returns the i-th panel that this part covers.
    pub fn panel(&self, i: usize) -> PanelRows<'_> {
        let (start, end) = (self.first, self.first + self.rows);
        let first = (start / ROWS + i) * ROWS;
        let last = (first + ROWS).min(self.bytes.len() / self.row_bytes.max(1));
        PanelRows {
            bytes: &self.bytes[first * self.row_bytes..last * self.row_bytes],
            interleaved: self.layout == Layout::Panels && last - first == ROWS,
            rows: first.max(start) - start..last.min(end) - start,
            before: start.saturating_sub(first),
        }
    }

    /// Returns the panel of a row and the row's index in the panel; `None` if the row is not interleaved.
    fn panel_of(&self, row: usize) -> Option<(usize, usize)> {
        if self.layout == Layout::Rows {
            return None;
        }
        let (row, stored) = (self.first + row, self.bytes.len() / self.row_bytes.max(1));
        (row < stored / ROWS * ROWS).then_some((row / ROWS, row % ROWS))
    }

    /// Returns the bytes of a row that is not interleaved.
    fn plain_row(&self, row: usize) -> &[u8] {
        &self.bytes[(self.first + row) * self.row_bytes..][..self.row_bytes]
    }

    /// Returns the bytes of a panel.
    fn panel_bytes(&self, panel: usize) -> &[u8] {
        let size = ROWS * self.row_bytes;
        &self.bytes[panel * size..][..size]
    }

    fn copy_row(&self, row: usize, out: &mut [u8]) {
        match self.panel_of(row) {
            None => out.copy_from_slice(self.plain_row(row)),
            Some((panel, row)) => gather(self.scheme, self.panel_bytes(panel), ROWS, row, out),
        }
    }

    fn runs(&self, size: usize) -> impl Iterator<Item = Bytes> {
        let rows = (size / self.row_bytes.max(1)).max(1);
        (0..self.rows).step_by(rows).map(move |first| {
            let part = self.slice(first..self.rows.min(first + rows));
            if part.layout == Layout::Rows {
                return part.bytes;
            }
            let mut run = vec![0; part.size()];
            for (row, out) in run.chunks_exact_mut(part.row_bytes.max(1)).enumerate() {
                part.copy_row(row, out);
            }
            run.into()
        })
    }

    /// Returns the bytes of dense rows; `None` for blocks.
    #[cfg(target_arch = "x86_64")]
    pub fn dense(&self, rows: Range<usize>) -> Option<&[u8]> {
        let within = [rows.start, rows.end].map(|row| (self.first + row) * self.row_bytes);
        self.scheme.is_dense().then(|| &self.bytes[within[0]..within[1]])
    }

    /// Converts some columns of some rows to f32, in blocks of `block` columns, the last perhaps narrower. A block
    /// has all rows, one after another; then the next block follows.
    ///
    /// Blocks begin and end at block boundaries of the scheme. In panels they begin and end at multiples of
    /// [`COLUMNS`] or at the end of a row.
    pub fn widen_blocks(&self, rows: Range<usize>, columns: Range<usize>, block: usize, out: &mut [f32]) {
        let bytes = |column: usize| column / self.scheme.block_len() * self.scheme.block_bytes();
        let mut row = rows.start;
        while row < rows.end {
            let panel = self.panel_of(row);
            let count = panel.map_or(1, |(_, first)| (rows.end - row).min(ROWS - first));
            for start in columns.clone().step_by(block.max(1)) {
                let within = start..columns.end.min(start + block);
                let before = rows.len() * (start - columns.start) + (row - rows.start) * within.len();
                let out = &mut out[before..][..count * within.len()];
                match panel {
                    None => {
                        let bytes = bytes(within.start)..bytes(within.end);
                        dequantize(self.scheme, &self.plain_row(row)[bytes], out);
                    }
                    Some((panel, first)) => self.widen_panel(panel, first, within, out),
                }
            }
            row += count;
        }
    }

    /// Converts rows of a panel to f32, from its row `first` on. It converts 256 columns of all rows, then the next
    /// 256, so that the interleaved bytes are in the L1 cache for all rows but the first.
    fn widen_panel(&self, panel: usize, first: usize, columns: Range<usize>, out: &mut [f32]) {
        let (length, size) = (self.scheme.block_len(), self.scheme.block_bytes());
        // Blocks of 32 have at most 34 bytes, blocks of 256 at most 210.
        let mut blocks = [0; COLUMNS / 32 * 34];
        let packed = self.panel_bytes(panel);
        for start in columns.clone().step_by(COLUMNS) {
            let width = COLUMNS.min(columns.end - start);
            let blocks = &mut blocks[..width / length * size];
            for (row, out) in out.chunks_exact_mut(columns.len()).enumerate() {
                gather(self.scheme, &packed[start / length * size * ROWS..], ROWS, first + row, blocks);
                dequantize(self.scheme, blocks, &mut out[start - columns.start..][..width]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, columns: usize, first: f32) -> Matrix {
        let values = (0..rows * columns).flat_map(|i| (first + i as f32).to_le_bytes());
        Matrix::new(Scheme::F32, rows, columns, values.collect::<Vec<u8>>().into()).unwrap()
    }

    #[test]
    fn rows_run_across_parts() {
        let stack = Matrix::stack([matrix(2, 3, 0.0), matrix(1, 3, 6.0), matrix(2, 3, 9.0)]).unwrap();
        let mut out = vec![0.0; 9];
        stack.rows_f32(1, &mut out);
        assert_eq!(out, (3..12).map(|v| v as f32).collect::<Vec<_>>());
        assert_eq!(stack.to_f32(), (0..15).map(|v| v as f32).collect::<Vec<_>>());
    }

    #[test]
    fn split_undoes_stacked_experts() {
        let experts = matrix(6, 2, 0.0).split(3).unwrap();
        assert_eq!(experts.len(), 3);
        assert_eq!(experts[2].to_f32(), [8.0, 9.0, 10.0, 11.0]);
        assert!(matrix(6, 2, 0.0).split(4).is_none());
    }

    #[test]
    fn bytes_that_do_not_fit_the_shape_are_refused() {
        assert!(Matrix::new(Scheme::F32, 2, 3, vec![0u8; 23].into()).is_none());
        assert!(Matrix::new(Scheme::Q4_1, 1, 33, vec![0u8; 40].into()).is_none());
        assert!(Matrix::new(Scheme::F32, usize::MAX, 2, vec![0u8; 8].into()).is_none());
    }

    /// Returns a matrix of 50 rows whose blocks all differ, as panels and as rows.
    fn blocks(scheme: Scheme) -> [Matrix; 2] {
        let (rows, columns) = (50, 512);
        let size = scheme.row_bytes(columns).unwrap() * rows;
        // No byte of an f16 has all exponent bits set, so the scales are finite.
        let plain: Vec<u8> = (0..size).map(|i| (i * 7919 % 251) as u8 & 0x3f).collect();
        let panels = pack(scheme, rows, columns, &plain).unwrap();
        [(Layout::Panels, panels), (Layout::Rows, plain)]
            .map(|(layout, bytes)| Matrix::laid(layout, scheme, rows, columns, bytes.into()).unwrap())
    }

    #[test]
    fn panels_have_the_values_the_bytes_and_the_pieces_of_their_rows() {
        for scheme in Scheme::all().filter(|scheme| !scheme.is_dense()) {
            let [panels, rows] = blocks(scheme);
            assert_eq!(panels.to_f32(), rows.to_f32(), "{scheme}");
            for range in [0..50, 3..4, 15..17, 20..50, 47..49] {
                let [panels, rows] = [&panels, &rows].map(|m| m.slice(range.clone()).unwrap());
                assert_eq!((panels.rows(), panels.size()), (rows.rows(), rows.size()));
                assert_eq!(panels.to_f32(), rows.to_f32(), "{scheme} {range:?}");
                for size in [1, 3000, 1 << 20] {
                    let [a, b] = [&panels, &rows].map(|m| m.runs(size).collect::<Vec<_>>().concat());
                    assert_eq!(a, b, "{scheme} {range:?}");
                }
                let mut copied = vec![0; rows.size() / rows.rows()];
                panels.copy_rows(panels.rows() - 1, &mut copied);
                assert!(rows.runs(1 << 20).collect::<Vec<_>>().concat().ends_with(&copied));
            }
        }
    }

    #[test]
    fn stacked_matrices_of_panels_are_split_into_panels_of_their_own() {
        let plain: Vec<u8> = (0..3 * 20 * 18).map(|i| (i * 7919 % 251) as u8 & 0x3f).collect();
        let each = plain.chunks(20 * 18).map(|plain| pack(Scheme::Q4_0, 20, 32, plain).unwrap());
        let stacked: Vec<u8> = each.flatten().collect();
        let panels = Matrix::laid(Layout::Panels, Scheme::Q4_0, 60, 32, stacked.into()).unwrap();
        let rows = Matrix::new(Scheme::Q4_0, 60, 32, plain.into()).unwrap();
        for (panels, rows) in panels.split(3).unwrap().iter().zip(rows.split(3).unwrap()) {
            assert_eq!(panels.to_f32(), rows.to_f32());
        }
    }

    #[test]
    fn a_slice_beyond_the_matrix_or_of_nothing_is_refused() {
        let matrix = matrix(4, 2, 0.0);
        assert!(matrix.slice(0..5).is_none() && matrix.slice(4..5).is_none() && matrix.slice(2..2).is_none());
    }
}

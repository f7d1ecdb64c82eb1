//! A weight matrix over bytes that somebody else owns: usually the map of a checkpoint's file.

use bytes::Bytes;

use super::Scheme;
use super::dequantize::dequantize;

/// Rows of weights, `(rows, columns)`, multiplied as `x · Wᵀ`.
///
/// A matrix is a stack of parts, each a run of whole rows in one scheme. So `q_proj`, `k_proj` and `v_proj` of
/// an unconverted checkpoint are one matrix without a copy, and parts may differ in scheme, as they do in
/// llama.cpp's Q4_K_M. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Matrix {
    parts: Vec<Part>,
    rows: usize,
    columns: usize,
}

#[derive(Clone, Debug)]
struct Part {
    scheme: Scheme,
    bytes: Bytes,
    rows: usize,
    row_bytes: usize,
}

impl Matrix {
    /// A matrix of `rows` by `columns` over `bytes`, row after row.
    ///
    /// `None` if the bytes are not exactly that many, or rows are no whole number of blocks.
    pub fn new(scheme: Scheme, rows: usize, columns: usize, bytes: Bytes) -> Option<Self> {
        let row_bytes = scheme.row_bytes(columns)?;
        if row_bytes.checked_mul(rows)? != bytes.len() {
            return None;
        }
        let part = Part { scheme, bytes, rows, row_bytes };
        Some(Self { parts: vec![part], rows, columns })
    }

    /// Matrices of the same width, one below the other. `None` if there are none or widths differ.
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

    /// Cuts a matrix of equal, stacked matrices into them: `(E·n, columns)` into E times `(n, columns)`.
    /// `None` if the rows do not divide or the matrix has several parts.
    pub fn split(&self, count: usize) -> Option<Vec<Matrix>> {
        let [part] = self.parts.as_slice() else { return None };
        if count == 0 || !self.rows.is_multiple_of(count) {
            return None;
        }
        let rows = self.rows / count;
        let size = rows * part.row_bytes;
        let piece =
            |i: usize| Self::new(part.scheme, rows, self.columns, part.bytes.slice(i * size..(i + 1) * size));
        (0..count).map(piece).collect()
    }

    /// The parts as matrices of their own; stacked, they are this one.
    pub fn split_parts(&self) -> Vec<Matrix> {
        let of_one = |part: &Part| Self { parts: vec![part.clone()], rows: part.rows, columns: self.columns };
        self.parts.iter().map(of_one).collect()
    }

    /// Rows: the outputs of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns: the inputs of a product.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes over all parts.
    pub fn size(&self) -> usize {
        self.parts.iter().map(|p| p.bytes.len()).sum()
    }

    /// The parts: scheme, rows and bytes of each.
    pub fn parts(&self) -> impl Iterator<Item = (Scheme, usize, &Bytes)> {
        self.parts.iter().map(|p| (p.scheme, p.rows, &p.bytes))
    }

    /// Widens `out.len() / columns` rows, from row `first` on.
    pub fn rows_f32(&self, first: usize, out: &mut [f32]) {
        let mut skip = first;
        let mut out = out.chunks_exact_mut(self.columns.max(1));
        for part in &self.parts {
            if skip >= part.rows {
                skip -= part.rows;
                continue;
            }
            for row in skip..part.rows {
                let Some(out) = out.next() else { return };
                dequantize(part.scheme, &part.bytes[row * part.row_bytes..][..part.row_bytes], out);
            }
            skip = 0;
        }
    }

    /// The whole matrix as f32, `rows · columns` values: for accelerators and tests.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.columns];
        self.rows_f32(0, &mut out);
        out
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
}

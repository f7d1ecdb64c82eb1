//! A tensor to be written: its name, its scheme, and its bytes, computed in runs on all cores.

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::arch::Config;
use crate::arch::schema::{MatrixKind, TensorSpec};
use crate::cpu::pool;
use crate::quant::mix::Mix;
use crate::quant::quantize::quantize_rows;
use crate::quant::{Layout, Matrix, ROWS, Scheme, layout};
use crate::tensor::narrow;

/// Number of weights that all threads together convert at a time, 16 MiB as f32. It limits memory for tensors of any
/// size.
const WEIGHTS_OF_A_RUN: usize = 4 << 20;
/// Number of weights of one task: a few dozen blocks, so that all threads finish at nearly the same time.
const WEIGHTS_OF_A_TASK: usize = 16 << 10;
/// Bytes of a run that is copied without conversion.
const RUN: usize = 4 << 20;

/// How a conversion changes the types of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rounding {
    /// Rounds dense weights that stay dense to this type; `None` keeps their type.
    pub dense: Option<Scheme>,
    /// Quantizes matrices to the mix of this scheme, or to the scheme itself if `pure` is set.
    pub quantize: Option<Scheme>,
    /// Uses one scheme for all matrices.
    pub pure: bool,
}

impl Rounding {
    /// Returns the rules for a model's matrices.
    pub(in crate::checkpoint) fn of(self, config: &Config) -> Rules {
        let mix = self.quantize.map(|asked| Mix {
            asked,
            pure: self.pure,
            layers: config.layers,
            experts: config.experts.map_or(0, |experts| experts.all),
            grouped_heads: config.query_heads > config.key_value_heads,
            tied_head: config.tied_head,
        });
        Rules { dense: self.dense, mix }
    }
}

/// [`Rounding`] applied to the matrices of one model.
#[derive(Clone, Copy, Debug)]
pub(in crate::checkpoint) struct Rules {
    dense: Option<Scheme>,
    mix: Option<Mix>,
}

impl Rules {
    /// Returns whether matrices are quantized, each to a scheme that depends on its role.
    pub fn quantizes(self) -> bool {
        self.mix.is_some()
    }

    /// Returns the scheme of a tensor that consists of `matrices`.
    ///
    /// If weights are quantized, the scheme depends on the tensor's role. Otherwise the tensor keeps its scheme, or
    /// takes f32 if the matrices have several.
    pub fn scheme(self, tensor: &TensorSpec, matrices: &[Matrix]) -> Scheme {
        let columns = matrices.first().map_or(0, Matrix::columns);
        if let Some((mix, role)) = self.mix.zip(tensor.role) {
            return mix.scheme(role, tensor.layer.unwrap_or(0), columns);
        }
        let first = matrices.first().and_then(Matrix::scheme);
        let one = first.filter(|_| matrices.iter().all(|matrix| matrix.scheme() == first));
        let stored = one.unwrap_or(Scheme::F32);
        self.dense.filter(|_| stored.is_dense()).unwrap_or(stored)
    }
}

/// A tensor to be written: matrices stacked by rows, in one scheme.
#[derive(Debug)]
pub(in crate::checkpoint) struct Output {
    pub name: String,
    pub shape: Vec<usize>,
    /// The kind of the matrix that this tensor contains or is a part of; `None` if it is not a matrix of the model.
    pub kind: Option<MatrixKind>,
    /// Index of the layer; `None` for a matrix outside the layers.
    pub layer: Option<usize>,
    pub scheme: Scheme,
    /// Order of rows of blocks within each matrix.
    pub layout: Layout,
    pub matrices: Vec<Matrix>,
}

impl Output {
    /// Returns the output for a tensor of the model.
    pub fn new(tensor: TensorSpec, scheme: Scheme, layout: Layout, matrices: Vec<Matrix>) -> Self {
        let TensorSpec { name, shape, kind, layer, .. } = tensor;
        Self { name, shape, kind: Some(kind), layer, scheme, layout, matrices }
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        let row = |m: &Matrix| self.scheme.row_bytes(m.columns()).unwrap_or(0) as u64;
        self.matrices.iter().map(|m| m.rows() as u64 * row(m)).sum()
    }

    /// Returns the type and shape for a safetensors header. Blocks have type U8, and their last dimension counts bytes.
    pub fn stored(&self) -> (&'static str, Vec<usize>) {
        let dtype = match self.scheme {
            Scheme::F32 => "F32",
            Scheme::F16 => "F16",
            Scheme::Bf16 => "BF16",
            _ => "U8",
        };
        let mut shape = self.shape.clone();
        if let (false, Some(last)) = (self.scheme.is_dense(), shape.last_mut()) {
            *last = *last / self.scheme.block_len() * self.scheme.block_bytes();
        }
        (dtype, shape)
    }

    /// Returns the size in bytes of the largest run that [`produce`](Self::produce) passes to a sink.
    pub fn run(&self) -> u64 {
        let of_matrix = |matrix: &Matrix| {
            let rows = Self::rows_at_a_time(matrix).min(matrix.rows());
            rows as u64 * self.scheme.row_bytes(matrix.columns()).unwrap_or(0) as u64
        };
        self.matrices.iter().map(of_matrix).max().unwrap_or(0).max(self.size().min(RUN as u64))
    }

    /// Returns the rows that are converted at a time: whole panels, except at the end of a matrix.
    fn rows_at_a_time(matrix: &Matrix) -> usize {
        (WEIGHTS_OF_A_RUN / matrix.columns().max(1)).next_multiple_of(ROWS).max(ROWS)
    }

    /// Passes all bytes to `sink`, in order.
    ///
    /// # Errors
    /// A weight does not fit its new type (the error names the tensor), or `sink` fails.
    pub fn produce(&self, sink: &mut dyn FnMut(Bytes) -> io::Result<()>) -> io::Result<()> {
        let in_panels = self.layout == Layout::Panels && !self.scheme.is_dense();
        for matrix in &self.matrices {
            match matrix.scheme() == Some(self.scheme) && !in_panels {
                true => matrix.runs(RUN).try_for_each(&mut *sink)?,
                false => self.convert(matrix, in_panels, sink)?,
            }
        }
        Ok(())
    }

    /// Converts a matrix, a few million weights at a time, and passes its bytes to `sink`.
    fn convert(
        &self,
        matrix: &Matrix,
        in_panels: bool,
        sink: &mut dyn FnMut(Bytes) -> io::Result<()>,
    ) -> io::Result<()> {
        let columns = matrix.columns().max(1);
        let rows_at_a_time = Self::rows_at_a_time(matrix);
        for first in (0..matrix.rows()).step_by(rows_at_a_time) {
            let rows = rows_at_a_time.min(matrix.rows() - first);
            let bytes = self.rows(matrix, first, rows)?;
            let bytes = match in_panels {
                true => layout::pack(self.scheme, rows, columns, &bytes).ok_or(io::ErrorKind::InvalidData)?,
                false => bytes,
            };
            sink(bytes.into())?;
        }
        Ok(())
    }

    /// Returns `rows` rows from `first` on in the tensor's scheme, one after another. Copies rows of the same scheme;
    /// widens and rounds others.
    fn rows(&self, matrix: &Matrix, first: usize, rows: usize) -> io::Result<Vec<u8>> {
        let columns = matrix.columns().max(1);
        let row_bytes = self.scheme.row_bytes(columns).unwrap_or(0);
        let rows_at_once = (WEIGHTS_OF_A_TASK / columns).max(1);
        let rows_of_a_task = rows_at_once.next_multiple_of(ROWS);
        let mut bytes = vec![0; rows * row_bytes];
        let as_it_is = matrix.scheme() == Some(self.scheme);
        let convert = |task: usize, bytes: &mut [u8]| -> Result<(), String> {
            let first = first + task * rows_of_a_task;
            if as_it_is {
                matrix.copy_rows(first, bytes);
                return Ok(());
            }
            let mut wide = vec![0.0; rows_at_once * columns];
            let pieces =
                (first..).step_by(rows_at_once).zip(bytes.chunks_mut((rows_at_once * row_bytes).max(1)));
            for (first, bytes) in pieces {
                let wide = &mut wide[..bytes.len() / row_bytes * columns];
                matrix.rows_f32(first, wide);
                encode(self.scheme, wide, columns, first, bytes)?;
            }
            Ok(())
        };
        // Keeps the failure with the lowest task, so that the message does not depend on the threads' timing.
        let failure = Mutex::new(None);
        pool::each_piece(&mut bytes, rows_of_a_task * row_bytes, |task, bytes| {
            if let Err(error) = convert(task, bytes) {
                let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                if failure.as_ref().is_none_or(|(earlier, _)| task < *earlier) {
                    *failure = Some((task, error));
                }
            }
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, error)) => Err(io::Error::other(format!("{}: {error}", self.name))),
            None => Ok(bytes),
        }
    }
}

/// Encodes f32 rows as bytes of a scheme. The first row is row `first` of its matrix, for errors.
fn encode(
    scheme: Scheme,
    rows: &[f32],
    columns: usize,
    first: usize,
    bytes: &mut [u8],
) -> Result<(), String> {
    match scheme.is_dense() {
        true => narrow(rows, scheme).map(|narrow| bytes.copy_from_slice(&narrow)).map_err(|e| e.to_string()),
        false => quantize_rows(scheme, rows, columns, bytes).map_err(|e| e.below(first).to_string()),
    }
}

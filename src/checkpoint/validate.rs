//! Validates tensors against the config, and assembles the weights.
//!
//! Every matrix that the config implies must exist in the right shape. Every tensor must be used, except for those
//! that are known to be harmless.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::Error;
use super::tensors::Tensors;
use crate::arch::schema::{self, MatrixKind, MatrixSpec, TensorSpec};
use crate::arch::{Config, LayerWeights, Weights};
use crate::quant::Matrix;

/// The weights assembled from tensors and a config.
#[derive(Debug)]
pub struct Assembled {
    /// The weights.
    pub weights: Weights,
    /// How contradictions between tensors and config were resolved, one sentence each.
    pub warnings: Vec<String>,
}

/// The validated contents of a folder.
#[derive(Debug)]
pub struct Contents {
    /// The description of the model.
    pub config: Config,
    /// The weights.
    pub weights: Weights,
    /// The files that hold the weights, and the index that names them.
    pub files: Vec<PathBuf>,
    /// How contradictions between tensors and config were resolved, one sentence each.
    pub warnings: Vec<String>,
}

/// Suffixes of tensors that may be unused: tables that this program computes itself.
const HARMLESS_SUFFIXES: [&str; 1] = [".rotary_emb.inv_freq"];

/// Checks the tensors against the config and assembles the weights. Clears `config.tied_head` if the tensors have a
/// head that differs from the embedding.
///
/// # Errors
/// A tensor is missing, has a shape other than the config implies, or is not used.
pub fn assemble(config: &mut Config, tensors: Tensors) -> Result<Assembled, Error> {
    let checked = config.clone();
    let mut taker = Taker { config: &checked, tensors };
    let [embedding, norm, head] = schema::ends(&checked).map(|matrix| matrix.whole(None));
    let (embedding, head) = taker.ends(&embedding, &head)?;
    config.tied_head = head.is_none();
    let warning = (checked.tied_head && !config.tied_head).then(|| {
        let path = taker.tensors.path().display();
        format!(
            "{path}: the config ties the head to the embedding, but a different head is stored; the stored head is used"
        )
    });
    let head = head.unwrap_or_else(|| embedding.clone());
    let weights = Weights {
        embedding,
        layers: (0..config.layers).map(|layer| taker.layer(layer)).collect::<Result<_, _>>()?,
        norm: taker.matrix(&norm)?,
        head,
    };
    taker.nothing_left()?;
    Ok(Assembled { weights, warnings: warning.into_iter().collect() })
}

/// Returns whether two matrices of the same shape hold the same values. Stops reading at the first difference.
fn same(a: &Matrix, b: &Matrix) -> bool {
    let is_same = |(a, b): (&[u8], &[u8])| std::ptr::eq(a, b) || a == b;
    if a.parts().eq(b.parts()) && a.bytes().zip(b.bytes()).all(is_same) {
        return true;
    }
    let mut rows = [vec![0.0; a.columns()], vec![0.0; a.columns()]];
    (0..a.rows()).all(|row| {
        let [in_a, in_b] = &mut rows;
        a.rows_f32(row, in_a);
        b.rows_f32(row, in_b);
        in_a == in_b
    })
}

struct Taker<'a> {
    config: &'a Config,
    tensors: Tensors,
}

impl Taker<'_> {
    /// Returns the embedding, and the head if it differs from the embedding.
    ///
    /// A tied head may be stored too; PyTorch's files always store it. If it differs from the embedding, the config is
    /// wrong and the stored head is used, as in transformers 5. If only one of the two is stored, it serves as both.
    fn ends(&mut self, embedding: &TensorSpec, head: &TensorSpec) -> Result<(Matrix, Option<Matrix>), Error> {
        let tied = self.config.tied_head;
        if tied && !self.has(embedding) && self.has(head) {
            return Ok((self.matrix(head)?, None));
        }
        let embedding = self.matrix(embedding)?;
        if tied && !self.has(head) {
            return Ok((embedding, None));
        }
        let head = self.matrix(head)?;
        let is_other = !tied || !same(&embedding, &head);
        Ok((embedding, is_other.then_some(head)))
    }

    /// Returns the weights of a layer.
    ///
    /// Its experts may be single tensors (as published), stacked gates, ups and downs (GGUF), or stacked tensors with
    /// gate and up fused (transformers 5 and `mist`).
    fn layer(&mut self, layer: usize) -> Result<LayerWeights, Error> {
        let config = self.config;
        let mut gate_up = schema::layer(config, layer).filter(MatrixSpec::is_of_experts);
        let gate_up = gate_up.find(|matrix| matrix.kind() == MatrixKind::GateUp);
        let fused = gate_up.is_some_and(|matrix| self.has(&matrix.whole(None)));
        let stacked =
            gate_up.is_some_and(|matrix| matrix.parts(None).first().is_some_and(|gate| self.has(gate)));
        let mut found = BTreeMap::new();
        for matrix in schema::layer(config, layer) {
            let count = matrix.count();
            let matrices = match matrix.is_of_mixture() {
                true if fused => self.stacked(&[matrix.whole(None)], count)?,
                true if stacked => self.stacked(&matrix.parts(None), count)?,
                _ => (0..count).map(|expert| self.single(&matrix, expert)).collect::<Result<_, _>>()?,
            };
            found.insert(matrix.kind(), matrices);
        }
        let broken = || Error::malformed(self.tensors.path(), "its matrices are not those of its config");
        LayerWeights::assemble(|kind| found.remove(&kind)).ok_or_else(broken)
    }

    /// Returns a matrix that is stored as one tensor or in parts.
    fn single(&mut self, matrix: &MatrixSpec<'_>, expert: usize) -> Result<Matrix, Error> {
        let whole = matrix.whole(Some(expert));
        if self.has(&whole) {
            return self.matrix(&whole);
        }
        let parts = matrix.parts(Some(expert));
        let parts = parts.iter().map(|part| self.part(part, &whole)).collect::<Result<Vec<_>, _>>()?;
        Matrix::stack(parts).ok_or_else(|| self.missing(&whole, &whole))
    }

    /// Returns `count` matrices. Each part of them is stored as one tensor that stacks all `count`.
    fn stacked(&mut self, parts: &[TensorSpec], count: usize) -> Result<Vec<Matrix>, Error> {
        let split = |part: &TensorSpec| {
            let pieces = self.matrix(part)?.split(count).ok_or_else(|| self.missing(part, part))?;
            Ok(pieces.into_iter())
        };
        let mut parts = parts.iter().map(split).collect::<Result<Vec<_>, Error>>()?;
        // Parts of one matrix have the same number of columns, so stacking them cannot fail.
        let stack = |_| Matrix::stack(parts.iter_mut().filter_map(Iterator::next));
        Ok((0..count).filter_map(stack).collect())
    }

    fn has(&self, tensor: &TensorSpec) -> bool {
        self.tensors.contains(&tensor.name)
    }

    fn matrix(&mut self, tensor: &TensorSpec) -> Result<Matrix, Error> {
        self.part(tensor, tensor)
    }

    /// Takes the tensor `part`, which must have exactly its shape, as a matrix whose columns are the last dimension.
    /// Errors name `whole`, the tensor that it is a part of, if the files have a name for that only.
    fn part(&mut self, part: &TensorSpec, whole: &TensorSpec) -> Result<Matrix, Error> {
        let TensorSpec { name, shape, .. } = part;
        let tensor = self.tensors.take(name).ok_or_else(|| self.missing(part, whole))?;
        let (columns, outer) = shape.split_last().unwrap_or((&0, &[]));
        let rows = outer.iter().try_fold(1usize, |rows, d| rows.checked_mul(*d));
        let matrix = rows.filter(|_| tensor.shape == *shape).and_then(|rows| tensor.matrix(rows, *columns));
        matrix.ok_or_else(|| Error::WrongShape {
            path: self.tensors.path().into(),
            name: self.tensors.name_in_file(name, &whole.name),
            found: tensor.shape,
            expected: shape.clone(),
        })
    }

    fn missing(&self, part: &TensorSpec, whole: &TensorSpec) -> Error {
        let name = self.tensors.name_in_file(&part.name, &whole.name);
        Error::MissingTensor { path: self.tensors.path().into(), name }
    }

    fn nothing_left(&self) -> Result<(), Error> {
        let harmless = |name: &str| HARMLESS_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
        let names: Vec<String> = self
            .tensors
            .names()
            .filter(|n| !harmless(n))
            .map(|name| self.tensors.name_in_file(name, name))
            .collect();
        match names.is_empty() {
            true => Ok(()),
            false => Err(Error::ExtraTensors { path: self.tensors.path().into(), names }),
        }
    }
}

//! Plans the conversion of a checkpoint to the `mist` layout.

use std::path::Path;

use super::manifest::{self, Manifest};
use super::provenance::Provenance;
use crate::arch::schema::{self, MatrixKind, MatrixSpec, TensorSpec};
use crate::checkpoint::convert::output::{Output, Rounding, Rules};
use crate::checkpoint::convert::plan::{ConversionPlan, Payload, SidecarFiles};
use crate::checkpoint::convert::rows::cut;
use crate::checkpoint::error::Error;
use crate::checkpoint::formats::safetensors::write::File;
use crate::checkpoint::open::Checkpoint;
use crate::quant::{Layout, Matrix, Scheme};

/// The `format` in the header of the safetensors file.
const FORMAT: &str = "mist";

/// Plans to write `checkpoint` into `folder`, with its weights rounded by `rounding`.
///
/// `sidecars` are the tokenizer's files. The description is renamed into place last, so a folder without it holds no
/// finished conversion.
///
/// # Errors
/// Matrices do not have the config's sizes, which validation rules out; a source file cannot be read.
pub fn plan(
    checkpoint: &Checkpoint,
    folder: &Path,
    rounding: Rounding,
    sidecars: impl Into<SidecarFiles>,
) -> Result<ConversionPlan, Error> {
    plan_of(checkpoint, folder, rounding, sidecars.into(), Provenance::of(checkpoint, rounding)?)
}

/// Returns whether `folder` already holds what [`plan`] would write: a conversion of the same weights with the same
/// description and the same sidecar files.
pub fn is_there(
    checkpoint: &Checkpoint,
    folder: &Path,
    rounding: Rounding,
    sidecars: impl Into<SidecarFiles>,
) -> bool {
    let there = Manifest::read(folder).ok();
    let of_these = there.filter(|there| there.provenance.is_of(checkpoint, rounding));
    let plan = of_these.map(|there| plan_of(checkpoint, folder, rounding, sidecars.into(), there.provenance));
    plan.is_some_and(|plan| plan.is_ok_and(|plan| plan.is_there()))
}

/// Returns the layer, the kind and the size in bytes of each tensor of `checkpoint`, quantized to the mix of `scheme`.
///
/// # Errors
/// Matrices do not have the config's sizes, which validation rules out.
pub fn quantized_sizes(
    checkpoint: &Checkpoint,
    scheme: Scheme,
) -> Result<Vec<(Option<usize>, MatrixKind, u64)>, Error> {
    let tensors = outputs(checkpoint, Rounding { quantize: Some(scheme), ..Rounding::default() })?;
    Ok(tensors.iter().filter_map(|tensor| Some((tensor.layer, tensor.kind?, tensor.size()))).collect())
}

fn plan_of(
    checkpoint: &Checkpoint,
    folder: &Path,
    rounding: Rounding,
    sidecars: SidecarFiles,
    provenance: Provenance,
) -> Result<ConversionPlan, Error> {
    let tensors = outputs(checkpoint, rounding)?;
    let blocks = tensors.iter().filter(|t| !t.scheme.is_dense());
    let manifest = Manifest {
        version: manifest::VERSION,
        layout: Layout::Panels,
        config: checkpoint.config.clone(),
        weights: vec![manifest::WEIGHTS.into()],
        schemes: blocks.map(|t| (t.name.clone(), t.scheme)).collect(),
        provenance,
    };
    let description = folder.join(manifest::FILE);
    let json = serde_json::to_vec_pretty(&manifest).map_err(std::io::Error::other);
    let json = json.map_err(Error::write(&description))?;
    let weights = File::new(folder.join(manifest::WEIGHTS), tensors, FORMAT);
    let payloads: Vec<Box<dyn Payload>> = vec![Box::new(weights)];
    let (mut texts, stale) = sidecars.placed(folder);
    texts.push((description, json.into()));
    Ok(ConversionPlan { payloads, texts, stale, base: None })
}

/// Returns the tensors of a checkpoint, rounded by `rounding`, in the order in which a token passes through them.
fn outputs(checkpoint: &Checkpoint, rounding: Rounding) -> Result<Vec<Output>, Error> {
    let broken = || Error::malformed(&checkpoint.folder, "its matrices are not those of its config");
    listed(checkpoint, rounding.of(&checkpoint.config)).ok_or_else(broken)
}

fn listed(checkpoint: &Checkpoint, rules: Rules) -> Option<Vec<Output>> {
    let config = &checkpoint.config;
    let mut list = List { rules, outputs: Vec::new() };
    let matrices: Vec<_> =
        schema::matrices(config).map(|spec| (spec, checkpoint.weights.of(&spec))).collect();
    // A group is a layer's router with its experts, or a single matrix.
    for group in matrices.chunk_by(|(a, _), (b, _)| a.is_of_mixture() && b.is_of_mixture()) {
        let is_mixture = group.iter().any(|(spec, _)| spec.is_of_mixture());
        match is_mixture && group.iter().all(|(spec, matrices)| list.can_be_stacked(spec, matrices)) {
            true => group.iter().for_each(|(spec, matrices)| {
                list.push(spec.whole(None), matrices.iter().copied().cloned().collect());
            }),
            // The router, then the experts one by one.
            false => {
                let count = group.iter().map(|(spec, _)| spec.count()).max()?;
                for expert in 0..count {
                    for (spec, matrices) in group {
                        if let Some(matrix) = matrices.get(expert) {
                            list.push_fused(spec, expert, matrix)?;
                        }
                    }
                }
            }
        }
    }
    Some(list.outputs)
}

struct List {
    rules: Rules,
    outputs: Vec<Output>,
}

impl List {
    fn push(&mut self, tensor: TensorSpec, matrices: Vec<Matrix>) {
        let scheme = self.rules.scheme(&tensor, &matrices);
        self.outputs.push(Output::new(tensor, scheme, Layout::Panels, matrices));
    }

    /// Adds a fused matrix as one tensor if all its parts take one scheme, else a tensor for each part.
    fn push_fused(&mut self, spec: &MatrixSpec<'_>, expert: usize, matrix: &Matrix) -> Option<()> {
        let parts = cut(matrix, &spec.heights())?.into_iter().zip(spec.parts(Some(expert)));
        let parts: Vec<_> = parts
            .map(|(part, tensor)| (self.rules.scheme(&tensor, std::slice::from_ref(&part)), tensor, part))
            .collect();
        match parts.as_slice() {
            [(scheme, ..), rest @ ..] if rest.iter().all(|(other, ..)| other == scheme) => {
                let whole = spec.whole(Some(expert));
                self.outputs.push(Output::new(whole, *scheme, Layout::Panels, vec![matrix.clone()]));
            }
            _ => parts.into_iter().for_each(|(_, tensor, part)| self.push(tensor, vec![part])),
        }
        Some(())
    }

    /// Returns whether the experts' matrices can be one tensor: all take one scheme, and no matrix has parts of several
    /// schemes, which would be widened.
    fn can_be_stacked(&self, spec: &MatrixSpec<'_>, matrices: &[&Matrix]) -> bool {
        let tensor = spec.whole(None);
        let scheme = |matrix: &Matrix| self.rules.scheme(&tensor, std::slice::from_ref(matrix));
        let has_one_type = |matrix: &Matrix| self.rules.quantizes() || matrix.scheme().is_some();
        !spec.is_of_experts()
            || matrices.windows(2).all(|pair| scheme(pair[0]) == scheme(pair[1]))
                && matrices.iter().all(|matrix| has_one_type(matrix))
    }
}

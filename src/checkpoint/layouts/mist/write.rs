//! The `mist` format: what a checkpoint becomes in it.

use std::path::Path;

use super::manifest::{self, Manifest};
use super::provenance::Provenance;
use crate::arch::schema::{self, MatrixKind, MatrixSpec, TensorSpec};
use crate::checkpoint::convert::output::{Output, Rounding, Rules};
use crate::checkpoint::convert::plan::{Payload, Plan, SidecarFiles};
use crate::checkpoint::convert::rows::cut;
use crate::checkpoint::error::Error;
use crate::checkpoint::formats::safetensors::write::File;
use crate::checkpoint::open::Checkpoint;
use crate::quant::{Layout, Matrix, Scheme};

/// What the header says that the file is.
const FORMAT: &str = "mist";

/// Plans to write `checkpoint` into `folder`, its weights as `rounding` says. `sidecars` are the files that go with
/// it: the tokenizer's. The description takes its name last: a folder without it holds no finished conversion.
///
/// # Errors
/// Matrices are not of the sizes that the config says, which validation sees to; a file of the originals cannot be read.
pub fn plan(
    checkpoint: &Checkpoint,
    folder: &Path,
    rounding: Rounding,
    sidecars: impl Into<SidecarFiles>,
) -> Result<Plan, Error> {
    plan_of(checkpoint, folder, rounding, sidecars.into(), Provenance::of(checkpoint, rounding)?)
}

/// Whether what [`plan`] would write is there already: a conversion of the same weights and the same description, with
/// the same files beside it.
pub fn is_there(
    checkpoint: &Checkpoint,
    folder: &Path,
    rounding: Rounding,
    sidecars: impl Into<SidecarFiles>,
) -> bool {
    let there = Manifest::read(folder).ok();
    let of_these = there.filter(|there| there.origin.is_of(checkpoint, rounding));
    let plan = of_these.map(|there| plan_of(checkpoint, folder, rounding, sidecars.into(), there.origin));
    plan.is_some_and(|plan| plan.is_ok_and(|plan| plan.is_there()))
}

/// The tensors that a checkpoint quantized to the mix of `scheme` has: layer, what it is, bytes.
///
/// # Errors
/// As [`plan`].
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
    origin: Provenance,
) -> Result<Plan, Error> {
    let tensors = outputs(checkpoint, rounding)?;
    let blocks = tensors.iter().filter(|t| !t.scheme.is_dense());
    let manifest = Manifest {
        version: manifest::VERSION,
        layout: Layout::Panels,
        config: checkpoint.config.clone(),
        weights: vec![manifest::WEIGHTS.into()],
        schemes: blocks.map(|t| (t.name.clone(), t.scheme)).collect(),
        origin,
    };
    let description = folder.join(manifest::FILE);
    let json = serde_json::to_vec_pretty(&manifest).map_err(std::io::Error::other);
    let json = json.map_err(Error::write(&description))?;
    let weights = File::new(folder.join(manifest::WEIGHTS), tensors, FORMAT);
    let payloads: Vec<Box<dyn Payload>> = vec![Box::new(weights)];
    let (mut texts, stale) = sidecars.placed(folder);
    texts.push((description, json.into()));
    Ok(Plan { payloads, texts, stale, base: None })
}

/// The tensors of a checkpoint rounded so, in the order in which a token meets them.
fn outputs(checkpoint: &Checkpoint, rounding: Rounding) -> Result<Vec<Output>, Error> {
    let broken = || Error::malformed(&checkpoint.folder, "its matrices are not those of its config");
    listed(checkpoint, rounding.of(&checkpoint.config)).ok_or_else(broken)
}

fn listed(checkpoint: &Checkpoint, rules: Rules) -> Option<Vec<Output>> {
    let config = &checkpoint.config;
    let mut list = List { rules, outputs: Vec::new() };
    let matrices: Vec<_> =
        schema::matrices(config).map(|spec| (spec, checkpoint.weights.of(&spec))).collect();
    // A layer's router and experts follow one another; what else there is stands by itself.
    for group in matrices.chunk_by(|(a, _), (b, _)| a.is_of_mixture() && b.is_of_mixture()) {
        let is_mixture = group.iter().any(|(spec, _)| spec.is_of_mixture());
        match is_mixture && group.iter().all(|(spec, matrices)| list.can_be_stacked(spec, matrices)) {
            true => group.iter().for_each(|(spec, matrices)| {
                list.push(spec.whole(None), matrices.iter().copied().cloned().collect());
            }),
            // Experts one by one, after the router.
            false => {
                let count = group.iter().map(|(spec, _)| spec.count()).max()?;
                for expert in 0..count {
                    for (spec, matrices) in group {
                        if let Some(matrix) = matrices.get(expert) {
                            list.fused(spec, expert, matrix)?;
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

    /// One tensor if all parts take one scheme, else the parts under their own names.
    fn fused(&mut self, spec: &MatrixSpec<'_>, expert: usize, matrix: &Matrix) -> Option<()> {
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

    /// Whether all experts take one scheme, and none has to be widened for being of several types.
    fn can_be_stacked(&self, spec: &MatrixSpec<'_>, matrices: &[&Matrix]) -> bool {
        let tensor = spec.whole(None);
        let scheme = |matrix: &Matrix| self.rules.scheme(&tensor, std::slice::from_ref(matrix));
        let has_one_type = |matrix: &Matrix| self.rules.quantizes() || matrix.scheme().is_some();
        !spec.is_of_experts()
            || matrices.windows(2).all(|pair| scheme(pair[0]) == scheme(pair[1]))
                && matrices.iter().all(|matrix| has_one_type(matrix))
    }
}

//! The `mist` format: what a checkpoint becomes in it.

use std::path::Path;

use super::manifest::{self, Manifest};
use super::provenance::Origin;
use crate::arch::{Config, Experts, Mlp};
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
/// Matrices are not of the sizes that the config says, which the gate sees to; a file of the originals cannot be read.
pub fn plan(
    checkpoint: &Checkpoint,
    folder: &Path,
    rounding: Rounding,
    sidecars: impl Into<SidecarFiles>,
) -> Result<Plan, Error> {
    plan_of(checkpoint, folder, rounding, sidecars.into(), Origin::of(checkpoint, rounding)?)
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

/// The tensors that a checkpoint quantized to the mix of `scheme` has, by the names of the `mist` format, and their bytes.
///
/// # Errors
/// As [`plan`].
pub fn quantized_sizes(checkpoint: &Checkpoint, scheme: Scheme) -> Result<Vec<(String, u64)>, Error> {
    let tensors = outputs(checkpoint, Rounding { quantize: Some(scheme), ..Rounding::default() })?;
    Ok(tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor.size())).collect())
}

fn plan_of(
    checkpoint: &Checkpoint,
    folder: &Path,
    rounding: Rounding,
    sidecars: SidecarFiles,
    origin: Origin,
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
    let weights = &checkpoint.weights;
    let mut list = List { config: &checkpoint.config, rules, outputs: Vec::new() };
    list.whole("model.embed_tokens.weight", &weights.embedding);
    for (i, layer) in weights.layers.iter().enumerate() {
        let name = |rest: &str| format!("model.layers.{i}.{rest}");
        list.vector(&name("input_layernorm.weight"), &layer.attention_norm);
        let parts = ["q_proj", "k_proj", "v_proj"].map(|p| name(&format!("self_attn.{p}.weight")));
        let Config { query_heads: h, key_value_heads: g, head_size: d, .. } = checkpoint.config;
        let qkv = cut(&layer.qkv, [h * d, g * d, g * d])?;
        list.fused(&name("self_attn.qkv_proj.weight"), parts, qkv, &layer.qkv);
        list.whole(&name("self_attn.o_proj.weight"), &layer.output);
        list.vector(&name("post_attention_layernorm.weight"), &layer.mlp_norm);
        match &layer.mlp {
            Mlp::Dense(network) => {
                let parts = ["gate_proj", "up_proj"].map(|p| name(&format!("mlp.{p}.weight")));
                list.fused(
                    &name("mlp.gate_up_proj.weight"),
                    parts,
                    list.gate_and_up(network)?,
                    &network.gate_up,
                );
                list.whole(&name("mlp.down_proj.weight"), &network.down);
            }
            Mlp::Mixture { router, experts } => list.mixture(name, router, experts)?,
        }
    }
    list.vector("model.norm.weight", &weights.norm);
    if !checkpoint.config.tied_head {
        list.whole("lm_head.weight", &weights.head);
    }
    Some(list.outputs)
}

struct List<'a> {
    config: &'a Config,
    rules: Rules,
    outputs: Vec<Output>,
}

impl List<'_> {
    fn push(&mut self, name: &str, shape: Vec<usize>, matrices: Vec<Matrix>) {
        let scheme = self.rules.scheme(name, &matrices);
        self.outputs.push(Output { name: name.into(), shape, scheme, layout: Layout::Panels, matrices });
    }

    fn whole(&mut self, name: &str, matrix: &Matrix) {
        self.push(name, vec![matrix.rows(), matrix.columns()], vec![matrix.clone()]);
    }

    fn vector(&mut self, name: &str, matrix: &Matrix) {
        self.push(name, vec![matrix.columns()], vec![matrix.clone()]);
    }

    /// One tensor if all parts take one scheme, else the parts under their own names.
    fn fused<const N: usize>(&mut self, name: &str, names: [String; N], parts: [Matrix; N], whole: &Matrix) {
        let schemes: Vec<_> = names
            .iter()
            .zip(&parts)
            .map(|(name, part)| self.rules.scheme(name, std::slice::from_ref(part)))
            .collect();
        match schemes.windows(2).all(|pair| pair[0] == pair[1]) {
            true => {
                let shape = vec![whole.rows(), whole.columns()];
                let (name, layout, matrices) = (name.into(), Layout::Panels, vec![whole.clone()]);
                self.outputs.push(Output { name, shape, scheme: schemes[0], layout, matrices });
            }
            false => names.iter().zip(&parts).for_each(|(name, part)| self.whole(name, part)),
        }
    }

    fn gate_and_up(&self, network: &Experts) -> Option<[Matrix; 2]> {
        let f = self.config.intermediate_size;
        cut(&network.gate_up, [f, f])
    }

    /// Experts stacked if all of them take one scheme, else as they are published, one by one.
    fn mixture(&mut self, name: impl Fn(&str) -> String, router: &Matrix, experts: &[Experts]) -> Option<()> {
        let gate_up: Vec<Matrix> = experts.iter().map(|e| e.gate_up.clone()).collect();
        let down: Vec<Matrix> = experts.iter().map(|e| e.down.clone()).collect();
        let stacks = [("mlp.experts.gate_up_proj", gate_up), ("mlp.experts.down_proj", down)];
        let stacked = |(rest, list): &(&str, Vec<Matrix>)| {
            let of_one = |matrix| self.rules.scheme(&name(rest), std::slice::from_ref(matrix));
            let one = list.first().map(of_one);
            list.iter().all(|matrix| Some(of_one(matrix)) == one && self.has_one_type(matrix))
        };
        if stacks.iter().all(stacked) {
            self.whole(&name("mlp.gate.weight"), router);
            for (rest, list) in stacks {
                let (rows, columns) = list.first().map(|m| (m.rows(), m.columns()))?;
                self.push(&name(rest), vec![list.len(), rows, columns], list);
            }
            return Some(());
        }
        self.whole(&name("block_sparse_moe.gate.weight"), router);
        for (e, expert) in experts.iter().enumerate() {
            let name = |rest: &str| name(&format!("block_sparse_moe.experts.{e}.{rest}.weight"));
            let parts = self.gate_and_up(expert)?;
            self.fused(&name("gate_up_proj"), [name("w1"), name("w3")], parts, &expert.gate_up);
            self.whole(&name("w2"), &expert.down);
        }
        Some(())
    }

    /// Whether a matrix does not have to be widened for being of several types.
    fn has_one_type(&self, matrix: &Matrix) -> bool {
        self.rules.quantizes() || matrix.scheme().is_some()
    }
}

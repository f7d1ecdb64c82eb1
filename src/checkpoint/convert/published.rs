//! A checkpoint's tensors as they are published: queries, keys and values apart, gate and up apart, under Hugging
//! Face's names.

use super::output::{Output, Rounding, Rules};
use super::rows::{cut, rotary};
use crate::arch::{Config, Experts, LayerWeights, Mlp};
use crate::checkpoint::error::Error;
use crate::checkpoint::open::Checkpoint;
use crate::kernels::pointwise::RopeLayout;
use crate::quant::{Layout, Matrix};

/// How the experts of a layer are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpertsAs {
    /// Each matrix of each expert a tensor: Mixtral's own checkpoints.
    OneByOne,
    /// One tensor for the gates of all experts, one for the ups, one for the downs: GGUF.
    Stacked,
}

/// All tensors, in the order in which a token meets them, their types as `rounding` says.
///
/// # Errors
/// Matrices are not of the sizes that the config says, which the gate sees to.
pub fn tensors(
    checkpoint: &Checkpoint,
    rounding: Rounding,
    layout: RopeLayout,
    experts: ExpertsAs,
) -> Result<Vec<Output>, Error> {
    let config = &checkpoint.config;
    let mut list = List { config, rules: rounding.of(config), layout, experts, outputs: Vec::new() };
    let broken = || Error::malformed(&checkpoint.folder, "its matrices are not those of its config");
    list.all(checkpoint).ok_or_else(broken)?;
    Ok(list.outputs)
}

struct List<'a> {
    config: &'a Config,
    rules: Rules,
    layout: RopeLayout,
    experts: ExpertsAs,
    outputs: Vec<Output>,
}

impl List<'_> {
    fn all(&mut self, checkpoint: &Checkpoint) -> Option<()> {
        let weights = &checkpoint.weights;
        self.matrix("model.embed_tokens.weight", &weights.embedding);
        for (i, layer) in weights.layers.iter().enumerate() {
            self.layer(&format!("model.layers.{i}"), layer)?;
        }
        self.vector("model.norm.weight", &weights.norm);
        if !self.config.tied_head {
            self.matrix("lm_head.weight", &weights.head);
        }
        Some(())
    }

    fn layer(&mut self, prefix: &str, layer: &LayerWeights) -> Option<()> {
        let Config { query_heads: h, key_value_heads: g, head_size: d, .. } = *self.config;
        let name = |rest: &str| format!("{prefix}.{rest}.weight");
        self.vector(&name("input_layernorm"), &layer.attention_norm);
        let [queries, keys, values] = cut(&layer.qkv, [h * d, g * d, g * d])?;
        self.matrix(&name("self_attn.q_proj"), &self.rotary(queries, h)?);
        self.matrix(&name("self_attn.k_proj"), &self.rotary(keys, g)?);
        self.matrix(&name("self_attn.v_proj"), &values);
        self.matrix(&name("self_attn.o_proj"), &layer.output);
        self.vector(&name("post_attention_layernorm"), &layer.mlp_norm);
        match &layer.mlp {
            Mlp::Dense(network) => {
                let [gate, up, down] = self.network(network)?;
                self.matrix(&name("mlp.gate_proj"), &gate);
                self.matrix(&name("mlp.up_proj"), &up);
                self.matrix(&name("mlp.down_proj"), &down);
            }
            Mlp::Mixture { router, experts } => {
                self.matrix(&name("block_sparse_moe.gate"), router);
                self.mixture(&name, experts)?;
            }
        }
        Some(())
    }

    fn rotary(&self, matrix: Matrix, heads: usize) -> Option<Matrix> {
        match self.config.rope.layout == self.layout {
            true => Some(matrix),
            false => rotary(&matrix, heads, self.layout),
        }
    }

    fn mixture(&mut self, name: &impl Fn(&str) -> String, experts: &[Experts]) -> Option<()> {
        let networks = experts.iter().map(|e| self.network(e)).collect::<Option<Vec<_>>>()?;
        // Gate, up, down in our order; the names are those of Mixtral's authors.
        for (i, matrix) in ["w1", "w3", "w2"].iter().enumerate() {
            let all: Vec<Matrix> = networks.iter().map(|network| network[i].clone()).collect();
            match self.experts {
                ExpertsAs::OneByOne => {
                    for (e, one) in all.iter().enumerate() {
                        self.matrix(&name(&format!("block_sparse_moe.experts.{e}.{matrix}")), one);
                    }
                }
                ExpertsAs::Stacked => {
                    let (rows, columns) = all.first().map(|m| (m.rows(), m.columns()))?;
                    let shape = vec![all.len(), rows, columns];
                    self.push(&name(&format!("block_sparse_moe.experts.{matrix}")), shape, all);
                }
            }
        }
        Some(())
    }

    /// Gate, up, down.
    fn network(&self, network: &Experts) -> Option<[Matrix; 3]> {
        let f = self.config.intermediate_size;
        let [gate, up] = cut(&network.gate_up, [f, f])?;
        Some([gate, up, network.down.clone()])
    }

    fn matrix(&mut self, name: &str, matrix: &Matrix) {
        self.push(name, vec![matrix.rows(), matrix.columns()], vec![matrix.clone()]);
    }

    fn vector(&mut self, name: &str, matrix: &Matrix) {
        self.push(name, vec![matrix.columns()], vec![matrix.clone()]);
    }

    fn push(&mut self, name: &str, shape: Vec<usize>, matrices: Vec<Matrix>) {
        let scheme = self.rules.scheme(name, &matrices);
        self.outputs.push(Output { name: name.into(), shape, scheme, layout: Layout::Rows, matrices });
    }
}

//! The tensors of a model as data: their roles, shapes and names, and how they are fused and stacked.
//!
//! Validation, conversion, publishing and placement walk [`matrices`]; none of them has its own list of tensors. Names
//! are those of Hugging Face's checkpoints; other layouts rename them.

use super::config::Config;
use crate::quant::ActivationBits;
use crate::quant::mix::Role;

/// A kind of matrix that the model computes with. A matrix is one published tensor, or several stacked by rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatrixKind {
    /// Token embedding, `(V, C)`.
    Embedding,
    /// Norm before the attention, `(1, C)`.
    AttentionNorm,
    /// Queries, keys and values: `((H + 2G)·D, C)`.
    QueriesKeysValues,
    /// Output projection of the attention, `(C, H·D)`.
    AttentionOutput,
    /// Norm before the feed-forward network, `(1, C)`.
    MlpNorm,
    /// The router of a mixture, `(E, C)`.
    Router,
    /// Gate, then up, of a feed-forward network: `(2F, C)`.
    GateUp,
    /// Down of a feed-forward network: `(C, F)`.
    Down,
    /// Final norm, `(1, C)`.
    FinalNorm,
    /// The head, `(V, C)`.
    Head,
}

impl MatrixKind {
    /// The kinds of a layer, in the order in which a token passes through them.
    pub const OF_LAYER: [Self; 7] =
        [AttentionNorm, QueriesKeysValues, AttentionOutput, MlpNorm, Router, GateUp, Down];

    /// Returns a human-readable description.
    pub fn description(self) -> &'static str {
        match self {
            Embedding => "embedding",
            AttentionNorm => "attention norm",
            QueriesKeysValues => "queries, keys and values",
            AttentionOutput => "attention output",
            MlpNorm => "feed-forward norm",
            Router => "router",
            GateUp => "gate and up",
            Down => "down",
            FinalNorm => "final norm",
            Head => "head",
        }
    }
}

/// A size that depends on the [`Config`].
#[derive(Clone, Copy, Debug)]
enum Size {
    One,
    Vocabulary,
    Hidden,
    Queries,
    KeyValues,
    Inner,
    Experts,
}

use MatrixKind::{
    AttentionNorm, AttentionOutput, Down, Embedding, FinalNorm, GateUp, Head, MlpNorm, QueriesKeysValues,
    Router,
};
use Size::{Experts, Hidden, Inner, KeyValues, One, Queries, Vocabulary};

/// A published tensor: its name, its role if quantization depends on it, its rows.
type Part = (&'static str, Option<Role>, Size);

/// The definition of a kind of matrix. Names within a layer lack `model.layers.N.`; `*` is the number of an expert.
#[derive(Debug)]
struct Definition {
    kind: MatrixKind,
    columns: Size,
    /// The published tensors from top to bottom.
    parts: &'static [Part],
    /// The name of several parts as one tensor.
    fused: Option<&'static str>,
    /// The name of a mixture's tensor in checkpoints of transformers 5 and `mist`, which fuse and stack experts.
    stacked: Option<&'static str>,
}

const fn matrix(kind: MatrixKind, columns: Size, parts: &'static [Part]) -> Definition {
    Definition { kind, columns, parts, fused: None, stacked: None }
}

impl Definition {
    const fn fused(self, name: &'static str) -> Self {
        Self { fused: Some(name), ..self }
    }

    const fn stacked(self, name: &'static str) -> Self {
        Self { stacked: Some(name), ..self }
    }
}

/// The matrices outside the layers: embedding, final norm, head.
const ENDS: [Definition; 3] = [
    matrix(Embedding, Hidden, &[("model.embed_tokens.weight", Some(Role::Embedding), Vocabulary)]),
    matrix(FinalNorm, Hidden, &[("model.norm.weight", None, One)]),
    matrix(Head, Hidden, &[("lm_head.weight", Some(Role::Head), Vocabulary)]),
];

const QUERIES_KEYS_VALUES: &[Part] = &[
    ("self_attn.q_proj.weight", Some(Role::Query), Queries),
    ("self_attn.k_proj.weight", Some(Role::Key), KeyValues),
    ("self_attn.v_proj.weight", Some(Role::Value), KeyValues),
];

const ATTENTION: [Definition; 4] = [
    matrix(AttentionNorm, Hidden, &[("input_layernorm.weight", None, One)]),
    matrix(QueriesKeysValues, Hidden, QUERIES_KEYS_VALUES).fused("self_attn.qkv_proj.weight"),
    matrix(AttentionOutput, Queries, &[("self_attn.o_proj.weight", Some(Role::AttentionOutput), Hidden)]),
    matrix(MlpNorm, Hidden, &[("post_attention_layernorm.weight", None, One)]),
];

const GATE_UP: &[Part] =
    &[("mlp.gate_proj.weight", Some(Role::GateUp), Inner), ("mlp.up_proj.weight", Some(Role::GateUp), Inner)];

const DENSE: [Definition; 2] = [
    matrix(GateUp, Hidden, GATE_UP).fused("mlp.gate_up_proj.weight"),
    matrix(Down, Inner, &[("mlp.down_proj.weight", Some(Role::Down), Hidden)]),
];

/// Gate and up of an expert, under the names of Mixtral's authors.
const EXPERT_GATE_UP: &[Part] = &[
    ("block_sparse_moe.experts.*.w1.weight", Some(Role::GateUp), Inner),
    ("block_sparse_moe.experts.*.w3.weight", Some(Role::GateUp), Inner),
];
const EXPERT_DOWN: &[Part] = &[("block_sparse_moe.experts.*.w2.weight", Some(Role::Down), Hidden)];

const MIXTURE: [Definition; 3] = [
    matrix(Router, Hidden, &[("block_sparse_moe.gate.weight", None, Experts)]).stacked("mlp.gate.weight"),
    matrix(GateUp, Hidden, EXPERT_GATE_UP)
        .fused("block_sparse_moe.experts.*.gate_up_proj.weight")
        .stacked("mlp.experts.gate_up_proj"),
    matrix(Down, Inner, EXPERT_DOWN).stacked("mlp.experts.down_proj"),
];

/// A matrix of a model; for the networks of a mixture, the matrices of all experts.
#[derive(Clone, Copy, Debug)]
pub struct MatrixSpec<'a> {
    config: &'a Config,
    definition: &'static Definition,
    /// The layer; `None` outside the layers.
    pub layer: Option<usize>,
}

/// A tensor as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name in Hugging Face's checkpoints; that of transformers 5 if experts are fused and stacked.
    pub name: String,
    /// Dimensions in elements, outermost first.
    pub shape: Vec<usize>,
    /// The kind of the matrix that this tensor contains or is a part of.
    pub kind: MatrixKind,
    /// The layer; `None` outside the layers.
    pub layer: Option<usize>,
    /// The role on which the tensor's scheme depends; `None` for norms, routers and fused parts with different roles.
    pub role: Option<Role>,
}

/// Returns all matrices of a model, in the order in which a token passes through them. Omits a tied head.
pub fn matrices(config: &Config) -> impl Iterator<Item = MatrixSpec<'_>> {
    let [embedding, norm, head] = ends(config);
    let layers = (0..config.layers).flat_map(|i| layer(config, i));
    let head = Some(head).filter(|_| !config.tied_head);
    [embedding].into_iter().chain(layers).chain([norm]).chain(head)
}

/// Returns the matrices outside the layers: embedding, final norm, and the head, tied or not.
pub fn ends(config: &Config) -> [MatrixSpec<'_>; 3] {
    ENDS.each_ref().map(|definition| MatrixSpec { config, definition, layer: None })
}

/// Returns the matrices of a layer.
pub fn layer(config: &Config, layer: usize) -> impl Iterator<Item = MatrixSpec<'_>> {
    let network = if config.experts.is_some() { &MIXTURE[..] } else { &DENSE };
    let definitions = ATTENTION.iter().chain(network);
    definitions.map(move |definition| MatrixSpec { config, definition, layer: Some(layer) })
}

impl MatrixSpec<'_> {
    /// Returns the kind of the matrix.
    pub fn kind(&self) -> MatrixKind {
        self.definition.kind
    }

    /// Returns whether this is a mixture's router or experts, whose names depend on how the experts are stored.
    pub fn is_of_mixture(&self) -> bool {
        self.definition.stacked.is_some()
    }

    /// Returns whether each expert has such a matrix.
    pub fn is_of_experts(&self) -> bool {
        self.is_of_mixture() && self.kind() != Router
    }

    /// Returns the number of matrices: E for experts, else 1.
    pub fn count(&self) -> usize {
        if self.is_of_experts() { self.size(Experts) } else { 1 }
    }

    /// Returns the rows of each part.
    pub fn heights(&self) -> Vec<usize> {
        self.definition.parts.iter().map(|(.., rows)| self.size(*rows)).collect()
    }

    /// Returns the published tensors of one expert (`expert` is ignored without experts). `None` returns the tensors in
    /// which GGUF stacks all experts.
    pub fn parts(&self, expert: Option<usize>) -> Vec<TensorSpec> {
        let part = |(name, role, rows): &Part| self.tensor(name, self.size(*rows), *role, expert);
        self.definition.parts.iter().map(part).collect()
    }

    /// Returns all parts as one tensor, of one expert, or with `None` of all experts, stacked.
    pub fn whole(&self, expert: Option<usize>) -> TensorSpec {
        let Definition { parts, fused, stacked, .. } = self.definition;
        let stacked = stacked.filter(|_| expert.is_none());
        let (name, role) = parts.first().map_or(("", None), |(name, role, _)| (*name, *role));
        let role = role.filter(|_| parts.iter().all(|(_, other, _)| *other == role));
        self.tensor(stacked.or(*fused).unwrap_or(name), self.heights().iter().sum(), role, expert)
    }

    fn tensor(&self, name: &str, rows: usize, role: Option<Role>, expert: Option<usize>) -> TensorSpec {
        let name = match expert {
            Some(expert) => name.replace('*', &expert.to_string()),
            None => name.replace("*.", ""),
        };
        let name = self.layer.map_or(name.clone(), |layer| format!("model.layers.{layer}.{name}"));
        let experts = (self.is_of_experts() && expert.is_none()).then(|| self.size(Experts));
        // Norms are vectors.
        let rows = Some(rows).filter(|_| !matches!(self.definition.parts, [(.., One)]));
        let shape = experts.into_iter().chain(rows).chain([self.size(self.definition.columns)]).collect();
        TensorSpec { name, shape, kind: self.kind(), layer: self.layer, role }
    }

    fn size(&self, size: Size) -> usize {
        let config = self.config;
        match size {
            One => 1,
            Vocabulary => config.vocabulary_size,
            Hidden => config.hidden_size,
            Queries => config.query_heads * config.head_size,
            KeyValues => config.key_value_heads * config.head_size,
            Inner => config.intermediate_size,
            Experts => config.experts.map_or(1, |experts| experts.all),
        }
    }
}

impl Config {
    /// Returns the number of weights in total, and the number that one token uses.
    pub fn parameters(&self) -> (u64, u64) {
        let active = self.experts.map_or(1, |experts| experts.active);
        let of_matrix = |spec: MatrixSpec<'_>| {
            let weights = spec.whole(Some(0)).shape.iter().map(|size| *size as u64).product::<u64>();
            (weights * spec.count() as u64, weights * spec.count().min(active) as u64)
        };
        matrices(self).map(of_matrix).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Returns the default activation bits for products with quantized weights: 16 bits for a small model, else 8.
    ///
    /// With 8 bits, about half of the texts of a small model would change, and a small model is fast enough with 16
    /// bits. The default does not depend on the machine, so that a text is the same on every machine.
    pub fn activation_bits(&self) -> ActivationBits {
        /// Models with fewer parameters are small.
        const LARGE: u64 = 1 << 29;
        if self.parameters().0 < LARGE { ActivationBits::Sixteen } else { ActivationBits::Eight }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{Architecture, ExpertCount, Rope, RopeScaling};
    use crate::kernels::pointwise::RopeLayout;

    /// Returns a model with two layers, heads of size 4, a tied head, and these experts.
    fn config(experts: Option<ExpertCount>) -> Config {
        Config {
            architecture: Architecture::Mistral,
            vocabulary_size: 50,
            hidden_size: 16,
            intermediate_size: 24,
            layers: 2,
            query_heads: 6,
            key_value_heads: 2,
            head_size: 4,
            norm_epsilon: 1e-5,
            rope: Rope { theta: 1e4, layout: RopeLayout::HalfSplit, scaling: RopeScaling::None },
            context_length: 64,
            window: None,
            experts,
            tied_head: true,
            end_ids: Vec::new(),
            default_end_id: None,
        }
    }

    const EIGHT: Option<ExpertCount> = Some(ExpertCount { all: 8, active: 2 });

    #[test]
    fn tensors_have_roles_layers_and_shapes_one_by_one_fused_and_stacked() {
        let (dense, mixture) = (config(None), config(EIGHT));
        let tensors = |config| -> Vec<TensorSpec> {
            let [.., head] = ends(config);
            let each = matrices(config).chain([head]).flat_map(|spec| {
                let forms =
                    [spec.parts(Some(7)), spec.parts(None), vec![spec.whole(Some(7)), spec.whole(None)]];
                forms.concat()
            });
            each.collect()
        };
        let all = [tensors(&dense), tensors(&mixture)].concat();
        for (name, role, layer, shape) in [
            ("lm_head.weight", Some(Role::Head), None, &[50, 16][..]),
            ("model.layers.1.self_attn.v_proj.weight", Some(Role::Value), Some(1), &[8, 16]),
            ("model.layers.1.self_attn.qkv_proj.weight", None, Some(1), &[40, 16]),
            ("model.layers.0.self_attn.o_proj.weight", Some(Role::AttentionOutput), Some(0), &[16, 24]),
            ("model.layers.1.mlp.gate_up_proj.weight", Some(Role::GateUp), Some(1), &[48, 16]),
            ("model.layers.1.block_sparse_moe.experts.7.w2.weight", Some(Role::Down), Some(1), &[16, 24]),
            ("model.layers.1.block_sparse_moe.experts.w1.weight", Some(Role::GateUp), Some(1), &[8, 24, 16]),
            ("model.layers.0.mlp.experts.gate_up_proj", Some(Role::GateUp), Some(0), &[8, 48, 16]),
            ("model.layers.1.block_sparse_moe.gate.weight", None, Some(1), &[8, 16]),
            ("model.layers.1.mlp.gate.weight", None, Some(1), &[8, 16]),
            ("model.layers.1.input_layernorm.weight", None, Some(1), &[16]),
            ("model.norm.weight", None, None, &[16]),
        ] {
            let tensor = all.iter().find(|tensor| tensor.name == name).unwrap();
            assert_eq!((tensor.role, tensor.layer, tensor.shape.as_slice()), (role, layer, shape), "{name}");
        }
    }

    #[test]
    fn a_tied_head_is_no_matrix_and_only_active_experts_take_part_in_a_token() {
        let count = |config: &Config| matrices(config).filter(|spec| spec.kind() == MatrixKind::Head).count();
        let (tied, mixture) = (config(None), config(EIGHT));
        assert_eq!((count(&tied), count(&Config { tied_head: false, ..tied.clone() })), (0, 1));
        // The embedding; attention and norms of two layers; the final norm. 1152 is a network's three matrices.
        let others = 50 * 16 + 2 * (64 * 16 + 2 * 16) + 16;
        assert_eq!(tied.parameters(), (others + 2 * 1152, others + 2 * 1152));
        let routers = 2 * 8 * 16;
        assert_eq!(mixture.parameters(), (others + routers + 16 * 1152, others + routers + 4 * 1152));
    }
}

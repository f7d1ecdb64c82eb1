//! The tensors of a model as data: what each does, its shape, its names, and how they are fused and stacked.
//!
//! Validation, conversion, publishing and planning walk [`matrices`]; none of them lists tensors by itself. Names are those
//! of Hugging Face's checkpoints; a layout that has others renames these.

use super::config::Config;
use crate::quant::ActivationBits;
use crate::quant::mix::Role;

/// A matrix that the model computes with: one published tensor, or several, one below the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatrixKind {
    /// Token embedding, `(V, C)`.
    Embedding,
    /// Norm before the attention, `(1, C)`.
    AttentionNorm,
    /// Queries, keys, values: `((H + 2G)·D, C)`.
    QueriesKeysValues,
    /// Output of the attention, `(C, H·D)`.
    AttentionOutput,
    /// Norm before the feed-forward network, `(1, C)`.
    MlpNorm,
    /// The router of a mixture, `(E, C)`.
    Router,
    /// Gate, then up, of each network: `(2F, C)`.
    GateUp,
    /// Down, of each network: `(C, F)`.
    Down,
    /// Final norm, `(1, C)`.
    FinalNorm,
    /// The head, `(V, C)`.
    Head,
}

impl MatrixKind {
    /// Those of a layer, in the order in which a token meets them.
    pub const OF_LAYER: [Self; 7] =
        [AttentionNorm, QueriesKeysValues, AttentionOutput, MlpNorm, Router, GateUp, Down];

    /// What people call it.
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

/// A size of a [`Config`].
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

/// A published tensor: its name, what it does where a quantization asks for that, its rows.
type Part = (&'static str, Option<Role>, Size);

/// One kind of matrix. Names within a layer go without `model.layers.N.`; `*` stands for an expert's number.
#[derive(Debug)]
struct Definition {
    kind: MatrixKind,
    columns: Size,
    /// Its published tensors from top to bottom.
    parts: &'static [Part],
    /// The name of all parts as one tensor, where they are several.
    fused: Option<&'static str>,
    /// Of a mixture: the name where experts are fused and stacked, as transformers 5 and `mist` have them.
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

/// Embedding, final norm, head.
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

/// Under the names of Mixtral's authors.
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

/// A matrix of a model, or where networks are experts, one of each expert.
#[derive(Clone, Copy, Debug)]
pub struct MatrixSpec<'a> {
    config: &'a Config,
    definition: &'static Definition,
    /// Its layer; `None` outside the layers.
    pub layer: Option<usize>,
}

/// A tensor as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name in Hugging Face's checkpoints, or in transformers 5's where experts are fused and stacked.
    pub name: String,
    /// Dimensions in elements, the row last.
    pub shape: Vec<usize>,
    /// The matrix that it is, or is a part of.
    pub kind: MatrixKind,
    /// Its layer; `None` outside the layers.
    pub layer: Option<usize>,
    /// What it does, where its scheme depends on that: not of norms and routers, nor of several parts that differ in it.
    pub role: Option<Role>,
}

/// All matrices of a model, in the order in which a token meets them. A tied head is the embedding, and none of them.
pub fn matrices(config: &Config) -> impl Iterator<Item = MatrixSpec<'_>> {
    let [embedding, norm, head] = ends(config);
    let layers = (0..config.layers).flat_map(|i| layer(config, i));
    let head = Some(head).filter(|_| !config.tied_head);
    [embedding].into_iter().chain(layers).chain([norm]).chain(head)
}

/// The matrices outside the layers: embedding, final norm, and the head, tied or not.
pub fn ends(config: &Config) -> [MatrixSpec<'_>; 3] {
    ENDS.each_ref().map(|definition| MatrixSpec { config, definition, layer: None })
}

/// The matrices of one layer.
pub fn layer(config: &Config, layer: usize) -> impl Iterator<Item = MatrixSpec<'_>> {
    let network = if config.experts.is_some() { &MIXTURE[..] } else { &DENSE };
    let definitions = ATTENTION.iter().chain(network);
    definitions.map(move |definition| MatrixSpec { config, definition, layer: Some(layer) })
}

impl MatrixSpec<'_> {
    /// Which matrix.
    pub fn kind(&self) -> MatrixKind {
        self.definition.kind
    }

    /// Whether its names depend on how the experts are stored: a mixture's router and experts.
    pub fn is_of_mixture(&self) -> bool {
        self.definition.stacked.is_some()
    }

    /// Whether each expert has one.
    pub fn is_of_experts(&self) -> bool {
        self.is_of_mixture() && self.kind() != Router
    }

    /// How many there are: E of experts, else 1.
    pub fn count(&self) -> usize {
        if self.is_of_experts() { self.size(Experts) } else { 1 }
    }

    /// Rows of each part.
    pub fn heights(&self) -> Vec<usize> {
        self.definition.parts.iter().map(|(.., rows)| self.size(*rows)).collect()
    }

    /// The published tensors of one expert (any number where there are no experts), or with `None` those in which all
    /// experts are stacked, as GGUF has them.
    pub fn parts(&self, expert: Option<usize>) -> Vec<TensorSpec> {
        let part = |(name, role, rows): &Part| self.tensor(name, self.size(*rows), *role, expert);
        self.definition.parts.iter().map(part).collect()
    }

    /// All parts as one tensor, of one expert, or with `None` of all, stacked.
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
    /// Weights in all, and those that take part in one token.
    pub fn parameters(&self) -> (u64, u64) {
        let active = self.experts.map_or(1, |experts| experts.active);
        let of_matrix = |spec: MatrixSpec<'_>| {
            let weights = spec.whole(Some(0)).shape.iter().map(|size| *size as u64).product::<u64>();
            (weights * spec.count() as u64, weights * spec.count().min(active) as u64)
        };
        matrices(self).map(of_matrix).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// What activations are rounded to for products with blocks, where nobody asks for something else: 16 bits for a small
    /// model, of which 8 bits would change every other text while speed is plenty. (The machine makes no difference: a text
    /// is the same on every one.)
    pub fn activation_bits(&self) -> ActivationBits {
        /// Parameters of the smallest model that is not small.
        const LARGE: u64 = 1 << 29;
        if self.parameters().0 < LARGE { ActivationBits::Sixteen } else { ActivationBits::Eight }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{Architecture, ExpertCount, Rope, RopeScaling};
    use crate::kernels::pointwise::RopeLayout;

    /// A model of two layers with heads of size 4, tied, and with experts where they are counted.
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
        // Embedding, and twice attention, norms and three matrices; the final norm.
        let others = 50 * 16 + 2 * (64 * 16 + 2 * 16) + 16;
        assert_eq!(tied.parameters(), (others + 2 * 1152, others + 2 * 1152));
        let routers = 2 * 8 * 16;
        assert_eq!(mixture.parameters(), (others + routers + 16 * 1152, others + routers + 4 * 1152));
    }
}

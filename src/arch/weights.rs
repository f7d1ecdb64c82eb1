//! All weights of a model, layer by layer.

use super::schema::{MatrixKind, MatrixSpec};
use crate::quant::Matrix;

/// All weights of a model, over the mapped files.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Token embedding, `(V, C)`.
    pub embedding: Matrix,
    /// The layers, first to last.
    pub layers: Vec<LayerWeights>,
    /// Final norm, `(1, C)`.
    pub norm: Matrix,
    /// The head, `(V, C)`; the embedding again where the two are tied.
    pub head: Matrix,
}

/// One layer's weights.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// Norm before the attention, `(1, C)`.
    pub attention_norm: Matrix,
    /// Queries, keys, values: `((H + 2G)·D, C)`.
    pub qkv: Matrix,
    /// Output of the attention, `(C, H·D)`.
    pub output: Matrix,
    /// Norm before the feed-forward network, `(1, C)`.
    pub mlp_norm: Matrix,
    /// The feed-forward network.
    pub mlp: Mlp,
}

/// A feed-forward network.
#[derive(Clone, Debug)]
pub enum Mlp {
    /// One for all tokens.
    Dense(Experts),
    /// A mixture: a router `(E, C)` sends each token to some of the experts.
    Mixture {
        /// The router, `(E, C)`.
        router: Matrix,
        /// E experts.
        experts: Vec<Experts>,
    },
}

/// One gated feed-forward network, an expert where there are several.
#[derive(Clone, Debug)]
pub struct Experts {
    /// Gate, then up: `(2F, C)`.
    pub gate_up: Matrix,
    /// Down: `(C, F)`.
    pub down: Matrix,
}

impl LayerWeights {
    /// A layer of the matrices that `take` has of each kind: one, or of a mixture's networks one of each expert. Without
    /// a router it is no mixture. `None` if one is missing.
    pub fn assemble(mut take: impl FnMut(MatrixKind) -> Option<Vec<Matrix>>) -> Option<Self> {
        let mut one = |kind| take(kind)?.pop();
        let (attention_norm, qkv) = (one(MatrixKind::AttentionNorm)?, one(MatrixKind::QueriesKeysValues)?);
        let (output, mlp_norm) = (one(MatrixKind::AttentionOutput)?, one(MatrixKind::MlpNorm)?);
        let router = one(MatrixKind::Router);
        let networks = take(MatrixKind::GateUp)?.into_iter().zip(take(MatrixKind::Down)?);
        let mut networks = networks.map(|(gate_up, down)| Experts { gate_up, down });
        let mlp = match router {
            Some(router) => Mlp::Mixture { router, experts: networks.collect() },
            None => Mlp::Dense(networks.next()?),
        };
        Some(Self { attention_norm, qkv, output, mlp_norm, mlp })
    }

    /// Bytes of its matrices.
    pub fn size(&self) -> u64 {
        self.matrices().iter().map(|(_, matrix)| matrix.size() as u64).sum()
    }

    /// The layer's matrices.
    pub fn matrices(&self) -> Vec<(MatrixKind, &Matrix)> {
        let of_kind = |kind| self.of(kind).into_iter().map(move |matrix| (kind, matrix));
        MatrixKind::OF_LAYER.into_iter().flat_map(of_kind).collect()
    }

    /// Its matrices of one kind, in a mixture's networks one of each expert.
    fn of(&self, kind: MatrixKind) -> Vec<&Matrix> {
        let (router, networks) = match &self.mlp {
            Mlp::Dense(network) => (None, std::slice::from_ref(network)),
            Mlp::Mixture { router, experts } => (Some(router), experts.as_slice()),
        };
        match kind {
            MatrixKind::AttentionNorm => vec![&self.attention_norm],
            MatrixKind::QueriesKeysValues => vec![&self.qkv],
            MatrixKind::AttentionOutput => vec![&self.output],
            MatrixKind::MlpNorm => vec![&self.mlp_norm],
            MatrixKind::Router => router.into_iter().collect(),
            MatrixKind::GateUp => networks.iter().map(|network| &network.gate_up).collect(),
            MatrixKind::Down => networks.iter().map(|network| &network.down).collect(),
            MatrixKind::Embedding | MatrixKind::FinalNorm | MatrixKind::Head => Vec::new(),
        }
    }
}

impl Weights {
    /// The matrix that the schema describes, where networks are experts one of each expert.
    pub fn of(&self, spec: &MatrixSpec<'_>) -> Vec<&Matrix> {
        match (spec.kind(), spec.layer.and_then(|layer| self.layers.get(layer))) {
            (kind, Some(layer)) => layer.of(kind),
            (MatrixKind::Embedding, None) => vec![&self.embedding],
            (MatrixKind::FinalNorm, None) => vec![&self.norm],
            (MatrixKind::Head, None) => vec![&self.head],
            (_, None) => Vec::new(),
        }
    }

    /// All matrices with the names of what they do; a tied head is the embedding.
    pub fn matrices(&self, tied: bool) -> Vec<(String, &Matrix)> {
        let ends = [(MatrixKind::Embedding, &self.embedding), (MatrixKind::FinalNorm, &self.norm)];
        let head = (!tied).then_some((MatrixKind::Head, &self.head));
        let ends = ends.into_iter().chain(head);
        let mut all: Vec<_> = ends.map(|(kind, matrix)| (kind.description().to_string(), matrix)).collect();
        for (i, layer) in self.layers.iter().enumerate() {
            let named =
                |(kind, matrix): (MatrixKind, _)| (format!("layer {i}, {}", kind.description()), matrix);
            all.extend(layer.matrices().into_iter().map(named));
        }
        all
    }
}

//! All weights of a model, layer by layer.

use super::schema::{MatrixKind, MatrixSpec};
use crate::quant::Matrix;

/// All weights of a model, over the memory-mapped files.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Token embedding, `(V, C)`.
    pub embedding: Matrix,
    /// The layers, first to last.
    pub layers: Vec<LayerWeights>,
    /// Final norm, `(1, C)`.
    pub norm: Matrix,
    /// The head, `(V, C)`; the same matrix as the embedding if it is tied.
    pub head: Matrix,
}

/// One layer's weights.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// Norm before the attention, `(1, C)`.
    pub attention_norm: Matrix,
    /// Queries, keys and values: `((H + 2G)·D, C)`.
    pub qkv: Matrix,
    /// Output projection of the attention, `(C, H·D)`.
    pub output: Matrix,
    /// Norm before the feed-forward network, `(1, C)`.
    pub mlp_norm: Matrix,
    /// The feed-forward network.
    pub mlp: Mlp,
}

/// A feed-forward network.
#[derive(Clone, Debug)]
pub enum Mlp {
    /// A single network for all tokens.
    Dense(Experts),
    /// A mixture: a router sends each token to a few experts.
    Mixture {
        /// The router, `(E, C)`.
        router: Matrix,
        /// The E experts.
        experts: Vec<Experts>,
    },
}

/// A gated feed-forward network: the dense network, or an expert of a mixture.
#[derive(Clone, Debug)]
pub struct Experts {
    /// Gate, then up: `(2F, C)`.
    pub gate_up: Matrix,
    /// Down: `(C, F)`.
    pub down: Matrix,
}

impl LayerWeights {
    /// Assembles a layer from the matrices that `take` returns for each kind: one matrix, or one per expert for the
    /// networks of a mixture. Without a router the network is dense. `None` if a matrix is missing.
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

    /// Returns the size of the layer's matrices in bytes.
    pub fn size(&self) -> u64 {
        self.matrices().iter().map(|(_, matrix)| matrix.size() as u64).sum()
    }

    /// Returns the layer's matrices with their kinds.
    pub fn matrices(&self) -> Vec<(MatrixKind, &Matrix)> {
        let of_kind = |kind| self.of(kind).into_iter().map(move |matrix| (kind, matrix));
        MatrixKind::OF_LAYER.into_iter().flat_map(of_kind).collect()
    }

    /// Returns the layer's matrices of one kind: one matrix, or one per expert for the networks of a mixture.
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
    /// Returns the matrices that `spec` describes: one matrix, or one per expert for the networks of a mixture.
    pub fn of(&self, spec: &MatrixSpec<'_>) -> Vec<&Matrix> {
        match (spec.kind(), spec.layer.and_then(|layer| self.layers.get(layer))) {
            (kind, Some(layer)) => layer.of(kind),
            (MatrixKind::Embedding, None) => vec![&self.embedding],
            (MatrixKind::FinalNorm, None) => vec![&self.norm],
            (MatrixKind::Head, None) => vec![&self.head],
            (_, None) => Vec::new(),
        }
    }

    /// Returns all matrices with human-readable descriptions, without the head if it is `tied`.
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

//! All weights of a model, layer by layer.

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

impl Experts {
    fn matrices(&self) -> [(&'static str, &Matrix); 2] {
        [("gate and up", &self.gate_up), ("down", &self.down)]
    }
}

impl LayerWeights {
    /// Bytes of its matrices.
    pub fn size(&self) -> u64 {
        self.matrices().iter().map(|(_, matrix)| matrix.size() as u64).sum()
    }

    /// The layer's matrices with the names of what they do.
    pub fn matrices(&self) -> Vec<(&'static str, &Matrix)> {
        let mut all = vec![
            ("attention norm", &self.attention_norm),
            ("queries, keys and values", &self.qkv),
            ("attention output", &self.output),
            ("feed-forward norm", &self.mlp_norm),
        ];
        match &self.mlp {
            Mlp::Dense(dense) => all.extend(dense.matrices()),
            Mlp::Mixture { router, experts } => {
                all.push(("router", router));
                all.extend(experts.iter().flat_map(Experts::matrices));
            }
        }
        all
    }
}

impl Weights {
    /// All matrices with the names of what they do; a tied head is the embedding.
    pub fn matrices(&self, tied: bool) -> Vec<(String, &Matrix)> {
        let mut all = vec![("embedding".to_string(), &self.embedding), ("final norm".into(), &self.norm)];
        if !tied {
            all.push(("head".into(), &self.head));
        }
        for (i, layer) in self.layers.iter().enumerate() {
            all.extend(layer.matrices().into_iter().map(|(name, m)| (format!("layer {i}, {name}"), m)));
        }
        all
    }
}

//! Feed-forward networks: one gated network (Shazeer 2020), or a mixture of experts (Jiang et al. 2024), in which a
//! router sends each token to A of E networks.

use candle_core::Result;

use smallvec::SmallVec;

use crate::arch::{self, Experts};
use crate::kernels::pointwise::softmax;
use crate::quant::Rows;
use crate::tensor::{Target, Weight, ops};

/// A layer's feed-forward network.
#[derive(Clone, Debug)]
pub enum Mlp {
    /// One network for all tokens.
    Dense(Network),
    /// A router and its experts.
    Mixture(Mixture),
}

/// One gated network.
#[derive(Clone, Debug)]
pub struct Network {
    gate_up: Weight, // (2F, C)
    down: Weight,    // (C, F)
}

/// A mixture of E expert networks, of which A process each token.
#[derive(Clone, Debug)]
pub struct Mixture {
    router: Weight, // (E, C)
    experts: Vec<Network>,
    active: usize,
    /// Whether to hint to the system which experts are needed next, because the weights may not be in memory.
    reads_ahead: bool,
}

impl Mlp {
    /// Loads a layer's network to its device; `active` is A.
    ///
    /// # Errors
    /// The device has too little memory, or reports another error.
    pub fn load(weights: &arch::Mlp, active: usize, target: &Target) -> Result<Self> {
        match weights {
            arch::Mlp::Dense(network) => Ok(Mlp::Dense(Network::load(network, target)?)),
            arch::Mlp::Mixture { router, experts } => {
                let router = Weight::load(router, target)?;
                let experts = experts.iter().map(|e| Network::load(e, target)).collect::<Result<_>>()?;
                Ok(Mlp::Mixture(Mixture { router, experts, active, reads_ahead: false }))
            }
        }
    }

    /// Lets the network hint to the system which experts are needed next, for weights that do not all fit into memory.
    pub fn read_ahead(&mut self) {
        if let Mlp::Mixture(mixture) = self {
            mixture.reads_ahead = true;
        }
    }

    /// Adds the network's output for `x (T, C)` to `residual (T, C)`; returns `(T, C)`.
    ///
    /// # Errors
    /// The device has too little memory, or reports another error.
    pub fn forward(&self, x: &Rows, residual: Rows) -> Result<Rows> {
        match self {
            Mlp::Dense(network) => network.forward(x, residual),
            Mlp::Mixture(mixture) => ops::add(residual, &mixture.forward(x)?), // (T, C)
        }
    }
}

impl Network {
    fn load(weights: &Experts, target: &Target) -> Result<Self> {
        let gate_up = Weight::load(&weights.gate_up, target)?;
        Ok(Self { gate_up, down: Weight::load(&weights.down, target)? })
    }

    fn will_be_needed(&self) {
        self.gate_up.will_be_needed();
        self.down.will_be_needed();
    }

    fn forward(&self, x: &Rows, residual: Rows) -> Result<Rows> {
        let gate_up = ops::linear(x, &self.gate_up)?; // (T, 2F)
        ops::linear_add(&ops::swiglu(&gate_up)?, &self.down, residual) // (T, C)
    }
}

impl Mixture {
    /// Computes the mixture's output for `x (T, C)`.
    ///
    /// Tokens are sorted by expert, so that each expert multiplies all its tokens at once and the products of all
    /// experts are one job. A token's expert outputs are added in the order of the experts, so that the sum does not
    /// depend on the other tokens of the batch.
    fn forward(&self, x: &Rows) -> Result<Rows> {
        let count = x.count()?;
        let logits = ops::linear(x, &self.router)?.to_host()?; // (T, E)
        let routed = Routed::new(&logits, self.experts.len(), self.active);
        if self.reads_ahead {
            routed.runs(&self.experts).for_each(|(_, expert)| expert.will_be_needed());
        }
        let x = ops::select(x, &routed.tokens)?; // (T·A, C)
        let weights = |of: fn(&Network) -> &Weight| {
            routed.runs(&self.experts).map(move |(tokens, expert)| (tokens, of(expert)))
        };
        let gate_up = ops::grouped_linear(&x, weights(|expert| &expert.gate_up))?; // (T·A, 2F)
        let outputs = ops::grouped_linear(&ops::swiglu(&gate_up)?, weights(|expert| &expert.down))?; // (T·A, C)
        ops::sum_by_token(&outputs, &routed.tokens, &routed.weights, count) // (T, C)
    }
}

/// A list with one element per token and expert of a batch. It needs no heap allocation for 32 sequences that decode
/// with two experts each.
type PerRoute<T> = SmallVec<[T; 64]>;

/// Which tokens go to which experts, with which routing weights: sorted by expert, then by token.
struct Routed {
    tokens: PerRoute<u32>,  // (T·A)
    weights: PerRoute<f32>, // (T·A)
    /// Number of tokens of each expert.
    counts: SmallVec<[usize; 8]>, // (E)
}

impl Routed {
    /// Routes each token to `active` of `experts` by the router's `logits (T, E)`.
    fn new(logits: &[f32], experts: usize, active: usize) -> Self {
        let mut routes = PerRoute::<(u32, u32, f32)>::new();
        for (token, logits) in (0..).zip(logits.chunks_exact(experts.max(1))) {
            let of_token = route(logits, active).into_iter();
            routes.extend(of_token.map(|(expert, weight)| (expert as u32, token, weight)));
        }
        routes.sort_unstable_by_key(|(expert, token, _)| (*expert, *token));
        let mut counts = SmallVec::from_elem(0, experts);
        routes.iter().for_each(|(expert, ..)| counts[*expert as usize] += 1);
        Self {
            tokens: routes.iter().map(|(_, token, _)| *token).collect(),
            weights: routes.iter().map(|(.., weight)| *weight).collect(),
            counts,
        }
    }

    /// Yields each expert that has tokens, with their number.
    fn runs<'a, T>(&'a self, experts: &'a [T]) -> impl Iterator<Item = (usize, &'a T)> + Clone {
        self.counts.iter().copied().zip(experts).filter(|(tokens, _)| *tokens > 0)
    }
}

/// Returns the A experts with the largest of E logits for one token, with their routing weights: the softmax over the
/// chosen logits. Among equal logits, the first is chosen.
fn route(logits: &[f32], active: usize) -> SmallVec<[(usize, f32); 8]> {
    let mut order: SmallVec<[usize; 16]> = (0..logits.len()).collect();
    // An unstable sort does not allocate. Comparing indices too makes the order of equal logits deterministic.
    order.sort_unstable_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    order.truncate(active);
    let mut weights: SmallVec<[f32; 8]> = order.iter().map(|e| logits[*e]).collect();
    softmax(&mut weights);
    order.into_iter().zip(weights).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_the_largest_logits_with_weights_that_add_up() {
        let routed = route(&[0.5, 2.0, -1.0, 2.0, 1.0], 3);
        let (experts, weights): (Vec<usize>, Vec<f32>) = routed.into_iter().unzip();
        assert_eq!(experts, [1, 3, 4]);
        assert_eq!(weights[0], weights[1]);
        assert!((weights[2] / weights[0] - (-1.0f32).exp()).abs() < 1e-6);
        assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}

//! Feed-forward networks: one gated network (Shazeer 2020), or a mixture of them (Jiang et al. 2024) in which
//! a router sends each token to A of E experts.

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

/// E networks, of which A answer a token.
#[derive(Clone, Debug)]
pub struct Mixture {
    router: Weight, // (E, C)
    experts: Vec<Network>,
    active: usize,
    /// The weights may not be in memory: the system is told which experts come next.
    reads_ahead: bool,
}

impl Mlp {
    /// A layer's network on its device; `active` is A.
    ///
    /// # Errors
    /// Errors of the device.
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

    /// Tells the system from now on which experts come next: for weights that do not all fit into memory.
    pub fn read_ahead(&mut self) {
        if let Mlp::Mixture(mixture) = self {
            mixture.reads_ahead = true;
        }
    }

    /// Adds the network's answer to `x (T, C)` to `residual (T, C)`: `(T, C)`.
    ///
    /// # Errors
    /// Errors of the device.
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
    /// Tokens are sorted by expert, so that each expert takes its own at once and all experts' products are one job. A
    /// token's answers are added in the order of the experts, so that the sum does not depend on which tokens it shares a
    /// step with.
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
        let answers = ops::grouped_linear(&ops::swiglu(&gate_up)?, weights(|expert| &expert.down))?; // (T·A, C)
        ops::sum_by_token(&answers, &routed.tokens, &routed.shares, count) // (T, C)
    }
}

/// One for each token and expert of a step, kept without an allocation where 32 texts are generated with two experts each.
type Each<T> = SmallVec<[T; 64]>;

/// Which tokens go to which experts, with which share of the answer: sorted by expert, then by token.
struct Routed {
    tokens: Each<u32>, // (T·A)
    shares: Each<f32>, // (T·A)
    /// Tokens of each expert.
    counts: SmallVec<[usize; 8]>, // (E)
}

impl Routed {
    /// By the router's `logits (T, E)`: each token goes to `active` of `experts`.
    fn new(logits: &[f32], experts: usize, active: usize) -> Self {
        let mut routes = Each::<(u32, u32, f32)>::new();
        for (token, logits) in (0..).zip(logits.chunks_exact(experts.max(1))) {
            let of_token = route(logits, active).into_iter();
            routes.extend(of_token.map(|(expert, share)| (expert as u32, token, share)));
        }
        routes.sort_unstable_by_key(|(expert, token, _)| (*expert, *token));
        let mut counts = SmallVec::from_elem(0, experts);
        routes.iter().for_each(|(expert, ..)| counts[*expert as usize] += 1);
        Self {
            tokens: routes.iter().map(|(_, token, _)| *token).collect(),
            shares: routes.iter().map(|(.., share)| *share).collect(),
            counts,
        }
    }

    /// Of each expert that has tokens how many, and the expert.
    fn runs<'a, T>(&'a self, experts: &'a [T]) -> impl Iterator<Item = (usize, &'a T)> + Clone {
        self.counts.iter().copied().zip(experts).filter(|(tokens, _)| *tokens > 0)
    }
}

/// The experts of one token, A of E logits, with their shares: the softmax over the chosen logits. Of equal
/// logits the first is chosen.
fn route(logits: &[f32], active: usize) -> SmallVec<[(usize, f32); 8]> {
    let mut order: SmallVec<[usize; 16]> = (0..logits.len()).collect();
    // By number where logits are equal, which an unstable sort would not keep by itself; a stable one allocates.
    order.sort_unstable_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    order.truncate(active);
    let mut shares: SmallVec<[f32; 8]> = order.iter().map(|e| logits[*e]).collect();
    softmax(&mut shares);
    order.into_iter().zip(shares).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_the_largest_logits_with_shares_that_add_up() {
        let routed = route(&[0.5, 2.0, -1.0, 2.0, 1.0], 3);
        let (experts, shares): (Vec<usize>, Vec<f32>) = routed.into_iter().unzip();
        assert_eq!(experts, [1, 3, 4]);
        assert_eq!(shares[0], shares[1]);
        assert!((shares[2] / shares[0] - (-1.0f32).exp()).abs() < 1e-6);
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}

//! Feed-forward networks: one gated network (Shazeer 2020), or a mixture of them (Jiang et al. 2024) in which
//! a router sends each token to A of E experts.

use candle_core::{DType, Device, Result, Tensor};

use crate::checkpoint::{self, Experts};
use crate::kernels::rows::softmax;
use crate::kernels::{Weight, ops};

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
    /// What candle reports.
    pub fn load(
        weights: &checkpoint::Mlp,
        active: usize,
        device: &Device,
        dtype: Option<DType>,
    ) -> Result<Self> {
        match weights {
            checkpoint::Mlp::Dense(network) => Ok(Mlp::Dense(Network::load(network, device, dtype)?)),
            checkpoint::Mlp::Mixture { router, experts } => {
                let router = Weight::load(router, device, dtype)?;
                let experts =
                    experts.iter().map(|e| Network::load(e, device, dtype)).collect::<Result<_>>()?;
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

    /// The network's answer to `x (T, C)`: `(T, C)`.
    ///
    /// # Errors
    /// What candle reports.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Mlp::Dense(network) => network.forward(x),
            Mlp::Mixture(mixture) => mixture.forward(x),
        }
    }
}

impl Network {
    fn load(weights: &Experts, device: &Device, dtype: Option<DType>) -> Result<Self> {
        let gate_up = Weight::load(&weights.gate_up, device, dtype)?;
        Ok(Self { gate_up, down: Weight::load(&weights.down, device, dtype)? })
    }

    fn will_be_needed(&self) {
        self.gate_up.will_be_needed();
        self.down.will_be_needed();
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let gate_up = ops::linear(x, &self.gate_up)?; // (T, 2F)
        ops::linear(&ops::swiglu(&gate_up)?, &self.down) // (T, C)
    }
}

impl Mixture {
    /// Each expert takes its tokens at once; a token's answers are added in the order of the experts, so that
    /// the sum does not depend on which tokens it shares a chunk with.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let logits = ops::to_host(&ops::linear(x, &self.router)?)?; // (T, E)
        let routes: Vec<Vec<(usize, f32)>> =
            logits.chunks_exact(self.experts.len()).map(|logits| route(logits, self.active)).collect(); // T of A
        if self.reads_ahead {
            let is_chosen = |e: &usize| routes.iter().flatten().any(|(to, _)| to == e);
            (0..self.experts.len()).filter(is_chosen).for_each(|e| self.experts[e].will_be_needed());
        }
        let mut sum = x.zeros_like()?; // (T, C)
        for (e, expert) in self.experts.iter().enumerate() {
            let (tokens, shares): (Vec<u32>, Vec<f32>) = routes
                .iter()
                .enumerate()
                .filter_map(|(token, route)| Some((token as u32, route.iter().find(|(to, _)| *to == e)?.1)))
                .unzip();
            if tokens.is_empty() {
                continue;
            }
            let shares = Tensor::new(shares, x.device())?.to_dtype(x.dtype())?.unsqueeze(1)?; // (Te, 1)
            let tokens = Tensor::new(tokens, x.device())?; // (Te)
            let answers = expert.forward(&x.index_select(&tokens, 0)?)?; // (Te, C)
            sum = sum.index_add(&tokens, &answers.broadcast_mul(&shares)?, 0)?; // (T, C)
        }
        Ok(sum)
    }
}

/// The experts of one token, A of E logits, with their shares: the softmax over the chosen logits. Of equal
/// logits the first is chosen.
fn route(logits: &[f32], active: usize) -> Vec<(usize, f32)> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    order.truncate(active);
    let mut shares: Vec<f32> = order.iter().map(|e| logits[*e]).collect();
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

//! Perplexity: how well a model predicts a text.
//!
//! Knows token ids and logits. Never knows text or files.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Result;

use crate::kernels::attention::CacheType;
use crate::model::{Segment, Transformer};
use crate::tensor::ops;

/// Tokens that are computed at once; their logits, `(T, V)`, are the largest thing in memory.
const CHUNK: usize = 128;

/// The likelihood of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Likelihood {
    /// Tokens that were scored: of each window all but the first.
    pub scored: usize,
    /// The sum of their negative log-likelihoods, in nats.
    pub total: f64,
}

impl Likelihood {
    /// Mean negative log-likelihood a token, in nats.
    pub fn mean(&self) -> f64 {
        self.total / self.scored as f64
    }

    /// exp of the mean.
    pub fn perplexity(&self) -> f64 {
        libm::exp(self.mean())
    }
}

/// Scores `ids` in windows of `window` tokens, each with an empty cache and from its second token on. `progress` is
/// told how many tokens are computed, after each layer.
///
/// # Errors
/// A window is longer than the context, or what candle reports.
pub fn likelihood(
    model: &Transformer,
    ids: &[u32],
    window: usize,
    cache_dtype: CacheType,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Likelihood> {
    let layers = model.config().layers.max(1);
    // Tokens times layers.
    let computed = AtomicUsize::new(0);
    let on_layer = |segments: &[Segment]| {
        let tokens: usize = segments.iter().map(|s| s.tokens).sum();
        progress((computed.fetch_add(tokens, Ordering::Relaxed) + tokens) / layers);
        ControlFlow::Continue(())
    };
    let mut sum = Likelihood::default();
    for window in ids.chunks(window.max(1)) {
        let mut cache = model.cache(cache_dtype, CHUNK, window.len());
        for (i, chunk) in window.chunks(CHUNK).enumerate() {
            let hidden = model.hidden_watched(chunk, &mut cache, Some(&on_layer))?; // (T, C)
            let next = &window[i * CHUNK + 1..(i * CHUNK + 1 + chunk.len()).min(window.len())];
            if !next.is_empty() {
                let scored: Vec<u32> = (0..next.len() as u32).collect();
                let logits = model.logits(&ops::select(&hidden, &scored)?)?; // (T, V)
                let rows = logits.chunks_exact(logits.width());
                sum.total +=
                    rows.zip(next).map(|(row, id)| negative_log_likelihood(row, *id as usize)).sum::<f64>();
                sum.scored += next.len();
            }
        }
    }
    Ok(sum)
}

/// `-log softmax(logits)[id]`, summed in f64 with the largest logit subtracted first.
fn negative_log_likelihood(logits: &[f32], id: usize) -> f64 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|logit| libm::exp(f64::from(*logit) - largest)).sum();
    libm::log(sum) + largest - logits.get(id).map_or(f64::NEG_INFINITY, |logit| f64::from(*logit))
}

//! Measures perplexity, a measure of how well a model predicts a text.
//!
//! Knows about token ids and logits, but not about text or files.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::generate::{Engine, Event, GenerationError, Limits, NextToken, Request, Watch, sequence_slots};
use crate::kernels::attention::CacheType;
use crate::model::Transformer;

/// The likelihood of a text under a model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Likelihood {
    /// Number of scored tokens: all but the first of each window.
    pub scored: usize,
    /// Sum of the tokens' negative log-likelihoods, in nats.
    pub total: f64,
}

impl Likelihood {
    /// Returns the mean negative log-likelihood per token, in nats.
    pub fn mean(&self) -> f64 {
        self.total / self.scored as f64
    }

    /// Returns the perplexity: exp of the mean.
    pub fn perplexity(&self) -> f64 {
        libm::exp(self.mean())
    }
}

/// Scores `ids` in windows of `window` tokens. Each window begins with an empty cache, and is scored from its second
/// token on. Calls `progress` after each layer with the number of computed tokens.
///
/// # Errors
/// A window is longer than the context; a token is beyond the vocabulary; a device error.
pub fn likelihood(
    model: &Arc<Transformer>,
    ids: &[u32],
    window: usize,
    cache_dtype: CacheType,
    progress: impl Fn(usize) + Send + Sync + 'static,
) -> Result<Likelihood, GenerationError> {
    let window = window.clamp(1, ids.len().max(1));
    let limits = Limits::new(model, cache_dtype, sequence_slots(model.config(), window));
    let mut engine = Engine::new(model.clone(), limits);
    engine.watch(Watch::new(|| false, move |done, _| progress(done)));
    let mut sum = Likelihood::default();
    for window in ids.chunks(window) {
        engine.add(Request {
            prompt: window.to_vec(),
            next: NextToken::Given(VecDeque::new()),
            most: Some(0),
            end_ids: Vec::new(),
            text: None,
            scores: true,
            reuse: 0,
        })?;
        while !engine.is_idle() {
            for (_, event) in engine.step()? {
                match event {
                    Event::Scores(scores) => {
                        sum.total -= scores.iter().sum::<f64>();
                        sum.scored += scores.len();
                    }
                    Event::End(ended) => drop(ended?),
                    Event::Token { .. } => {}
                }
            }
        }
    }
    Ok(sum)
}

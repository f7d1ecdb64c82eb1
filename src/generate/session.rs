//! One sequence of tokens and the cache that holds it.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use candle_core::{DType, Tensor};

use super::sampler::{Sampler, SamplingError};
use crate::model::{Cache, Transformer};

/// Tokens of a prompt that are computed at once.
pub const CHUNK: usize = 256;

/// A sequence that can be continued: prompts that begin as the last sequence did are computed only from where
/// they differ.
#[derive(Debug)]
pub struct Session<'m> {
    model: &'m Transformer,
    cache: Cache,
    /// The ids whose keys and values the cache holds.
    ids: Vec<u32>,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// An end token, or the caller, who found a stop text.
    Stop,
    /// The number of tokens asked for, or the context, is used up.
    Length,
    /// It was interrupted.
    Interrupted,
}

impl Finish {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::Interrupted => "interrupted",
        }
    }
}

/// How long the parts of a generation took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// Tokens of the prompt that were computed: those that were not in the cache.
    pub prompt_tokens: usize,
    /// Tokens of the prompt that the cache held.
    pub cached_tokens: usize,
    /// The time of those that were computed.
    pub prompt: Duration,
    /// Tokens that were generated, an end token included.
    pub generated_tokens: usize,
    /// The time after the prompt.
    pub generate: Duration,
    /// From the start to the first token.
    pub first_token: Duration,
}

impl Timings {
    /// Prompt tokens a second.
    pub fn prompt_rate(&self) -> f64 {
        rate(self.prompt_tokens, self.prompt)
    }

    /// Generated tokens a second. The first comes with the prompt; the time after it makes the others.
    pub fn generate_rate(&self) -> f64 {
        rate(self.generated_tokens.saturating_sub(1), self.generate)
    }
}

fn rate(tokens: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { tokens as f64 / time.as_secs_f64() }
}

/// What came of a generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The new ids, without an end token.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// How long it took.
    pub timings: Timings,
}

/// What can go wrong in a session.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SessionError {
    #[error("the prompt is empty: the model needs at least one token to continue")]
    EmptyPrompt,
    #[error("the prompt has {tokens} tokens, the model's context is {context}: there is no room for a reply")]
    PromptTooLong { tokens: usize, context: usize },
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl<'m> Session<'m> {
    /// A session of `model` with an empty cache in `cache_dtype`.
    pub fn new(model: &'m Transformer, cache_dtype: DType) -> Self {
        Self { model, cache: model.cache(cache_dtype, CHUNK), ids: Vec::new() }
    }

    /// Positions that the model was made for.
    pub fn context_length(&self) -> usize {
        self.model.config().context_length
    }

    /// Continues `prompt`, a whole sequence from its first token.
    ///
    /// Every new id but an end one is given to `on_token`, which breaks to end the generation. At most
    /// `most` ids are made, and no more than the context holds. `interrupt` ends it between two tokens, or
    /// between two chunks of the prompt.
    ///
    /// # Errors
    /// The prompt is empty or fills the context; logits are no numbers; or what candle reports.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        sampler: &mut Sampler,
        end_ids: &[u32],
        most: Option<usize>,
        interrupt: &AtomicBool,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Generation, SessionError> {
        let start = Instant::now();
        let context = self.context_length();
        if prompt.len() >= context {
            return Err(SessionError::PromptTooLong { tokens: prompt.len(), context });
        }
        let most = most.unwrap_or(usize::MAX).min(context - prompt.len());
        let mut sequence = prompt.to_vec();
        let mut timings = Timings::default();
        let mut finish = if most == 0 { Finish::Length } else { Finish::Interrupted };
        let Some(mut hidden) = self.prefill(prompt, interrupt, &mut timings)? else {
            return Ok(Generation { ids: Vec::new(), finish: Finish::Interrupted, timings });
        };
        timings.prompt = start.elapsed();
        let mut decode_start = Instant::now();
        while timings.generated_tokens < most && !interrupt.load(Ordering::Relaxed) {
            let mut logits = self.model.logits(&hidden)?; // (1, V)
            let id = sampler.choose(&mut logits, &sequence)?;
            timings.generated_tokens += 1;
            if timings.generated_tokens == 1 {
                timings.first_token = start.elapsed();
                decode_start = Instant::now();
            }
            if end_ids.contains(&id) {
                finish = Finish::Stop;
                break;
            }
            sequence.push(id);
            if on_token(id).is_break() {
                finish = Finish::Stop;
                break;
            }
            if timings.generated_tokens == most {
                finish = Finish::Length;
                break;
            }
            hidden = self.extend(&[id])?; // (1, C)
        }
        timings.generate = decode_start.elapsed();
        Ok(Generation { ids: sequence.split_off(prompt.len()), finish, timings })
    }

    /// Computes what the cache does not hold of `prompt`; the last row of the residual stream, `(1, C)`, or
    /// `None` if it was interrupted.
    fn prefill(
        &mut self,
        prompt: &[u32],
        interrupt: &AtomicBool,
        timings: &mut Timings,
    ) -> Result<Option<Tensor>, SessionError> {
        let Some(all_but_last) = prompt.len().checked_sub(1) else {
            return Err(SessionError::EmptyPrompt);
        };
        // The last token is computed anew even if the cache holds it: its logits are needed.
        let common = self.ids.iter().zip(&prompt[..all_but_last]).take_while(|(a, b)| a == b).count();
        let kept = self.cache.truncate(common);
        self.ids.truncate(kept);
        (timings.prompt_tokens, timings.cached_tokens) = (prompt.len() - kept, kept);
        let mut last = None;
        for chunk in prompt[kept..].chunks(self.cache.chunk()) {
            if interrupt.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let hidden = self.extend(chunk)?; // (T, C)
            last = Some(hidden.narrow(0, chunk.len() - 1, 1)?); // (1, C)
        }
        Ok(last)
    }

    fn extend(&mut self, ids: &[u32]) -> Result<Tensor, SessionError> {
        let hidden = self.model.hidden(ids, &mut self.cache)?; // (T, C)
        self.ids.extend_from_slice(ids);
        Ok(hidden)
    }
}

//! A text that grows token by token, whatever it is computed with.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::sampler::{Sampler, SamplingError};
use crate::system::quote::counted;

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// An end token, or the caller, who found a stop text.
    Stop,
    /// The number of tokens asked for is used up.
    Length,
    /// The context is full, before as many tokens as were asked for.
    Context,
    /// It was interrupted.
    Interrupted,
}

impl Finish {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::Context => "context",
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
    /// Prompt tokens a second; `None` where none were computed.
    pub fn prompt_rate(&self) -> Option<f64> {
        rate(self.prompt_tokens, self.prompt)
    }

    /// Generated tokens a second. The first comes with the prompt; the time after it makes the others. `None` where there
    /// are none.
    pub fn generate_rate(&self) -> Option<f64> {
        rate(self.generated_tokens.saturating_sub(1), self.generate)
    }
}

fn rate(tokens: usize, time: Duration) -> Option<f64> {
    (tokens > 0 && !time.is_zero()).then(|| tokens as f64 / time.as_secs_f64())
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

/// What can go wrong in a generation.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum GenerationError {
    #[error("the prompt is empty: the model needs at least one token to continue")]
    EmptyPrompt,
    #[error("the prompt has {}, the model's context is {context}: there is no room for a reply", counted(*tokens, "token"))]
    PromptTooLong { tokens: usize, context: usize },
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// A prompt and what follows it so far.
#[derive(Debug)]
pub(super) struct Growth {
    ids: Vec<u32>,
    prompt: usize,
    most: usize,
    /// Why it ends after so many.
    at_most: Finish,
    timings: Timings,
    start: Instant,
    decode_start: Instant,
}

impl Growth {
    /// Of `prompt`, by at most `most` tokens, and no more than `context` holds.
    ///
    /// # Errors
    /// The prompt is empty, or fills the context.
    pub fn new(prompt: &[u32], most: Option<usize>, context: usize) -> Result<Self, GenerationError> {
        let room = room(prompt, context)?;
        let start = Instant::now();
        Ok(Self {
            ids: prompt.to_vec(),
            prompt: prompt.len(),
            most: most.unwrap_or(usize::MAX).min(room),
            at_most: if most.is_some_and(|most| most <= room) { Finish::Length } else { Finish::Context },
            timings: Timings::default(),
            start,
            decode_start: start,
        })
    }

    /// The prompt and what follows it.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Tokens of the prompt.
    pub fn prompt_len(&self) -> usize {
        self.prompt
    }

    /// The newest token.
    pub fn last(&self) -> u32 {
        self.ids.last().copied().unwrap_or_default()
    }

    /// The prompt was computed, of which `cached` tokens were in the cache.
    pub fn begin(&mut self, cached: usize) {
        (self.timings.prompt_tokens, self.timings.cached_tokens) = (self.prompt - cached, cached);
        self.timings.prompt = self.start.elapsed();
    }

    /// Chooses the next token, and says whether it was the last one.
    ///
    /// # Errors
    /// The logits are no numbers.
    pub fn take(
        &mut self,
        logits: &mut [f32],
        sampler: &mut Sampler,
        end_ids: &[u32],
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Option<Finish>, GenerationError> {
        if self.most == 0 {
            return Ok(Some(self.at_most));
        }
        let id = sampler.choose(logits, &self.ids)?;
        self.timings.generated_tokens += 1;
        if self.timings.generated_tokens == 1 {
            self.timings.first_token = self.start.elapsed();
            self.decode_start = Instant::now();
        }
        if end_ids.contains(&id) {
            return Ok(Some(Finish::Stop));
        }
        self.ids.push(id);
        if on_token(id).is_break() {
            return Ok(Some(Finish::Stop));
        }
        Ok((self.timings.generated_tokens == self.most).then_some(self.at_most))
    }

    /// What came of it.
    pub fn end(mut self, finish: Finish) -> Generation {
        if self.timings.generated_tokens > 0 {
            self.timings.generate = self.decode_start.elapsed();
        }
        Generation { ids: self.ids.split_off(self.prompt), finish, timings: self.timings }
    }
}

/// Tokens that there is room for after a prompt.
///
/// # Errors
/// The prompt is empty, or fills the context.
pub fn room(prompt: &[u32], context: usize) -> Result<usize, GenerationError> {
    match context.checked_sub(prompt.len()) {
        _ if prompt.is_empty() => Err(GenerationError::EmptyPrompt),
        None | Some(0) => Err(GenerationError::PromptTooLong { tokens: prompt.len(), context }),
        Some(room) => Ok(room),
    }
}

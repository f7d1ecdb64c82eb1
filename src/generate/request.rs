//! What an engine is asked for, and what comes of it.

use std::collections::VecDeque;
use std::time::Duration;

use super::sampler::{Sampler, SamplingError};
use super::stream::TextStream;
use crate::system::quote::counted;

/// A prompt to be continued, and how.
#[derive(Debug)]
pub struct Request {
    /// The whole sequence from its first token: at least one.
    pub prompt: Vec<u32>,
    /// Where the tokens after it come from.
    pub next: NextToken,
    /// Most tokens that are generated; `None` for as many as the context has room for.
    pub most: Option<usize>,
    /// Ids that end the sequence. They are not part of what is generated.
    pub end_ids: Vec<u32>,
    /// Turns ids into text, and knows the texts that end the sequence; `None` where nobody reads it.
    pub text: Option<TextStream>,
    /// The prompt's tokens are scored, from its second on, as far as they are computed and not taken from a cache.
    pub scores: bool,
    /// Most tokens of the prompt that are taken from a cache that the engine still holds.
    pub reuse: usize,
}

/// Where the tokens of a sequence come from.
#[derive(Debug)]
pub enum NextToken {
    /// Each is chosen by the logits.
    Sampled(Box<Sampler>),
    /// They are given. All are computed, and the logits after each for nothing; then the sequence ends.
    Given(VecDeque<u32>),
}

impl Request {
    /// Continues `prompt` by what `sampler` chooses, as far as the context has room, without text and scores.
    pub fn new(prompt: Vec<u32>, sampler: Sampler) -> Self {
        let next = NextToken::Sampled(Box::new(sampler));
        Self { prompt, next, most: None, end_ids: Vec::new(), text: None, scores: false, reuse: usize::MAX }
    }
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// An end token or a stop text.
    Stop,
    /// The number of tokens asked for is used up.
    Length,
    /// The context is full, before as many tokens as were asked for.
    Context,
    /// It was cancelled.
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
    /// A stop text ended it.
    pub stop_text: bool,
    /// How long it took.
    pub timings: Timings,
}

/// A sequence that has ended.
#[derive(Debug)]
pub struct Ended {
    /// What came of it.
    pub generation: Generation,
    /// The text that was held back because it might have become a stop text.
    pub rest: String,
    /// Where its tokens came from: a sampler's random numbers have gone on.
    pub next: NextToken,
}

/// What can go wrong in a generation. Errors of a device are passed through.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum GenerationError {
    #[error("the prompt is empty: the model needs at least one token to continue")]
    EmptyPrompt,
    #[error("the prompt has {}, the model's context is {context}: there is no room for a reply", counted(*tokens, "token"))]
    PromptTooLong { tokens: usize, context: usize },
    #[error("token {id} is beyond the vocabulary of {vocabulary}")]
    UnknownToken { id: u32, vocabulary: usize },
    #[error("a sequence of {} needs more memory than all KV caches may take, which is that of {most}", counted(*positions, "token"))]
    NoMemory { positions: usize, most: usize },
    #[error("there is no such sequence")]
    NoSequence,
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
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

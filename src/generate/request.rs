//! Requests to an engine, and their results.

use std::collections::VecDeque;
use std::time::Duration;

use super::sampler::{Sampler, SamplingError};
use super::stream::TextStream;
use crate::system::quote::counted;
use crate::tensor::DeviceError;

/// A prompt, and how to continue it.
#[derive(Debug)]
pub struct Request {
    /// All tokens of the prompt, from the first position on; at least one.
    pub prompt: Vec<u32>,
    /// Where the tokens after the prompt come from.
    pub next: NextToken,
    /// Maximum number of generated tokens; `None` for as many as fit into the context.
    pub most: Option<usize>,
    /// Ids that end the sequence. They are not part of the generated ids.
    pub end_ids: Vec<u32>,
    /// Converts ids to text, and finds the stop texts that end the sequence; `None` if the text is not needed.
    pub text: Option<TextStream>,
    /// Whether to score the prompt's tokens, from the second on. Tokens that are taken from a cache are not scored.
    pub scores: bool,
    /// Maximum number of prompt tokens that may be taken from another sequence's cache.
    pub reuse: usize,
}

/// Where the tokens of a sequence come from.
#[derive(Clone, Debug)]
pub enum NextToken {
    /// A sampler chooses each token by the logits.
    Sampled(Box<Sampler>),
    /// The tokens are given, for benchmarks. All of them are computed, with the logits after each, and then the
    /// sequence ends.
    Given(VecDeque<u32>),
}

impl Request {
    /// Creates a request that continues `prompt` with tokens chosen by `sampler` until the context is full, without
    /// text and scores.
    pub fn new(prompt: Vec<u32>, sampler: Sampler) -> Self {
        let next = NextToken::Sampled(Box::new(sampler));
        Self { prompt, next, most: None, end_ids: Vec::new(), text: None, scores: false, reuse: usize::MAX }
    }
}

/// The reason why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// An end token or a stop text.
    Stop,
    /// The requested number of tokens was generated.
    Length,
    /// The context is full before the requested number of tokens was generated.
    Context,
    /// The generation was cancelled.
    Interrupted,
}

impl Finish {
    /// Returns the name in JSON output.
    pub fn name(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::Context => "context",
            Finish::Interrupted => "interrupted",
        }
    }
}

/// Token counts and durations of a generation's phases.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// Number of prompt tokens that were computed, because they were not in the cache.
    pub prompt_tokens: usize,
    /// Number of prompt tokens that were in the cache.
    pub cached_tokens: usize,
    /// Time to compute the prompt.
    pub prompt: Duration,
    /// Number of generated tokens, including an end token.
    pub generated_tokens: usize,
    /// Time from the first generated token to the end.
    pub generate: Duration,
    /// Time from the start to the first token.
    pub first_token: Duration,
}

impl Timings {
    /// Returns computed prompt tokens per second; `None` if there are none.
    pub fn prompt_rate(&self) -> Option<f64> {
        rate(self.prompt_tokens, self.prompt)
    }

    /// Returns generated tokens per second; `None` if there are none. The first token is not counted, since the
    /// computation of the prompt yields it.
    pub fn generate_rate(&self) -> Option<f64> {
        rate(self.generated_tokens.saturating_sub(1), self.generate)
    }
}

fn rate(tokens: usize, time: Duration) -> Option<f64> {
    (tokens > 0 && !time.is_zero()).then(|| tokens as f64 / time.as_secs_f64())
}

/// The result of a generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The new ids, without an end token.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// Whether a stop text ended it.
    pub stop_text: bool,
    /// How long it took.
    pub timings: Timings,
}

impl Generation {
    /// Returns the empty result of a generation that was cancelled before it began.
    pub fn interrupted() -> Self {
        let (ids, timings) = (Vec::new(), Timings::default());
        Self { ids, finish: Finish::Interrupted, stop_text: false, timings }
    }
}

/// An ended sequence.
#[derive(Debug)]
pub struct Ended {
    /// The sequence's result.
    pub generation: Generation,
    /// Text that was held back because it might have become a stop text.
    pub rest: String,
    /// The source of the sequence's tokens; a sampler's random number generator has advanced.
    pub next: NextToken,
}

/// Errors of a generation. Device errors are passed through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum GenerationError {
    #[error("the prompt is empty: the model needs at least one token to continue")]
    EmptyPrompt,
    #[error("the prompt has {}, the model's context is {context}: there is no room for a reply", counted(*tokens, "token"))]
    PromptTooLong { tokens: usize, context: usize },
    #[error("token {id} is beyond the vocabulary of {vocabulary}")]
    UnknownToken { id: u32, vocabulary: usize },
    #[error("a sequence of {} does not fit into the KV caches, which have room for {most}", counted(*positions, "token"))]
    NoMemory { positions: usize, most: usize },
    #[error("the sequence does not exist")]
    NoSequence,
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl From<candle_core::Error> for GenerationError {
    fn from(error: candle_core::Error) -> Self {
        Self::Device(error.into())
    }
}

/// Returns how many tokens fit into the context after a prompt.
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

//! The decoding state of a sequence: its tokens, how many of them are computed, and when it ends.

use std::time::Instant;

use super::memory::Reserved;
use super::request::{Ended, Finish, Generation, GenerationError, NextToken, Request, Timings, room};
use crate::model::{Cache, NextTokens};
use crate::quant::HostRows;

/// A request after validation.
#[derive(Debug)]
pub(super) struct Checked {
    pub request: Request,
    /// Maximum number of generated tokens.
    most: usize,
    /// Why the sequence ends after that number.
    at_most: Finish,
    /// Maximum positions of the sequence.
    pub positions: usize,
}

impl Checked {
    /// Validates a request for a model with a context of `context` positions and `vocabulary` tokens.
    ///
    /// # Errors
    /// The prompt is empty, has a token beyond the vocabulary, or fills the context.
    pub fn new(request: Request, context: usize, vocabulary: usize) -> Result<Self, GenerationError> {
        let Request { prompt, next, most: asked, .. } = &request;
        if let Some(id) = prompt.iter().find(|id| **id as usize >= vocabulary) {
            return Err(GenerationError::UnknownToken { id: *id, vocabulary });
        }
        let (most, at_most, positions) = match next {
            // A prompt may fill the context if nothing is generated after it.
            _ if *asked == Some(0) && prompt.len() == context => (0, Finish::Length, context),
            NextToken::Given(ids) => {
                let tokens = prompt.len() + ids.len();
                if prompt.is_empty() {
                    return Err(GenerationError::EmptyPrompt);
                }
                if tokens > context {
                    return Err(GenerationError::PromptTooLong { tokens, context });
                }
                (asked.unwrap_or(usize::MAX), Finish::Length, tokens)
            }
            NextToken::Sampled(_) => {
                let room = room(prompt, context)?;
                let most = asked.unwrap_or(usize::MAX).min(room);
                let at_most = if *asked == Some(most) { Finish::Length } else { Finish::Context };
                (most, at_most, prompt.len() + most)
            }
        };
        Ok(Self { request, most, at_most, positions })
    }

    /// Ends a request that has not begun.
    pub fn cancelled(self) -> Ended {
        let (finish, timings) = (Finish::Interrupted, Timings::default());
        let generation = Generation { ids: Vec::new(), finish, stop_text: false, timings };
        Ended { generation, rest: String::new(), next: self.request.next }
    }
}

/// A running sequence: a prompt and the tokens generated so far.
#[derive(Debug)]
pub(super) struct Sequence {
    /// The ids of the prompt and of the generated tokens.
    ids: Vec<u32>,
    /// Number of prompt tokens.
    prompt: usize,
    memory: Reserved,
    /// Number of positions that all layers have computed. The positions from here to the cache's length are in flight.
    computed: usize,
    /// Number of batches in flight that have tokens of this sequence.
    in_flight: usize,
    checked: Checked,
    timings: Timings,
    start: Instant,
    decode_start: Instant,
}

/// The result of choosing a token.
pub(super) struct Taken {
    /// The new token; `None` for an end token.
    pub token: Option<u32>,
    /// The reason why the sequence ends with this token; `None` if it continues.
    pub finish: Option<Finish>,
}

impl Sequence {
    /// Begins a sequence with the prompt tokens that `memory` already holds.
    pub fn new(mut checked: Checked, memory: Reserved) -> Self {
        let ids = std::mem::take(&mut checked.request.prompt);
        let (start, computed) = (Instant::now(), memory.cache.len());
        let timings = Timings { cached_tokens: computed, ..Timings::default() };
        let prompt = ids.len();
        Self { ids, prompt, memory, computed, in_flight: 0, checked, timings, start, decode_start: start }
    }

    /// Returns the slots that are reserved for the sequence.
    pub fn slots(&self) -> usize {
        self.memory.slots
    }

    /// Returns the number of tokens that were not sent yet: of the prompt, or the last chosen token.
    pub fn left(&self) -> usize {
        self.ids.len() - self.memory.cache.len()
    }

    /// Returns whether at most one token is left to send, so that one token is computed at a time.
    pub fn is_past_prompt(&self) -> bool {
        self.left() <= 1
    }

    /// Returns how many of the next `tokens` tokens belong to the prompt.
    pub fn of_prompt(&self, tokens: usize) -> usize {
        self.prompt.saturating_sub(self.memory.cache.len()).min(tokens)
    }

    /// Marks the next `tokens` unsent tokens as in flight, and returns the cache and their ids.
    pub fn send(&mut self, tokens: usize) -> NextTokens<'_> {
        self.in_flight += 1;
        let first = self.memory.cache.len();
        (&mut self.memory.cache, &self.ids[first..first + tokens])
    }

    /// Returns whether no token is left after the next `tokens` received ones, so that the logits of the last one
    /// choose the next token.
    pub fn is_whole_with(&self, tokens: usize) -> bool {
        self.computed + tokens == self.ids.len()
    }

    /// Marks `tokens` tokens as computed by all layers.
    pub fn receive(&mut self, tokens: usize) {
        self.in_flight -= 1;
        self.computed += tokens;
        if self.computed == self.prompt && self.ids.len() == self.prompt {
            self.timings.prompt_tokens = self.prompt - self.timings.cached_tokens;
            self.timings.prompt = self.start.elapsed();
        }
    }

    /// Resets the sequence to the tokens that all layers have computed. No batch with its tokens may be in flight.
    pub fn roll_back(&mut self) {
        self.in_flight = 0;
        self.computed = self.memory.cache.truncate(self.computed);
    }

    /// Returns the cached ids and the cache; `None` while a batch uses the cache.
    pub fn computed(&self) -> Option<(&[u32], &Cache)> {
        (self.in_flight == 0).then(|| (&self.ids[..self.computed], &self.memory.cache))
    }

    /// Returns the number of batches in flight that have tokens of this sequence.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Returns the prompt tokens that the next `tokens` received rows score. Each row scores the token after it.
    pub fn scored(&self, tokens: usize) -> &[u32] {
        let next = self.computed + 1..(self.computed + 1 + tokens).min(self.prompt);
        match self.checked.request.scores {
            true => self.ids.get(next).unwrap_or_default(),
            false => &[],
        }
    }

    /// Returns why the sequence ends without generating a token, if no token was requested.
    pub fn ends_at_once(&self) -> Option<Finish> {
        (self.checked.most == 0).then_some(self.checked.at_most)
    }

    /// Chooses the next token by `logits (V)`, and appends the text that it completes to `text`.
    ///
    /// # Errors
    /// The logits are not numbers.
    pub fn take(&mut self, logits: &mut [f32], text: &mut String) -> Result<Taken, GenerationError> {
        let request = &mut self.checked.request;
        let id = match &mut request.next {
            NextToken::Sampled(sampler) => sampler.choose(logits, &self.ids)?,
            NextToken::Given(ids) => match ids.pop_front() {
                Some(id) => id,
                None => return Ok(Taken { token: None, finish: Some(Finish::Length) }),
            },
        };
        self.timings.generated_tokens += 1;
        if self.timings.generated_tokens == 1 {
            self.timings.first_token = self.start.elapsed();
            self.decode_start = Instant::now();
        }
        if request.end_ids.contains(&id) {
            return Ok(Taken { token: None, finish: Some(Finish::Stop) });
        }
        self.ids.push(id);
        let mut finish = (self.timings.generated_tokens == self.checked.most).then_some(self.checked.at_most);
        if let Some(stream) = &mut request.text {
            text.push_str(stream.push(id));
            finish = if stream.stopped() { Some(Finish::Stop) } else { finish };
        }
        Ok(Taken { token: Some(id), finish })
    }

    /// Ends the sequence; returns its result, its ids, and its cache.
    pub fn end(mut self, finish: Finish) -> (Ended, Vec<u32>, Reserved) {
        if self.timings.generated_tokens > 0 {
            self.timings.generate = self.decode_start.elapsed();
        }
        let Request { next, text, .. } = self.checked.request;
        let (mut stop_text, mut rest) = (false, String::new());
        if let Some(mut stream) = text {
            stop_text = stream.stopped();
            rest.push_str(stream.finish());
        }
        let ids = self.ids[self.prompt..].to_vec();
        let generation = Generation { ids, finish, stop_text, timings: self.timings };
        (Ended { generation, rest, next }, self.ids, self.memory)
    }
}

/// Appends to `scores` the natural logarithm of the probability that each row of `logits (T, V)` gives to its token in
/// `ids`.
pub(super) fn score(logits: &HostRows, ids: &[u32], scores: &mut Vec<f64>) {
    let rows = logits.chunks_exact(logits.width().max(1));
    scores.extend(rows.zip(ids).map(|(row, id)| log_likelihood(row, *id as usize)));
}

/// Returns `log softmax(logits)[id]`, summed in f64 with the largest logit subtracted first.
fn log_likelihood(logits: &[f32], id: usize) -> f64 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|logit| libm::exp(f64::from(*logit) - largest)).sum();
    logits.get(id).map_or(f64::NEG_INFINITY, |logit| f64::from(*logit)) - largest - libm::log(sum)
}

//! The decoding state of a sequence: its tokens, how far they are computed, and when it ends.

use std::time::Instant;

use super::memory::Reserved;
use super::request::{Ended, Finish, Generation, GenerationError, NextToken, Request, Timings, room};
use crate::model::{Cache, NextTokens};
use crate::quant::HostRows;

/// A request that was checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub request: Request,
    /// Most tokens that are generated.
    most: usize,
    /// Why the sequence ends after so many.
    at_most: Finish,
    /// Positions that the sequence may come to.
    pub positions: usize,
}

impl Checked {
    /// Of a model with room for `context` positions and `vocabulary` tokens.
    ///
    /// # Errors
    /// The prompt is empty, has a token beyond the vocabulary, or fills the context.
    pub fn new(request: Request, context: usize, vocabulary: usize) -> Result<Self, GenerationError> {
        let Request { prompt, next, most: asked, .. } = &request;
        if let Some(id) = prompt.iter().find(|id| **id as usize >= vocabulary) {
            return Err(GenerationError::UnknownToken { id: *id, vocabulary });
        }
        let (most, at_most, positions) = match next {
            // What is not followed by anything may fill the context.
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

    /// It is cancelled before it has begun.
    pub fn cancelled(self) -> Ended {
        let (finish, timings) = (Finish::Interrupted, Timings::default());
        let generation = Generation { ids: Vec::new(), finish, stop_text: false, timings };
        Ended { generation, rest: String::new(), next: self.request.next }
    }
}

/// A sequence at work: a prompt and what follows it so far.
#[derive(Debug)]
pub(super) struct Sequence {
    /// The prompt and what follows it.
    ids: Vec<u32>,
    /// Tokens of the prompt.
    prompt: usize,
    memory: Reserved,
    /// Positions whose batches have been through all layers: those from here to the cache's length are on their way.
    computed: usize,
    /// Batches on their way that have tokens of it.
    in_flight: usize,
    checked: Checked,
    timings: Timings,
    start: Instant,
    decode_start: Instant,
}

/// What became of a sequence with the logits that follow it.
pub(super) struct Taken {
    /// The token that follows; `None` at an end token.
    pub token: Option<u32>,
    /// Why it was the last.
    pub finish: Option<Finish>,
}

impl Sequence {
    /// A sequence that begins with what `memory` has of its prompt.
    pub fn new(mut checked: Checked, memory: Reserved) -> Self {
        let ids = std::mem::take(&mut checked.request.prompt);
        let (start, computed) = (Instant::now(), memory.cache.len());
        let timings = Timings { cached_tokens: computed, ..Timings::default() };
        let prompt = ids.len();
        Self { ids, prompt, memory, computed, in_flight: 0, checked, timings, start, decode_start: start }
    }

    /// Slots that are reserved for it.
    pub fn slots(&self) -> usize {
        self.memory.slots
    }

    /// Tokens that are not sent: of the prompt, or the one that was chosen last.
    pub fn left(&self) -> usize {
        self.ids.len() - self.memory.cache.len()
    }

    /// Whether all of the prompt but its last token was sent, so that one token is computed at a time.
    pub fn is_past_prompt(&self) -> bool {
        self.left() <= 1
    }

    /// How many of the next `tokens` tokens are of the prompt.
    pub fn of_prompt(&self, tokens: usize) -> usize {
        self.prompt.saturating_sub(self.memory.cache.len()).min(tokens)
    }

    /// Sends the next `tokens` tokens, of those that are left.
    pub fn send(&mut self, tokens: usize) -> NextTokens<'_> {
        self.in_flight += 1;
        let first = self.memory.cache.len();
        (&mut self.memory.cache, &self.ids[first..first + tokens])
    }

    /// Whether nothing more of it is on its way behind the next `tokens` tokens that are received: the logits of the last
    /// of them choose the next.
    pub fn is_whole_with(&self, tokens: usize) -> bool {
        self.computed + tokens == self.ids.len()
    }

    /// `tokens` tokens have been through all layers.
    pub fn receive(&mut self, tokens: usize) {
        self.in_flight -= 1;
        self.computed += tokens;
        if self.computed == self.prompt && self.ids.len() == self.prompt {
            self.timings.prompt_tokens = self.prompt - self.timings.cached_tokens;
            self.timings.prompt = self.start.elapsed();
        }
    }

    /// Goes back to what has been through all layers. No batch of it is on its way any more.
    pub fn roll_back(&mut self) {
        self.in_flight = 0;
        self.computed = self.memory.cache.truncate(self.computed);
    }

    /// Its tokens that are in its cache, and the cache; `None` where the cache is at work.
    pub fn computed(&self) -> Option<(&[u32], &Cache)> {
        (self.in_flight == 0).then(|| (&self.ids[..self.computed], &self.memory.cache))
    }

    /// Batches on their way that have tokens of it.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The tokens of the prompt that are scored by the next `tokens` rows that are received, each by the row before it.
    pub fn scored(&self, tokens: usize) -> &[u32] {
        let next = self.computed + 1..(self.computed + 1 + tokens).min(self.prompt);
        match self.checked.request.scores {
            true => self.ids.get(next).unwrap_or_default(),
            false => &[],
        }
    }

    /// Why it ends without a token, where none is asked for.
    pub fn ends_at_once(&self) -> Option<Finish> {
        (self.checked.most == 0).then_some(self.checked.at_most)
    }

    /// Takes the token that follows by `logits (V)`. The text that it completes is added to `text`.
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

    /// What came of it; its ids, and the cache that holds them.
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

/// Adds to `scores` the natural logarithm of the probability that each row of `logits (T, V)` gives to its token of `ids`.
pub(super) fn score(logits: &HostRows, ids: &[u32], scores: &mut Vec<f64>) {
    let rows = logits.chunks_exact(logits.width().max(1));
    scores.extend(rows.zip(ids).map(|(row, id)| log_likelihood(row, *id as usize)));
}

/// `log softmax(logits)[id]`, summed in f64 with the largest logit subtracted first.
fn log_likelihood(logits: &[f32], id: usize) -> f64 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|logit| libm::exp(f64::from(*logit) - largest)).sum();
    logits.get(id).map_or(f64::NEG_INFINITY, |logit| f64::from(*logit)) - largest - libm::log(sum)
}

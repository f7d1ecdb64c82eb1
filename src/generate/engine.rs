//! The loop that computes tokens, for any number of sequences that start and end at any time.
//!
//! A sequence waits for memory. Then its prompt is computed in chunks, and then one token after another. Each batch has
//! one token of every sequence that is past its prompt, and as many prompt tokens as there is room for, oldest prompt
//! first. So the weights are read once for all sequences, and a long prompt delays the others by at most one chunk.
//!
//! With several devices, several batches are in flight, and the sequences are divided among them. Example, 2 devices
//! and 4 sequences past their prompts: batch 1 has a token of sequences 0 and 1, batch 2 of sequences 2 and 3. While
//! device 1 computes batch 1, device 0 computes batch 2.
//!
//! A row's result depends neither on the other rows of the batch nor on whether the tokens before it come from a reused
//! cache, so each text is the same as when it is generated alone. The engine uses no threads but the model's, and no
//! channels: it computes only while the caller steps it.

use std::collections::VecDeque;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::events::{Event, Events, Id, Noted};
use super::memory::{Memory, Reserved, sequence_slots};
use super::request::{Ended, Finish, GenerationError, Request};
use super::sequence::{Checked, Sequence, score};
use super::watch::{Meter, Watch};
use crate::kernels::attention::CacheType;
use crate::model::{CHUNK, NextTokens, Pipeline, Transformer};
use crate::quant::Rows;
use crate::tensor::ops;

/// Maximum number of sequences that are computed at once.
pub const MOST_AT_ONCE: usize = 32;

/// Rows whose logits are computed at once for scores: the logits `(T, V)` are the largest tensor.
const SCORED_AT_ONCE: usize = 128;

/// A list with one element per sequence of a batch, without a heap allocation.
type PerSequence<T> = SmallVec<[T; MOST_AT_ONCE]>;

/// The resources that an engine may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Type of the cached keys and values.
    pub cache_dtype: CacheType,
    /// Maximum slots of all KV caches together in each layer, as [`sequence_slots`] counts them.
    pub slots: usize,
    /// Maximum batches in flight; [`Transformer::devices`] keeps all devices busy.
    pub batches: usize,
    /// Maximum prompt tokens in a batch; at most [`CHUNK`]. Tokens of sequences past their prompts are not counted.
    pub prompt_tokens: usize,
}

impl Limits {
    /// Returns limits that keep all devices of `model` busy and compute whole chunks of prompts.
    pub fn new(model: &Transformer, cache_dtype: CacheType, slots: usize) -> Self {
        Self { cache_dtype, slots, batches: model.devices(), prompt_tokens: CHUNK }
    }
}

/// The tokens of one sequence in a batch.
struct SequenceTokens {
    id: Id,
    tokens: usize,
}

/// A sequence that has ended, but whose memory batches in flight still use.
struct Leaving {
    id: Id,
    memory: Reserved,
    /// Number of batches in flight that have tokens of the sequence.
    batches: usize,
}

/// Generates several sequences together.
pub struct Engine {
    model: Arc<Transformer>,
    limits: Limits,
    pipeline: Pipeline,
    memory: Memory,
    meter: Arc<Meter>,
    next_id: u64,
    waiting: VecDeque<(Id, Checked)>,
    /// The running sequences, in the order in which they began.
    running: Vec<(Id, Sequence)>,
    /// Sequences that ended while batches with their tokens are in flight.
    leaving: Vec<Leaving>,
    /// The content of each batch in flight, in the order of its rows.
    flights: VecDeque<PerSequence<SequenceTokens>>,
    events: Events,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Engine {
    /// Creates an engine for `model` without sequences.
    pub fn new(model: impl Into<Arc<Transformer>>, limits: Limits) -> Self {
        let model = model.into();
        let batches = limits.batches.clamp(1, MOST_AT_ONCE);
        let prompt_tokens = limits.prompt_tokens.clamp(1, CHUNK);
        let meter = Arc::new(Meter::new(model.config().layers));
        Self {
            limits: Limits { batches, prompt_tokens, ..limits },
            pipeline: Pipeline::new(model.clone(), batches),
            memory: Memory::new(limits.cache_dtype, limits.slots),
            meter,
            next_id: 0,
            waiting: VecDeque::new(),
            running: Vec::with_capacity(MOST_AT_ONCE),
            leaving: Vec::new(),
            flights: VecDeque::new(),
            events: Events::new(MOST_AT_ONCE),
            model,
        }
    }

    /// Returns the model.
    pub fn model(&self) -> &Arc<Transformer> {
        &self.model
    }

    /// Sets the observer of the computation. `watch` gets the number of computed prompt tokens, counted from now on and
    /// including waiting sequences. It can end the current batch between two layers; that batch is discarded, and the
    /// next step computes it again.
    pub fn watch(&mut self, watch: Watch) {
        let waiting = self.waiting.iter().map(|(_, checked)| checked.request.prompt.len()).sum::<usize>();
        let running = self.running.iter().map(|(_, sequence)| sequence.of_prompt(usize::MAX)).sum::<usize>();
        self.meter = Arc::new(self.meter.next(watch, waiting + running));
    }

    /// Returns whether the watch wants the computation to end. A step then does nothing.
    pub fn is_interrupted(&self) -> bool {
        self.meter.is_interrupted()
    }

    /// Adds a sequence. It begins in a later step, when the sequences before it have begun and there is memory.
    ///
    /// # Errors
    /// The prompt is empty, has a token beyond the vocabulary, or fills the context; or the sequence needs more memory
    /// than all KV caches may use together.
    pub fn add(&mut self, request: Request) -> Result<Id, GenerationError> {
        let config = self.model.config();
        let checked = Checked::new(request, config.context_length, config.vocabulary_size)?;
        let (positions, most) = (checked.positions, self.memory.most());
        if sequence_slots(config, positions) > most {
            return Err(GenerationError::NoMemory { positions, most });
        }
        self.meter.expect(checked.request.prompt.len());
        let id = Id(self.next_id);
        self.next_id += 1;
        self.waiting.push_back((id, checked));
        Ok(id)
    }

    /// Ends a sequence, and keeps its cache for prompts with the same beginning. Returns `None` if the sequence has
    /// already ended.
    pub fn cancel(&mut self, id: Id) -> Option<Ended> {
        if let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == id) {
            let (_, checked) = self.waiting.remove(at)?;
            self.meter.skip(checked.request.prompt.len());
            return Some(checked.cancelled());
        }
        let at = self.running.iter().position(|(running, _)| *running == id)?;
        self.meter.skip(self.running[at].1.of_prompt(usize::MAX));
        Some(self.end(at, Finish::Interrupted))
    }

    /// Returns whether no sequence is waiting or running.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Returns the number of waiting and of running sequences.
    pub fn counts(&self) -> (usize, usize) {
        (self.waiting.len(), self.running.len())
    }

    /// Returns the cache slots of running sequences, and those of ended sequences that are kept.
    pub fn slots(&self) -> (usize, usize) {
        (self.taken(), self.memory.held())
    }

    /// Lets waiting sequences begin, sends as many batches as may be in flight, waits for one batch, and returns its
    /// events. There are none if there is no sequence or if the watch interrupts.
    ///
    /// # Errors
    /// A device error. It ends no sequence: the next step tries again.
    pub fn step(&mut self) -> Result<impl Iterator<Item = (Id, Event<'_>)>, GenerationError> {
        self.advance()?;
        Ok(self.events.take())
    }

    /// Steps until sequence `id`, which must be the only one, has ended. Calls `on_token` with each new token and the
    /// text that it completes. The sequence is cancelled if `on_token` breaks or the watch interrupts.
    ///
    /// # Errors
    /// A device error, which ends the sequence; the logits are not numbers; the sequence does not exist.
    pub fn finish(
        &mut self,
        id: Id,
        on_token: &mut dyn FnMut(u32, &str) -> ControlFlow<()>,
    ) -> Result<Ended, GenerationError> {
        loop {
            if let Err(error) = self.advance() {
                self.cancel(id);
                return Err(error);
            }
            let mut flow = ControlFlow::Continue(());
            for (of, event) in self.events.take() {
                match event {
                    Event::End(ended) if of == id => return ended.map(|ended| *ended),
                    Event::Token { id, text } => flow = on_token(id, text),
                    _ => {}
                }
            }
            if flow.is_break() || self.is_interrupted() || self.is_idle() {
                return self.cancel(id).ok_or(GenerationError::NoSequence);
            }
        }
    }

    /// Performs a step and records its events.
    fn advance(&mut self) -> Result<(), GenerationError> {
        self.events.clear();
        if self.is_interrupted() {
            return Ok(());
        }
        self.compute().or_else(|error| {
            self.roll_back();
            self.events.clear();
            // A batch that the watch has ended is not a failure.
            if self.meter.take_stopped() { Ok(()) } else { Err(error) }
        })
    }

    /// Returns the slots that are reserved for running sequences, and for ended ones with batches in flight.
    fn taken(&self) -> usize {
        let running = self.running.iter().map(|(_, sequence)| sequence.slots()).sum::<usize>();
        running + self.leaving.iter().map(|leaving| leaving.memory.slots).sum::<usize>()
    }

    fn compute(&mut self) -> Result<(), GenerationError> {
        self.admit();
        while self.pipeline.in_flight() < self.limits.batches && self.send()? {}
        if self.pipeline.in_flight() > 0 {
            self.receive()?;
        }
        Ok(())
    }

    /// Starts waiting sequences in their order while there is memory for their caches.
    fn admit(&mut self) {
        while self.running.len() < MOST_AT_ONCE
            && let Some((_, checked)) = self.waiting.front()
        {
            let (prompt, taken) = (&checked.request.prompt, self.taken());
            // The last token is always computed, even if a cache holds it: its logits are needed.
            let reuse = checked.request.reuse.min(prompt.len().saturating_sub(1));
            let positions = checked.positions;
            let running = self.running.iter().filter_map(|(_, sequence)| sequence.computed());
            let memory = self.memory.take(&self.model, taken, positions, (prompt, reuse), running);
            let Some(memory) = memory else { break };
            let Some((id, checked)) = self.waiting.pop_front() else { break };
            self.meter.skip(memory.cache.len());
            self.meter.report();
            self.running.push((id, Sequence::new(checked, memory)));
        }
    }

    /// Sends a batch, and returns `false` if there are no tokens to send.
    fn send(&mut self) -> Result<bool, GenerationError> {
        let single = self.running.iter().filter(|(_, sequence)| sequence.is_past_prompt()).count();
        let mut share = single.div_ceil(self.limits.batches);
        let most = if single == 0 { CHUNK } else { CHUNK - MOST_AT_ONCE };
        let mut room = self.limits.prompt_tokens.min(most);
        let (mut parts, mut rows, mut counted) = (PerSequence::new(), PerSequence::<NextTokens>::new(), 0);
        for (id, sequence) in &mut self.running {
            let tokens = match sequence.left() {
                0 => 0,
                1 => share.min(1),
                left => left.min(room),
            };
            if tokens == 0 {
                continue;
            }
            match sequence.is_past_prompt() {
                true => share -= 1,
                false => room -= tokens,
            }
            counted += sequence.of_prompt(tokens);
            parts.push(SequenceTokens { id: *id, tokens });
            rows.push(sequence.send(tokens));
        }
        if parts.is_empty() {
            return Ok(false);
        }
        self.pipeline.send(&mut rows, self.meter.clone(), counted)?;
        self.flights.push_back(parts);
        Ok(true)
    }

    /// Waits for a batch, and advances its sequences.
    fn receive(&mut self) -> Result<(), GenerationError> {
        let hidden = self.pipeline.receive()?; // (T, C)
        let Some(parts) = self.flights.pop_front() else { return Ok(()) };
        // Operations that can fail come first, so that an error leaves the sequences unchanged.
        let (mut ready, mut rows, mut row) = (PerSequence::<Id>::new(), PerSequence::<u32>::new(), 0);
        for SequenceTokens { id, tokens } in &parts {
            if let Some(at) = self.position(*id) {
                self.score(at, &hidden, row, *tokens)?;
                let sequence = &self.running[at].1;
                if sequence.is_whole_with(*tokens) && sequence.ends_at_once().is_none() {
                    ready.push(*id);
                    rows.push((row + tokens - 1) as u32);
                }
            }
            row += tokens;
        }
        let logits = match rows.len() {
            0 => None,
            all if all == row => Some(self.model.logits(&hidden)?), // (T, V)
            _ => Some(self.model.logits(&ops::select(&hidden, &rows)?)?), // (sequences, V)
        };
        parts.into_iter().for_each(|part| self.received(part));
        let Some(mut logits) = logits else { return Ok(()) };
        let vocabulary = logits.width();
        for (id, logits) in ready.into_iter().zip(logits.chunks_exact_mut(vocabulary)) {
            self.take(id, logits);
        }
        Ok(())
    }

    /// Marks tokens of a sequence as computed by all layers.
    fn received(&mut self, SequenceTokens { id, tokens }: SequenceTokens) {
        if let Some(at) = self.position(id) {
            let sequence = &mut self.running[at].1;
            sequence.receive(tokens);
            let finish = sequence.ends_at_once().filter(|_| sequence.is_whole_with(0));
            finish.into_iter().for_each(|finish| self.end_noted(at, finish));
        } else if let Some(at) = self.leaving.iter().position(|leaving| leaving.id == id) {
            self.leaving[at].batches -= 1;
            self.leaving.retain(|leaving| leaving.batches > 0);
        }
    }

    /// Scores the prompt tokens that the rows `row..row + tokens` of `hidden (T, C)` predict.
    fn score(&mut self, at: usize, hidden: &Rows, row: usize, tokens: usize) -> Result<(), GenerationError> {
        let (id, sequence) = &self.running[at];
        let Events { list, scores, .. } = &mut self.events;
        for (i, ids) in sequence.scored(tokens).chunks(SCORED_AT_ONCE).enumerate() {
            let first = row + i * SCORED_AT_ONCE;
            let rows: Vec<u32> = (first as u32..(first + ids.len()) as u32).collect();
            let logits = self.model.logits(&ops::select(hidden, &rows)?)?; // (T, V)
            let before = scores.len();
            score(&logits, ids, scores);
            list.push((*id, Noted::Scores(before..scores.len())));
        }
        Ok(())
    }

    /// Chooses the next token of a sequence by its `logits (V)`.
    fn take(&mut self, id: Id, logits: &mut [f32]) {
        let Some(at) = self.position(id) else { return };
        let before = self.events.text.len();
        match self.running[at].1.take(logits, &mut self.events.text) {
            Ok(taken) => {
                let text = before..self.events.text.len();
                self.events.list.extend(taken.token.map(|token| (id, Noted::Token(token, text))));
                if let Some(finish) = taken.finish {
                    self.end_noted(at, finish);
                }
            }
            Err(error) => {
                // The cache is not kept: its keys and values are as wrong as the logits.
                self.running.remove(at);
                self.events.list.push((id, Noted::End(Err(error))));
            }
        }
    }

    fn position(&self, id: Id) -> Option<usize> {
        self.running.iter().position(|(running, _)| *running == id)
    }

    /// Ends a running sequence, and records the event.
    fn end_noted(&mut self, at: usize, finish: Finish) {
        let id = self.running[at].0;
        let ended = self.end(at, finish);
        self.events.list.push((id, Noted::End(Ok(Box::new(ended)))));
    }

    /// Ends a running sequence. Its cache is kept for reuse, unless batches with its tokens are in flight.
    fn end(&mut self, at: usize, finish: Finish) -> Ended {
        let (id, sequence) = self.running.remove(at);
        let batches = sequence.in_flight();
        let (ended, ids, memory) = sequence.end(finish);
        match batches {
            0 => self.memory.hold(ids, memory),
            _ => self.leaving.push(Leaving { id, memory, batches }),
        }
        ended
    }

    /// Waits for all batches in flight, and resets all sequences to the tokens that all layers have computed.
    fn roll_back(&mut self) {
        while self.pipeline.in_flight() > 0 {
            // The batch is computed again, so its result or error does not matter.
            let _ = self.pipeline.receive();
        }
        self.flights.clear();
        self.leaving.clear();
        self.running.iter_mut().for_each(|(_, sequence)| sequence.roll_back());
    }
}

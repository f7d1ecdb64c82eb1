//! The one loop that makes tokens: sequences of any number, each of which comes and goes when it likes.
//!
//! A sequence waits for memory, then its prompt is computed in chunks, then one token after the other. Each batch takes
//! one token of every sequence that is past its prompt, and of the prompts, the oldest first, as many as there is room
//! for. So weights are read once for all of them, and a long prompt does not stop the others for more than a chunk.
//!
//! With several devices several batches are in flight, each with its share of the sequences. Example, 2 devices and 4
//! sequences past their prompts: batch 1 has a token of sequences 0 and 1, batch 2 of sequences 2 and 3. While device 1
//! computes batch 1, device 0 computes batch 2.
//!
//! A row's result does not depend on the rows beside it, nor on whether those before it come from a cache that was held,
//! so each text is what it would be alone. The engine knows no threads but the model's, and no channels: it stands where
//! it is stepped.

use std::collections::VecDeque;
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

/// Most sequences that are computed at once.
pub const MOST_AT_ONCE: usize = 32;

/// Rows whose logits are computed at once for scores: `(T, V)` is the largest thing in memory.
const SCORED_AT_ONCE: usize = 128;

/// One for each sequence of a batch: kept without an allocation.
type Each<T> = SmallVec<[T; MOST_AT_ONCE]>;

/// What an engine may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Type of the keys and values that are kept.
    pub cache_dtype: CacheType,
    /// Slots that the KV caches may have together in each layer, as [`sequence_slots`] counts them.
    pub slots: usize,
    /// Batches in flight at once; [`Transformer::devices`] keeps all devices busy.
    pub batches: usize,
    /// Most tokens of prompts in a batch, beside those of sequences past their prompts; at most [`CHUNK`].
    pub prompt_tokens: usize,
}

impl Limits {
    /// For all devices of `model`, with whole chunks of prompts.
    pub fn new(model: &Transformer, cache_dtype: CacheType, slots: usize) -> Self {
        Self { cache_dtype, slots, batches: model.devices(), prompt_tokens: CHUNK }
    }
}

/// Tokens of a sequence in a batch.
struct Part {
    id: Id,
    tokens: usize,
}

/// A sequence that has ended, whose memory is not free yet.
struct Leaving {
    id: Id,
    memory: Reserved,
    /// Batches in flight that have tokens of it.
    batches: usize,
}

/// Generates sequences together.
pub struct Engine {
    model: Arc<Transformer>,
    limits: Limits,
    pipeline: Pipeline,
    memory: Memory,
    meter: Arc<Meter>,
    next_id: u64,
    waiting: VecDeque<(Id, Checked)>,
    /// In the order in which they began.
    running: Vec<(Id, Sequence)>,
    /// Sequences that have ended while batches with tokens of them are in flight.
    leaving: Vec<Leaving>,
    /// Of each batch in flight what it has, in the order of its rows.
    flights: VecDeque<Each<Part>>,
    events: Events,
}

impl Engine {
    /// An engine of `model` without sequences.
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

    /// The model.
    pub fn model(&self) -> &Arc<Transformer> {
        &self.model
    }

    /// From here on `watch` looks on: it is told how many tokens are computed of the prompts that are not yet, those of
    /// waiting sequences among them, and ends the batch at work between two layers. That batch then counts for nothing, and
    /// the next step computes it anew.
    pub fn watch(&mut self, watch: Watch) {
        let waiting = self.waiting.iter().map(|(_, checked)| checked.request.prompt.len()).sum::<usize>();
        let running = self.running.iter().map(|(_, sequence)| sequence.of_prompt(usize::MAX)).sum::<usize>();
        self.meter = Arc::new(self.meter.next(watch, waiting + running));
    }

    /// Whether the watch wants computing to end: a step does nothing then.
    pub fn is_interrupted(&self) -> bool {
        self.meter.is_interrupted()
    }

    /// Adds a sequence, which begins with one of the next steps: once those before it have begun, and there is memory.
    ///
    /// # Errors
    /// The prompt is empty, has a token beyond the vocabulary, or fills the context; or the sequence needs more memory than
    /// all may take.
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

    /// Ends a sequence as it is; `None` if it has ended before. What it has computed is held for others that begin alike.
    pub fn cancel(&mut self, id: Id) -> Option<Ended> {
        if let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == id) {
            let (_, checked) = self.waiting.remove(at)?;
            self.meter.spare(checked.request.prompt.len());
            return Some(checked.cancelled());
        }
        let at = self.running.iter().position(|(running, _)| *running == id)?;
        self.meter.spare(self.running[at].1.of_prompt(usize::MAX));
        Some(self.end(at, Finish::Interrupted))
    }

    /// Whether there is no sequence that has not ended.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Sequences that wait for memory, and those that are computed.
    pub fn counts(&self) -> (usize, usize) {
        (self.waiting.len(), self.running.len())
    }

    /// Slots that the caches of running sequences have, and those of ended ones that are held.
    pub fn slots(&self) -> (usize, usize) {
        (self.taken(), self.memory.held())
    }

    /// Lets waiting sequences begin, sends as many batches as may be in flight, and waits for one: what happened. Nothing
    /// happens where there is no sequence, and where the watch interrupts.
    ///
    /// # Errors
    /// Errors of a device. No sequence has ended with it: the next step tries again.
    pub fn step(&mut self) -> Result<impl Iterator<Item = (Id, Event<'_>)>, GenerationError> {
        self.advance()?;
        Ok(self.events.take())
    }

    /// Steps until sequence `id` has ended, which is the only one. `on_token` is given each new token with the text that it
    /// completes, and breaks to cancel it, as an interrupt of the watch does.
    ///
    /// # Errors
    /// Errors of a device, which end it, and of the sequence: the logits are not numbers, or there is no such sequence.
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

    /// A step, whose events are noted.
    fn advance(&mut self) -> Result<(), GenerationError> {
        self.events.clear();
        if self.is_interrupted() {
            return Ok(());
        }
        self.compute().or_else(|error| {
            self.roll_back();
            self.events.clear();
            // A batch that was told to end has not failed.
            if self.meter.take_stopped() { Ok(()) } else { Err(error) }
        })
    }

    /// Slots that are reserved for sequences that have not ended.
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

    /// Lets waiting sequences begin, in their order, as far as there is memory.
    fn admit(&mut self) {
        while self.running.len() < MOST_AT_ONCE
            && let Some((_, checked)) = self.waiting.front()
        {
            let (prompt, taken) = (&checked.request.prompt, self.taken());
            // The last token is computed anew even where a cache holds it: its logits are needed.
            let reuse = checked.request.reuse.min(prompt.len().saturating_sub(1));
            let positions = checked.positions;
            let running = self.running.iter().filter_map(|(_, sequence)| sequence.computed());
            let memory = self.memory.take(&self.model, taken, positions, (prompt, reuse), running);
            let Some(memory) = memory else { break };
            let Some((id, checked)) = self.waiting.pop_front() else { break };
            self.meter.spare(memory.cache.len());
            self.meter.report();
            self.running.push((id, Sequence::new(checked, memory)));
        }
    }

    /// Sends a batch, unless no sequence has tokens that were not sent.
    fn send(&mut self) -> Result<bool, GenerationError> {
        let single = self.running.iter().filter(|(_, sequence)| sequence.is_past_prompt()).count();
        let mut share = single.div_ceil(self.limits.batches);
        let most = if single == 0 { CHUNK } else { CHUNK - MOST_AT_ONCE };
        let mut room = self.limits.prompt_tokens.min(most);
        let (mut parts, mut rows, mut counted) = (Each::new(), Each::<NextTokens>::new(), 0);
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
            parts.push(Part { id: *id, tokens });
            rows.push(sequence.send(tokens));
        }
        if parts.is_empty() {
            return Ok(false);
        }
        self.pipeline.send(&mut rows, self.meter.clone(), counted)?;
        self.flights.push_back(parts);
        Ok(true)
    }

    /// Waits for a batch, and lets its sequences go on.
    fn receive(&mut self) -> Result<(), GenerationError> {
        let hidden = self.pipeline.receive()?; // (T, C)
        let Some(parts) = self.flights.pop_front() else { return Ok(()) };
        // What can fail comes first.
        let (mut ready, mut rows, mut row) = (Each::<Id>::new(), Each::<u32>::new(), 0);
        for Part { id, tokens } in &parts {
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

    /// Tokens of a sequence have been through all layers.
    fn received(&mut self, Part { id, tokens }: Part) {
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

    /// Scores the tokens of a prompt that follow rows `row` to `row + tokens` of `hidden (T, C)`.
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

    /// Takes the next token of a sequence by its `logits (V)`.
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
                // Its keys and values are no better than its logits.
                self.running.remove(at);
                self.events.list.push((id, Noted::End(Err(error))));
            }
        }
    }

    fn position(&self, id: Id) -> Option<usize> {
        self.running.iter().position(|(running, _)| *running == id)
    }

    /// Ends a running sequence, which is an event of this step.
    fn end_noted(&mut self, at: usize, finish: Finish) {
        let id = self.running[at].0;
        let ended = self.end(at, finish);
        self.events.list.push((id, Noted::End(Ok(Box::new(ended)))));
    }

    /// Ends a running sequence. What it has computed is held, unless some of it is still on its way.
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

    /// Waits for all batches in flight, and takes all sequences back to what has been through all layers.
    fn roll_back(&mut self) {
        while self.pipeline.in_flight() > 0 {
            // What they bring is computed anew.
            let _ = self.pipeline.receive();
        }
        self.flights.clear();
        self.leaving.clear();
        self.running.iter_mut().for_each(|(_, sequence)| sequence.roll_back());
    }
}

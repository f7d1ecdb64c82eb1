//! Many texts at once: one step computes tokens of several, so that weights are read once for all of them, and with
//! several devices each is at work on other texts.
//!
//! A text is either waiting for memory, ready (it has tokens that no step has taken), or on its way. A step takes the
//! ready texts in turn, each with as many tokens as there is room for: a piece of its prompt, or the token that was just
//! chosen. With n steps in flight a step takes an n-th of the texts, so that no stage waits for the last one's logits.
//!
//! Example, 2 devices and 4 texts, all past their prompts: step 1 has a token of texts 0 and 1, step 2 of texts 2 and 3.
//! While device 1 computes step 1, device 0 computes step 2.
//!
//! A row's result does not depend on the rows beside it, so each text is what it would be alone.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicUsize, Ordering};

use smallvec::SmallVec;

use super::growth::{Finish, Generation, GenerationError, Growth, room};
use super::sampler::{Sampler, Sampling};
use super::watch::{Meter, Watch};
use crate::arch::Config;
use crate::kernels::attention::CacheType;
use crate::model::{CHUNK, Pipeline, Segment, Transformer, grown, slots};
use crate::tensor::ops;

/// Most texts that are computed at once.
pub const MOST_AT_ONCE: usize = 32;

/// Most rows of prompts in a step: so every text past its prompt finds room in it.
const PROMPT_ROWS: usize = CHUNK - MOST_AT_ONCE;

/// One for each text of a step: kept without an allocation.
type Each<T> = SmallVec<[T; MOST_AT_ONCE]>;

/// How texts are generated together.
#[derive(Debug)]
pub struct Batch<'m> {
    /// The model.
    pub model: &'m Transformer,
    /// Type of the keys and values that are kept.
    pub cache_dtype: CacheType,
    /// Slots that the rings of the texts at work may have together, as [`batch_slots`] counts them. One text is always at
    /// work.
    pub slots: usize,
    /// Steps in flight at once; [`Transformer::devices`] keeps them all busy.
    pub steps: usize,
    /// Ids that end a text.
    pub end_ids: &'m [u32],
    /// Most new tokens of a text.
    pub most: usize,
    /// Texts of each prompt: those of the first come first.
    pub samples: usize,
    /// How tokens are chosen. Each text has chance of its own: the seed, and its number added.
    pub sampling: Sampling,
    /// The seed of the first text.
    pub seed: u64,
}

/// What happens to a text.
#[derive(Debug)]
pub enum Event {
    /// It has a new token, which is no end token.
    Token(u32),
    /// It is whole.
    End(Generation),
}

impl Batch<'_> {
    /// Generates all texts. `on_event` is told the text's number and what happened to it; after a token, breaking ends
    /// that text, after an end it ends all. Texts end in any order; after an interruption those at work end as they are,
    /// and those that had not begun are not told of. `watch` is told how much of all prompts is computed, those of further
    /// samples counted again, and ends it between two layers.
    ///
    /// # Errors
    /// A prompt is empty or fills the context; logits are no numbers; or what candle reports.
    pub fn run<'w>(
        &self,
        prompts: &[&[u32]],
        watch: impl Into<Watch<'w>>,
        on_event: &mut dyn FnMut(usize, Event) -> ControlFlow<()>,
    ) -> Result<(), GenerationError> {
        let context = self.model.config().context_length;
        let needs = |prompt: &&[u32]| Ok(prompt.len() + self.most.min(room(prompt, context)?));
        let needs = prompts.iter().map(needs).collect::<Result<Vec<usize>, GenerationError>>()?;
        let longest = needs.iter().copied().max().unwrap_or(0);
        let slots = |needs: &usize| batch_slots(self.model.config(), *needs, longest);
        let prompts = prompts.iter().copied().zip(needs.iter().map(slots)).collect::<Vec<_>>();
        let texts = prompts.len().saturating_mul(self.samples);
        let places = texts.min(MOST_AT_ONCE);
        let mut caches: Vec<_> =
            (0..places).map(|_| self.model.cache(self.cache_dtype, CHUNK, longest)).collect();
        let steps = self.steps.clamp(1, places.max(1));
        let all = prompts.iter().map(|(prompt, _)| prompt.len()).sum::<usize>().saturating_mul(self.samples);
        let meter = Meter::new(watch.into(), self.model.config().layers, all);
        // The length of the prompt at each place: a segment that begins before its end is of the prompt.
        let lengths: Vec<AtomicUsize> = (0..places).map(|_| AtomicUsize::new(0)).collect();
        let of_prompt = |s: &&Segment| s.first < lengths[s.sequence].load(Ordering::Relaxed);
        let on_layer =
            |segments: &[Segment]| meter.add(segments.iter().filter(of_prompt).map(|s| s.tokens).sum());
        self.model.pipelined(&mut caches, steps, Some(&on_layer), |pipeline| {
            let at_work = std::iter::repeat_with(|| None).take(places).collect();
            let (ready, flights) = (VecDeque::new(), VecDeque::new());
            let lengths = lengths.as_slice();
            let mut run = Run { batch: self, prompts, lengths, waiting: 0..texts, at_work, ready, flights };
            let done = loop {
                if meter.add(0).is_break() {
                    break Ok(());
                }
                match run.step(pipeline, steps, on_event) {
                    Ok(Some(ControlFlow::Continue(()))) => {}
                    Ok(Some(ControlFlow::Break(()))) => return Ok(()),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            // A step that was ended is no fault.
            if !meter.has_stopped() {
                done?;
            }
            for working in run.at_work.into_iter().flatten() {
                if on_event(working.number, Event::End(working.growth.end(Finish::Interrupted))).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }
}

/// Slots of a layer's ring of a text that needs so many positions, among texts of which none needs more than `most`: a
/// ring grows by doubling.
pub fn batch_slots(config: &Config, positions: usize, most: usize) -> usize {
    let slots = |positions: usize| slots(positions.min(config.context_length), config.window, CHUNK);
    grown(slots(positions), slots(most))
}

/// A text at work.
struct Working {
    number: usize,
    growth: Growth,
    sampler: Sampler,
    /// Tokens that steps have taken.
    sent: usize,
    slots: usize,
}

/// One run of a batch. Places are the pipeline's sequences.
struct Run<'r> {
    batch: &'r Batch<'r>,
    /// The prompts, and the slots of a ring for each.
    prompts: Vec<(&'r [u32], usize)>,
    /// Tokens of the prompt at each place, for who looks on.
    lengths: &'r [AtomicUsize],
    /// Texts that have not begun.
    waiting: Range<usize>,
    at_work: Vec<Option<Working>>,
    /// Places whose texts have tokens that no step has taken.
    ready: VecDeque<usize>,
    /// For each step in flight: the places whose texts go on with it, and the rows of their last tokens.
    flights: VecDeque<Each<(usize, u32)>>,
}

impl Run<'_> {
    /// Begins texts, sends as many steps as may be in flight, and waits for one. `None` where there is none.
    fn step(
        &mut self,
        pipeline: &mut Pipeline,
        steps: usize,
        on_event: &mut dyn FnMut(usize, Event) -> ControlFlow<()>,
    ) -> Result<Option<ControlFlow<()>>, GenerationError> {
        self.admit()?;
        while pipeline.in_flight() < steps && self.send(pipeline, steps)? {}
        match pipeline.in_flight() {
            0 => Ok(None),
            _ => self.receive(pipeline, on_event).map(Some),
        }
    }

    /// Gives free places to waiting texts, in their order, as far as there is memory.
    fn admit(&mut self) -> Result<(), GenerationError> {
        let context = self.batch.model.config().context_length;
        for place in 0..self.at_work.len() {
            let held: usize = self.at_work.iter().flatten().map(|working| working.slots).sum();
            let Some((prompt, slots)) = self.prompts.get(self.waiting.start / self.batch.samples.max(1))
            else {
                break;
            };
            if held > 0 && held + slots > self.batch.slots {
                break;
            }
            if self.at_work[place].is_some() {
                continue;
            }
            let Some(number) = self.waiting.next() else { break };
            let growth = Growth::new(prompt, Some(self.batch.most), context)?;
            let seed = self.batch.seed.wrapping_add(number as u64);
            let sampler = Sampler::new(self.batch.sampling.clone(), seed)?;
            self.lengths[place].store(prompt.len(), Ordering::Relaxed);
            self.at_work[place] = Some(Working { number, growth, sampler, sent: 0, slots: *slots });
            self.ready.push_back(place);
        }
        Ok(())
    }

    /// Sends a step, unless no text is ready.
    fn send(&mut self, pipeline: &mut Pipeline, steps: usize) -> Result<bool, GenerationError> {
        let share = self.at_work.iter().flatten().count().div_ceil(steps);
        let (mut taken, mut flight, mut go_on) = (Each::new(), Each::new(), Each::<usize>::new());
        let (mut rows, mut of_prompts) = (0, 0);
        while taken.len() < share {
            let Some(place) = self.ready.pop_front() else { break };
            let Some(working) = &mut self.at_work[place] else { continue };
            let (first, all) = (working.sent, working.growth.ids().len());
            let left = all - first;
            let is_past_prompt = left == 1;
            let count = if is_past_prompt { 1 } else { left.min(PROMPT_ROWS - of_prompts) };
            of_prompts += if is_past_prompt { 0 } else { count };
            if count > 0 {
                (rows, working.sent) = (rows + count, first + count);
                taken.push((place, first..working.sent));
            }
            match working.sent == all {
                true => flight.push((place, rows as u32 - 1)),
                false => go_on.push(place),
            }
        }
        self.ready.extend(go_on);
        if taken.is_empty() {
            return Ok(false);
        }
        let ids = |(place, range): (usize, Range<usize>)| {
            let working = self.at_work[place].as_ref()?;
            Some((place, working.growth.ids().get(range)?))
        };
        pipeline.send(&taken.into_iter().filter_map(ids).collect::<Each<_>>())?;
        self.flights.push_back(flight);
        Ok(true)
    }

    /// Waits for a step, and lets its texts go on.
    fn receive(
        &mut self,
        pipeline: &mut Pipeline,
        on_event: &mut dyn FnMut(usize, Event) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, GenerationError> {
        let hidden = pipeline.receive()?; // (T, C)
        let flight = self.flights.pop_front().unwrap_or_default();
        if flight.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let rows = flight.iter().map(|(_, row)| *row).collect::<Each<_>>();
        let mut logits = self.batch.model.logits(&ops::select(&hidden, &rows)?)?; // (texts, V)
        let vocabulary = logits.width();
        for ((place, _), logits) in flight.into_iter().zip(logits.chunks_exact_mut(vocabulary)) {
            let Some(working) = &mut self.at_work[place] else { continue };
            let Working { number, growth, sampler, .. } = working;
            if growth.ids().len() == growth.prompt_len() {
                growth.begin(0);
            }
            let on_token = &mut |id| on_event(*number, Event::Token(id));
            match growth.take(logits, sampler, self.batch.end_ids, on_token)? {
                None => self.ready.push_back(place),
                Some(finish) => {
                    pipeline.restart(place);
                    let Some(ended) = self.at_work[place].take() else { continue };
                    let generation = ended.growth.end(finish);
                    if on_event(ended.number, Event::End(generation)).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

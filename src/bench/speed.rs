//! Measures how fast a model runs, in tokens per second: computing prompts, and generating.
//!
//! The token ids are drawn once, uniformly from the vocabulary with a fixed seed; only the first token of a sequence is
//! given. No token is chosen by its logits or read from a text. So every repetition does the same work, experts are
//! used as evenly as for a text, and the time includes neither tokenizing nor sampling. Logits are computed for the
//! last token of a prompt and for every generated token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};

use crate::generate::{Engine, Event, GenerationError, Limits, NextToken, Request, Watch, sequence_slots};
use crate::kernels::attention::CacheType;
use crate::model::Transformer;

/// Number of tokens that are generated before the measurement begins.
const WARM_UP: usize = 8;

/// The work to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Number of prompt tokens.
    pub prompt_tokens: usize,
    /// Number of tokens that are generated, one after another.
    pub generate_tokens: usize,
    /// Number of tokens that the cache holds before either phase.
    pub depth: usize,
    /// Number of sequences. Their prompts are computed one after another; their tokens are generated together, one
    /// token of each sequence in a batch.
    pub sequences: usize,
}

impl Work {
    /// Returns the number of positions that a sequence needs. Both phases begin at the depth.
    pub fn positions(&self) -> usize {
        self.depth.saturating_add(self.prompt_tokens.max(self.generate_tokens))
    }

    /// Returns the mean number of positions that a generated token sees, including its own; 0 if no token is generated.
    pub fn positions_seen(&self, window: Option<usize>) -> f64 {
        let seen = |i: usize| (self.depth + i).min(window.unwrap_or(usize::MAX)) as f64;
        (1..=self.generate_tokens).map(seen).sum::<f64>() / self.generate_tokens.max(1) as f64
    }

    /// Returns the number of sequences in a batch of generation: all sequences, divided by the number of devices,
    /// rounded up.
    fn sequences_of_step(&self, devices: usize) -> usize {
        self.sequences.div_ceil(devices.max(1)).max(1)
    }

    /// Returns the number of batches in which each sequence gets one token, with this number of devices. Each batch
    /// reads the weights once.
    pub fn steps(&self, devices: usize) -> usize {
        self.sequences.div_ceil(self.sequences_of_step(devices))
    }

    fn tokens(&self, part: Part) -> usize {
        match part {
            Part::Prompt => self.prompt_tokens,
            Part::Generate => self.generate_tokens,
        }
    }
}

/// A phase of the work, measured separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Computing prompts.
    Prompt,
    /// Generating tokens.
    Generate,
}

/// Tokens per second in each repetition, of all sequences together.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    samples: Vec<f64>,
}

impl Rates {
    /// Returns `None` if there is no repetition.
    fn new(samples: Vec<f64>) -> Option<Self> {
        (!samples.is_empty()).then_some(Self { samples })
    }

    /// Returns the rates in the order in which they were measured.
    pub fn samples(&self) -> &[f64] {
        &self.samples
    }

    /// Returns the arithmetic mean.
    pub fn mean(&self) -> f64 {
        self.samples.iter().sum::<f64>() / self.samples.len() as f64
    }

    /// Returns the median.
    pub fn median(&self) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[(sorted.len() - 1) / 2].midpoint(sorted[sorted.len() / 2])
    }

    /// Returns the sample standard deviation (with n - 1); `None` for a single repetition.
    pub fn deviation(&self) -> Option<f64> {
        let others = self.samples.len().checked_sub(1).filter(|others| *others > 0)?;
        let mean = self.mean();
        let squares: f64 = self.samples.iter().map(|rate| (rate - mean) * (rate - mean)).sum();
        Some((squares / others as f64).sqrt())
    }
}

/// Measures a model's speed.
pub struct Speed {
    engine: Engine,
    work: Work,
    /// The token ids of each sequence, one per position.
    ids: Vec<Vec<u32>>,
    watch: Watch,
}

impl Speed {
    /// Prepares a measurement of `model`, with caches in `cache_dtype` and `first` as the first token of every
    /// sequence. The work's positions must fit the model's context. `watch` gets the progress of each repetition.
    pub fn new(
        model: Arc<Transformer>,
        cache_dtype: CacheType,
        work: Work,
        first: Option<u32>,
        watch: Watch,
    ) -> Self {
        let (vocabulary, positions) = (model.config().vocabulary_size as u32, work.positions());
        let ids = |sequence: usize| -> Vec<u32> {
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(sequence as u64);
            let drawn = std::iter::repeat_with(|| rng.random_range(0..vocabulary.max(1)));
            first.into_iter().chain(drawn).take(positions).collect()
        };
        let ids = (0..work.sequences).map(ids).collect();
        let slots = sequence_slots(model.config(), positions).saturating_mul(work.sequences);
        let limits = Limits::new(&model, cache_dtype, slots);
        Self { engine: Engine::new(model, limits), work, ids, watch }
    }

    /// Runs once without measuring, so that weights are in memory and caches are allocated: a prompt, and some of the
    /// tokens to generate. Returns `None` if it was interrupted.
    ///
    /// # Errors
    /// A device has too little memory, or reports another error.
    pub fn warm_up(&mut self) -> Result<Option<()>, GenerationError> {
        // Computes a prompt even if only generation is measured: a few tokens do not reach every expert.
        let prompt = self.work.prompt_tokens.max(self.work.generate_tokens);
        if self.rewind()?.is_none() || self.prompt(prompt)?.is_none() {
            return Ok(None);
        }
        let generated = self.work.generate_tokens.min(WARM_UP);
        if generated > 0 && (self.rewind()?.is_none() || self.generate(generated)?.is_none()) {
            return Ok(None);
        }
        Ok(Some(()))
    }

    /// Measures a phase `repetitions` times; returns `None` if it has no tokens or was interrupted in the first
    /// repetition. Calls `begin` before each repetition with its index.
    ///
    /// # Errors
    /// A device has too little memory, or reports another error.
    pub fn measure(
        &mut self,
        part: Part,
        repetitions: usize,
        begin: &mut dyn FnMut(usize),
    ) -> Result<Option<Rates>, GenerationError> {
        let tokens = self.work.tokens(part);
        let mut samples = Vec::with_capacity(repetitions);
        while tokens > 0 && samples.len() < repetitions {
            begin(samples.len());
            let time = match (self.rewind()?, part) {
                (None, _) => None,
                (Some(()), Part::Prompt) => self.prompt(tokens)?,
                (Some(()), Part::Generate) => self.generate(tokens)?,
            };
            let Some(time) = time else { break };
            samples.push((tokens * self.work.sequences) as f64 / time.as_secs_f64());
        }
        Ok(Rates::new(samples))
    }

    /// Fills the kept cache of each sequence up to the depth.
    fn rewind(&mut self) -> Result<Option<()>, GenerationError> {
        let depth = self.work.depth;
        for sequence in 0..if depth > 0 { self.work.sequences } else { 0 } {
            let most = Some(0);
            self.engine.add(Request { most, ..self.request(sequence, depth, depth, usize::MAX) })?;
            if self.run(&self.watch.clone())?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    /// Measures the time to compute a prompt of each sequence, one after another, with the logits of its last token.
    fn prompt(&mut self, tokens: usize) -> Result<Option<Duration>, GenerationError> {
        let depth = self.work.depth;
        let requests =
            (0..self.work.sequences).map(|i| self.request(i, depth + tokens, depth + tokens, depth));
        let (requests, watch) = (requests.collect::<Vec<_>>(), self.watch.clone());
        let start = Instant::now();
        for request in requests {
            self.engine.add(request)?;
            if self.run(&watch)?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(start.elapsed()))
    }

    /// Measures the time to generate `tokens` tokens of each sequence. Each batch has one token of every sequence, or
    /// of a part of them if there are several devices.
    fn generate(&mut self, tokens: usize) -> Result<Option<Duration>, GenerationError> {
        let depth = self.work.depth;
        let requests = (0..self.work.sequences).map(|i| self.request(i, depth + 1, depth + tokens, depth));
        let requests = requests.collect::<Vec<_>>();
        let silent = self.watch.silent();
        let start = Instant::now();
        self.engine.watch(silent);
        for request in requests {
            self.engine.add(request)?;
        }
        let mut done = 0;
        while !self.engine.is_idle() {
            self.watch.report(done / self.work.sequences, tokens);
            done += self.engine.step()?.filter(|(_, event)| matches!(event, Event::Token { .. })).count();
            if self.watch.is_interrupted() {
                return Ok(None);
            }
        }
        Ok(Some(start.elapsed()))
    }

    /// Creates a request whose prompt is the first `prompt` tokens of a sequence, up to `reuse` of them taken from a
    /// kept cache, and whose given tokens are those from there up to `all`.
    fn request(&self, sequence: usize, prompt: usize, all: usize, reuse: usize) -> Request {
        let ids = &self.ids[sequence];
        let next = NextToken::Given(ids[prompt..all].iter().copied().collect());
        let (most, end_ids, text) = (None, Vec::new(), None);
        Request { prompt: ids[..prompt].to_vec(), next, most, end_ids, text, scores: false, reuse }
    }

    /// Steps the engine until it is idle; returns `None` if it was interrupted.
    fn run(&mut self, watch: &Watch) -> Result<Option<()>, GenerationError> {
        self.engine.watch(watch.clone());
        while !self.engine.is_idle() {
            self.engine.step()?.for_each(drop);
            if watch.is_interrupted() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_rates() {
        let rates = |samples: &[f64]| Rates::new(samples.to_vec()).unwrap();
        let four = rates(&[4.0, 1.0, 3.0, 8.0]);
        assert_eq!((four.mean(), four.median()), (4.0, 3.5));
        // The squared differences 0, 9, 1 and 16, divided by 3.
        assert!((four.deviation().unwrap() - (26.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!((rates(&[2.5]).median(), rates(&[2.5]).deviation()), (2.5, None));
        assert_eq!(rates(&[9.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(Rates::new(Vec::new()), None);
    }

    #[test]
    fn a_generated_token_sees_itself_and_what_the_window_holds() {
        let work = Work { prompt_tokens: 9, generate_tokens: 3, depth: 10, sequences: 1 };
        assert_eq!((work.positions(), work.positions_seen(None)), (19, 12.0));
        assert_eq!(work.positions_seen(Some(12)), (11.0 + 12.0 + 12.0) / 3.0);
        assert_eq!(Work { generate_tokens: 0, ..work }.positions_seen(None), 0.0);
    }

    #[test]
    fn every_device_has_its_part_of_the_sequences() {
        let steps = |sequences, devices| {
            let work = Work { prompt_tokens: 1, generate_tokens: 1, depth: 0, sequences };
            (work.sequences_of_step(devices), work.steps(devices))
        };
        assert_eq!([steps(1, 1), steps(1, 3), steps(4, 1)], [(1, 1), (1, 1), (4, 1)]);
        // Batches of two and two leave the third device without one.
        assert_eq!([steps(4, 2), steps(4, 3), steps(5, 3)], [(2, 2), (2, 2), (2, 3)]);
    }
}

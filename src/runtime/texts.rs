//! Generates many texts together, several for each prompt, and returns them in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::Error;
use super::model::Model;
use super::options::{Options, random_seed};
use crate::generate::{Ended, Engine, Event, Finish, Generation, Id, MOST_AT_ONCE, Timings, Watch};

/// A text that has ended.
#[derive(Clone, Debug)]
pub struct EndedText {
    /// Index of the prompt.
    pub prompt: usize,
    /// Index among the texts of the prompt.
    pub sample: usize,
    /// The seed with which the same text is generated alone.
    pub seed: u64,
    /// The text.
    pub text: String,
    /// The ids, the reason for the end, and the timings.
    pub generation: Generation,
}

/// The texts that [`Model::texts`] generates. The engine gets only a few more of them than it computes at once.
#[derive(Debug)]
pub struct Texts<'p> {
    model: Model,
    engine: Engine,
    options: Options,
    /// Whether the prompts are in the model's chat format.
    is_chat: bool,
    /// Seed of the first computed text. Each later text has the next seed.
    seed: u64,
    /// Ids of the prompts. An empty prompt is not computed, and its texts are empty.
    prompts: Vec<&'p [u32]>,
    /// Number of texts of each prompt.
    samples: usize,
    /// Indices of the prompts that are not empty.
    computed: Vec<usize>,
    /// The sequences of the started texts, in order.
    ids: Vec<Id>,
    /// The texts so far of running sequences, by their positions in `ids`.
    begun: BTreeMap<usize, String>,
    /// The ended texts that the caller has not taken, by their indices.
    ended: BTreeMap<usize, (String, Generation)>,
    /// Number of texts that the caller has taken.
    taken: usize,
    /// Number of prompt tokens that were sent to the engine.
    added: Arc<AtomicUsize>,
}

impl Model {
    /// Begins `samples` texts of each prompt, given as ids. The texts of a prompt without ids are empty.
    ///
    /// Each text is the same as if generated alone with its seed.
    pub fn texts<'p>(
        &self,
        prompts: Vec<&'p [u32]>,
        samples: usize,
        options: impl Into<Options>,
    ) -> Texts<'p> {
        let options = options.into();
        let computed: Vec<usize> = (0..prompts.len()).filter(|i| !prompts[*i].is_empty()).collect();
        let empty = |index: usize| {
            let (ids, timings) = (Vec::new(), Timings::default());
            (index, (String::new(), Generation { ids, finish: Finish::Stop, stop_text: false, timings }))
        };
        let indices = 0..prompts.len().saturating_mul(samples);
        let ended = indices.filter(|index| prompts[index / samples].is_empty()).map(empty).collect();
        Texts {
            model: self.clone(),
            engine: self.engine(),
            seed: options.seed.unwrap_or_else(random_seed),
            options,
            is_chat: false,
            prompts,
            samples,
            computed,
            ids: Vec::new(),
            begun: BTreeMap::new(),
            ended,
            taken: 0,
            added: Arc::default(),
        }
    }
}

impl Texts<'_> {
    /// Declares that the prompts are in the model's chat format, as [`Tokenizer::encode_chat`] returns them.
    ///
    /// [`Tokenizer::encode_chat`]: crate::text::Tokenizer::encode_chat
    pub fn in_chat_format(mut self) -> Self {
        self.is_chat = true;
        self
    }

    /// Returns the number of texts.
    pub fn count(&self) -> usize {
        self.prompts.len().saturating_mul(self.samples)
    }

    /// Returns the number of texts that have ended.
    pub fn ended(&self) -> usize {
        self.taken + self.ended.len()
    }

    /// Returns the number of texts that the caller has taken.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Sets the watch, which observes the prefill of prompts and can end the texts.
    ///
    /// It receives the number of computed prompt tokens, and the total number, which includes texts that wait and excludes
    /// tokens in KV caches.
    pub fn watch(&mut self, watch: Watch) {
        let tokens = self.computed.iter().map(|prompt| self.prompts[*prompt].len()).sum::<usize>();
        let (all, added) = (tokens.saturating_mul(self.samples), self.added.clone());
        let interrupting = watch.clone();
        let report = move |done: usize, expected: usize| {
            let cached = added.load(Ordering::Relaxed).saturating_sub(expected);
            watch.report(done, all - cached.min(all));
        };
        self.engine.watch(Watch::new(move || interrupting.is_interrupted(), report));
    }

    /// Computes a step: the next tokens of some texts, and chunks of some prompts.
    ///
    /// Returns `false` once all texts have ended. If the watch interrupts, they end early.
    ///
    /// # Errors
    /// A prompt fills the context; a sampling value is out of its range; the logits are not numbers; a device fails. Ended
    /// texts can still be taken.
    pub fn step(&mut self) -> Result<bool, Error> {
        self.fill()?;
        let explained = |error| self.model.explained(error);
        let mut ended = Vec::new();
        for (id, event) in self.engine.step().map_err(explained)? {
            // `ids` is sorted: the engine returns increasing ids.
            let Ok(position) = self.ids.binary_search(&id) else { continue };
            match event {
                Event::Token { text, .. } => self.begun.entry(position).or_default().push_str(text),
                Event::Scores(_) => {}
                Event::End(result) => ended.push((position, result)),
            }
        }
        for (position, result) in ended {
            let result = result.map_err(|error| self.model.explained(error))?;
            self.end(position, *result);
        }
        if self.engine.is_interrupted() {
            self.cancel();
            return Ok(false);
        }
        Ok(!self.engine.is_idle() || self.ids.len() < self.computed.len().saturating_mul(self.samples))
    }

    /// Returns the next text in order, if it has ended.
    pub fn take(&mut self) -> Option<EndedText> {
        let index = self.taken;
        let (text, generation) = self.ended.remove(&index)?;
        self.taken += 1;
        let (prompt, sample) = (index / self.samples, index % self.samples);
        let before = self.computed.partition_point(|computed| *computed < prompt);
        let seed = self.seed_at(before * self.samples + sample);
        Some(EndedText { prompt, sample, seed, text, generation })
    }

    /// Returns the seed of the computed text at `position`.
    fn seed_at(&self, position: usize) -> u64 {
        self.seed.wrapping_add(position as u64)
    }

    /// Adds texts to the engine until enough of them wait there.
    fn fill(&mut self) -> Result<(), Error> {
        let texts = self.computed.len().saturating_mul(self.samples);
        while self.ids.len() < texts && self.engine.counts().0 < MOST_AT_ONCE {
            let position = self.ids.len();
            let prompt = self.prompts[self.computed[position / self.samples]].to_vec();
            self.added.fetch_add(prompt.len(), Ordering::Relaxed);
            let request = self.model.request(prompt, &self.options, self.is_chat, self.seed_at(position))?;
            self.ids.push(self.engine.add(request).map_err(|error| self.model.explained(error))?);
        }
        Ok(())
    }

    /// Ends the running texts early. Waiting texts do not count as ended.
    fn cancel(&mut self) {
        let (_, running) = self.engine.counts();
        let ids = self.ids.iter().enumerate();
        let ended = ids.filter_map(|(position, id)| Some((position, self.engine.cancel(*id)?)));
        let ended: Vec<_> = ended.take(running).collect();
        ended.into_iter().for_each(|(position, ended)| self.end(position, ended));
    }

    /// Stores an ended text for the caller.
    fn end(&mut self, position: usize, Ended { generation, rest, .. }: Ended) {
        let index = self.computed[position / self.samples] * self.samples + position % self.samples;
        let text = self.begun.remove(&position).unwrap_or_default() + &rest;
        self.ended.insert(index, (text, generation));
    }
}

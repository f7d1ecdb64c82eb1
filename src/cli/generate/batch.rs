//! Texts of many prompts at once, shown in their order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use mist::generate::{
    Ended, Engine, Event, Finish, Generation, Id, MOST_AT_ONCE, Request, Timings, Watch, per_second,
};
use mist::runtime::{Error, Model};
use mist::system::quote::counted;
use mist::terminal::{Estimate, Output, Progress};

use super::job::{Job, Text};
use super::prompts::Prompt;
use crate::cli::exit::Status;

/// Generates `num_samples` texts of each prompt; those of a blank line are empty.
pub fn run(job: &Job, prompts: &[Prompt], seed: u64) -> anyhow::Result<Status> {
    let samples = job.args.num_samples as usize;
    let texts = prompts.len().saturating_mul(samples);
    let full: Vec<usize> = (0..prompts.len()).filter(|i| !prompts[*i].ids.is_empty()).collect();
    let start = Instant::now();
    let bar = Arc::new(job.printer.steps_bar("Generating", texts as u64));
    let mut shown = Shown {
        job,
        prompts,
        full: &full,
        seed,
        begun: BTreeMap::new(),
        next: 0,
        ended: blank(prompts, samples),
        tokens: [0; 2],
        cut: 0,
        interrupted: false,
    };
    bar.add(shown.ended.len() as u64);
    shown.show()?;
    let tokens = full.iter().map(|i| prompts[*i].ids.len()).sum::<usize>().saturating_mul(samples);
    let mut queue = Queue::new(&job.model, full.len().saturating_mul(samples));
    queue.engine.watch(watch(job, &bar, tokens, queue.tokens.clone()));
    while queue.fill(|computed| shown.request(computed))? {
        queue.step(&bar, &mut shown)?;
        if queue.engine.is_interrupted() {
            queue.cancel(&bar, &mut shown)?;
            break;
        }
    }
    drop(queue);
    drop(bar);
    let (seconds, [prompt, generated]) = (start.elapsed().as_secs_f64(), shown.tokens);
    let count = ended(shown.next, texts);
    let rate = match generated {
        // Of one token that says how long its prompt took.
        0 | 1 => String::new(),
        _ => format!(", {} in all", per_second(generated as f64 / seconds)),
    };
    let (prompt, generated) = (counted(prompt, "token"), counted(generated, "token"));
    job.printer.note(&format!("{count} in {seconds:.2} s. Prompts: {prompt}. Generated: {generated}{rate}."));
    job.warn_of_context(shown.cut, texts);
    Ok(if shown.interrupted || shown.next < texts { Status::Interrupted } else { Status::Success })
}

/// The texts of blank lines, by their numbers.
fn blank(prompts: &[Prompt], samples: usize) -> BTreeMap<usize, Generation> {
    let is_blank = |number: &usize| prompts[number / samples].ids.is_empty();
    let empty = || {
        let timings = Timings::default();
        Generation { ids: Vec::new(), finish: Finish::Stop, stop_text: false, timings }
    };
    (0..prompts.len() * samples).filter(is_blank).map(|number| (number, empty())).collect()
}

/// How many of the texts have ended, in words.
fn ended(ended: usize, texts: usize) -> String {
    let all = counted(texts, "text");
    if ended < texts { format!("{ended} of {all}") } else { all }
}

/// How far prompts are, behind the bar: `all` tokens of all texts, of which `added` are with the engine.
fn watch(job: &Job, bar: &Arc<Progress>, all: usize, added: Arc<AtomicUsize>) -> Watch {
    let (flag, bar, estimate) = (job.interrupt.flag(), bar.clone(), Mutex::new(Estimate::default()));
    let report = move |done: usize, expected: usize| {
        // Tokens that a cache held are not computed.
        let all = all - added.load(Ordering::Relaxed).saturating_sub(expected).min(all);
        let mut estimate = estimate.lock().unwrap_or_else(PoisonError::into_inner);
        let words = estimate.at(Instant::now(), done as u64, all as u64);
        match words {
            _ if done == all => bar.message(""),
            Some(words) => bar.message(&format!(" texts, prompts {done}/{all}{words}")),
            None => {}
        }
    };
    Watch::new(move || flag.load(Ordering::Relaxed), report)
}

/// The texts on their way through the engine, which is given some more than it computes at once.
struct Queue<'a> {
    model: &'a Model,
    engine: Engine,
    /// The texts that were added, by their numbers.
    ids: Vec<Id>,
    /// Texts that are computed.
    texts: usize,
    /// Tokens of the prompts that were added.
    tokens: Arc<AtomicUsize>,
}

impl<'a> Queue<'a> {
    fn new(model: &'a Model, texts: usize) -> Self {
        let engine = model.engine();
        Self { model, engine, ids: Vec::new(), texts, tokens: Arc::default() }
    }

    /// Adds texts; whether some have not ended.
    fn fill(&mut self, request: impl Fn(usize) -> Result<Request, Error>) -> anyhow::Result<bool> {
        while self.ids.len() < self.texts && self.engine.counts().0 < MOST_AT_ONCE {
            let request = request(self.ids.len())?;
            self.tokens.fetch_add(request.prompt.len(), Ordering::Relaxed);
            let added = self.engine.add(request);
            self.ids.push(added.map_err(|error| self.model.explained(error))?);
        }
        Ok(!self.engine.is_idle())
    }

    /// A step, of which `shown` is told.
    fn step(&mut self, bar: &Progress, shown: &mut Shown) -> anyhow::Result<()> {
        let explained = |error| self.model.explained(error);
        for (id, event) in self.engine.step().map_err(explained)? {
            // Ids are in the order in which they were given.
            let Ok(number) = self.ids.binary_search(&id) else { continue };
            match event {
                Event::Token { text, .. } => shown.push(number, text),
                Event::Scores(_) => {}
                Event::End(ended) => shown.end_above(bar, number, *ended.map_err(explained)?)?,
            }
        }
        Ok(())
    }

    /// Ends the texts at work as they are. Those that have not begun are not told of.
    fn cancel(&mut self, bar: &Progress, shown: &mut Shown) -> anyhow::Result<()> {
        let (_, running) = self.engine.counts();
        let ids = self.ids.iter().enumerate();
        let ended = ids.filter_map(|(number, id)| Some((number, self.engine.cancel(*id)?)));
        ended.take(running).try_for_each(|(number, ended)| shown.end_above(bar, number, ended))
    }
}

/// What was shown of the texts so far.
struct Shown<'a> {
    job: &'a Job<'a>,
    prompts: &'a [Prompt],
    /// Prompts that are computed: all but blank lines.
    full: &'a [usize],
    /// Of the first text that is computed.
    seed: u64,
    /// Those that have a token and were not shown.
    begun: BTreeMap<usize, Output<'a>>,
    /// The first text that was not shown.
    next: usize,
    /// Those that have ended and wait for others before them.
    ended: BTreeMap<usize, Generation>,
    /// Of prompts, and generated.
    tokens: [usize; 2],
    /// Texts that ended because the context is full.
    cut: usize,
    interrupted: bool,
}

impl<'a> Shown<'a> {
    /// The prompt of a text.
    fn prompt(&self, number: usize) -> &'a Prompt {
        &self.prompts[number / self.job.args.num_samples as usize]
    }

    /// The number among all texts of one that is computed.
    fn number(&self, computed: usize) -> usize {
        let samples = self.job.args.num_samples as usize;
        self.full[computed / samples] * samples + computed % samples
    }

    /// Which text it is, and where its chance begins: each that is computed has the next seed.
    fn text_at(&self, number: usize) -> Text {
        let samples = self.job.args.num_samples as usize;
        let before = self.full.partition_point(|prompt| *prompt < number / samples);
        let computed = before * samples + number % samples;
        Text { sample: (number % samples) as u32, seed: self.seed.wrapping_add(computed as u64) }
    }

    /// What the engine is asked for.
    fn request(&self, computed: usize) -> Result<Request, Error> {
        let number = self.number(computed);
        self.job.request(self.prompt(number), self.text_at(number).seed)
    }

    /// A text has a piece more.
    fn push(&mut self, computed: usize, piece: &str) {
        let number = self.number(computed);
        let (job, prompt) = (self.job, self.prompt(number));
        // What is collected goes nowhere yet, and cannot fail.
        let _ = self.begun.entry(number).or_insert_with(|| job.output(prompt, true)).push(piece);
    }

    /// A text has ended.
    fn end(&mut self, computed: usize, Ended { generation, rest, .. }: Ended) -> anyhow::Result<()> {
        self.push(computed, &rest);
        self.tokens[0] += generation.timings.prompt_tokens;
        self.tokens[1] += generation.timings.generated_tokens;
        self.cut += usize::from(generation.finish == Finish::Context);
        self.interrupted |= generation.finish == Finish::Interrupted;
        self.ended.insert(self.number(computed), generation);
        self.show()
    }

    /// The same above the bar: its text may be shown.
    fn end_above(&mut self, bar: &Progress, computed: usize, ended: Ended) -> anyhow::Result<()> {
        let mut done = Ok(());
        bar.above(|| done = self.end(computed, ended));
        bar.add(1);
        done
    }

    /// Shows the texts that have ended, as far as all before them have.
    fn show(&mut self) -> anyhow::Result<()> {
        while let Some(generation) = self.ended.remove(&self.next) {
            let number = self.next;
            self.next += 1;
            let begun = self.begun.remove(&number);
            let output = begun.unwrap_or_else(|| self.job.output(self.prompt(number), true));
            match self.job.args.json {
                true => {
                    let text = output.finish("")?;
                    let of = self.text_at(number);
                    let json = self.job.json(self.prompt(number), of, &generation, &text, None);
                    self.job.printer.data(&format!("{json}\n"))?;
                }
                false => {
                    self.job.separate(number)?;
                    output.show(self.job.end())?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_texts_is_never_told_as_all_of_them() {
        let counts = [(1, 4), (0, 1), (1, 1), (4, 4)].map(|(done, texts)| ended(done, texts));
        assert_eq!(counts, ["1 of 4 texts", "0 of 1 text", "1 text", "4 texts"]);
    }
}

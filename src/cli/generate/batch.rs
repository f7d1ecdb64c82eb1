//! Texts of many prompts at once, shown in their order.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use mist::generate::{Batch, Event, Finish, Generation, Timings, Watch};
use mist::system::quote::counted;
use mist::terminal::Estimate;

use super::{Job, Prompt, Text};
use crate::cli::exit::Status;
use crate::cli::output::{Output, per_second};

/// Generates `num_samples` texts of each prompt; those of a blank line are empty.
pub fn run(job: &Job, prompts: &[Prompt], seed: u64) -> anyhow::Result<Status> {
    let model = &job.loaded.model;
    let batch = Batch {
        model,
        cache_dtype: job.loaded.cache_dtype,
        slots: job.loaded.slots,
        steps: model.devices(),
        end_ids: &job.ends,
        most: job.args.max_new_tokens,
        samples: job.args.num_samples as usize,
        sampling: job.sampling.clone(),
        seed,
    };
    let texts = prompts.len().saturating_mul(batch.samples);
    let full: Vec<usize> = (0..prompts.len()).filter(|i| !prompts[*i].ids.is_empty()).collect();
    let start = Instant::now();
    let bar = job.printer.steps_bar("Generating", texts as u64);
    let mut shown = Shown {
        job,
        prompts,
        full: &full,
        seed,
        begun: BTreeMap::new(),
        next: 0,
        ended: blank(prompts, batch.samples),
        tokens: [0; 2],
        cut: 0,
        interrupted: false,
        failed: None,
    };
    bar.add(shown.ended.len() as u64);
    shown.show()?;
    let ids: Vec<&[u32]> = full.iter().map(|i| prompts[*i].ids.as_slice()).collect();
    let estimate = Mutex::new(Estimate::default());
    let report = |done: usize, all: usize| {
        let mut estimate = estimate.lock().unwrap_or_else(PoisonError::into_inner);
        let words = estimate.at(Instant::now(), done as u64, all as u64);
        match words {
            _ if done == all => bar.message(""),
            Some(words) => bar.message(&format!(" texts, prompts {done}/{all}{words}")),
            None => {}
        }
    };
    batch.run(&ids, Watch::new(job.interrupt.flag(), &report), &mut |number, event| {
        let ended = matches!(event, Event::End(_));
        let mut flow = ControlFlow::Continue(());
        match ended {
            // Its text may be shown.
            true => bar.above(|| flow = shown.take(number, event)),
            false => flow = shown.take(number, event),
        }
        bar.add(u64::from(ended));
        flow
    })?;
    drop(bar);
    if let Some(error) = shown.failed {
        return Err(error);
    }
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
    let empty = || Generation { ids: Vec::new(), finish: Finish::Stop, timings: Timings::default() };
    (0..prompts.len() * samples).filter(is_blank).map(|number| (number, empty())).collect()
}

/// How many of the texts have ended, in words.
fn ended(ended: usize, texts: usize) -> String {
    let all = counted(texts, "text");
    if ended < texts { format!("{ended} of {all}") } else { all }
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
    failed: Option<anyhow::Error>,
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

    fn take(&mut self, computed: usize, event: Event) -> ControlFlow<()> {
        let number = self.number(computed);
        match event {
            Event::Token(id) => {
                let (job, prompt) = (self.job, self.prompt(number));
                self.begun.entry(number).or_insert_with(|| job.output(prompt, true)).push(id)
            }
            Event::End(generation) => {
                self.tokens[0] += generation.timings.prompt_tokens;
                self.tokens[1] += generation.timings.generated_tokens;
                self.cut += usize::from(generation.finish == Finish::Context);
                self.interrupted |= generation.finish == Finish::Interrupted;
                self.ended.insert(number, generation);
                self.failed = self.show().err();
                if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
        }
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

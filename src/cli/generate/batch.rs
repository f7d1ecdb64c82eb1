//! Texts of many prompts at once, shown in their order.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

use mist::generate::{Batch, Event, Finish, Generation, Request, Sampler, Sampling};

use super::{Job, Prompt};
use crate::cli::exit::Status;
use crate::cli::output::Output;

/// Generates `num_samples` texts of each prompt. Each text has chance of its own: the seed, and its number added.
pub fn run(job: &Job, prompts: &[Prompt], sampling: &Sampling, seed: u64) -> anyhow::Result<Status> {
    let texts: Vec<&Prompt> = prompts
        .iter()
        .flat_map(|prompt| std::iter::repeat_n(prompt, job.args.num_samples as usize))
        .collect();
    let mut requests = Vec::with_capacity(texts.len());
    for (number, prompt) in (0u64..).zip(&texts) {
        let sampler = Sampler::new(sampling.clone(), seed.wrapping_add(number))?;
        requests.push(Request { prompt: &prompt.ids, sampler });
    }
    let model = &job.loaded.model;
    let batch = Batch {
        model,
        cache_dtype: job.loaded.cache_dtype,
        slots: job.loaded.slots,
        steps: model.devices(),
        end_ids: job.end_ids(),
        most: job.args.max_new_tokens,
    };
    let start = Instant::now();
    let bar = job.printer.steps_bar("Generating", texts.len() as u64);
    let mut shown = Shown {
        job,
        texts: &texts,
        begun: BTreeMap::new(),
        next: 0,
        ended: BTreeMap::new(),
        tokens: [0; 2],
        interrupted: false,
        failed: None,
    };
    batch.run(requests, job.interrupt.flag(), &mut |number, event| {
        let ended = matches!(event, Event::End(_));
        let flow = shown.take(number, event);
        bar.add(u64::from(ended));
        flow
    })?;
    drop(bar);
    if let Some(error) = shown.failed {
        return Err(error);
    }
    let (seconds, [prompt, generated]) = (start.elapsed().as_secs_f64(), shown.tokens);
    let count = if texts.len() == 1 { "1 text".into() } else { format!("{} texts", texts.len()) };
    job.printer.note(&format!(
        "{count} in {seconds:.2} s. Prompts: {prompt} tokens. Generated: {generated} tokens, {:.2} tokens/s in all.",
        generated as f64 / seconds,
    ));
    Ok(if shown.interrupted || shown.next < texts.len() { Status::Interrupted } else { Status::Success })
}

/// What was shown of the texts so far.
struct Shown<'a> {
    job: &'a Job<'a>,
    texts: &'a [&'a Prompt],
    /// Those that have a token and were not shown.
    begun: BTreeMap<usize, Output<'a>>,
    /// The first text that was not shown.
    next: usize,
    /// Those that have ended and wait for others before them.
    ended: BTreeMap<usize, Generation>,
    /// Of prompts, and generated.
    tokens: [usize; 2],
    interrupted: bool,
    failed: Option<anyhow::Error>,
}

impl Shown<'_> {
    fn take(&mut self, number: usize, event: Event) -> ControlFlow<()> {
        match event {
            Event::Token(id) => {
                let begin = || self.job.output(self.texts[number], true);
                self.begun.entry(number).or_insert_with(begin).push(id)
            }
            Event::End(generation) => {
                self.tokens[0] += generation.timings.prompt_tokens;
                self.tokens[1] += generation.timings.generated_tokens;
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
            let output = begun.unwrap_or_else(|| self.job.output(self.texts[number], true));
            match self.job.args.json {
                true => {
                    let text = output.finish(true)?;
                    let json = self.job.json(self.texts[number], &generation, &text, None);
                    self.job.printer.data(&format!("{json}\n"))?;
                }
                false => {
                    output.show()?;
                }
            }
        }
        Ok(())
    }
}

//! Generates texts of many prompts at once, and prints them in the order of the prompts.

use std::sync::Arc;
use std::time::Instant;

use mist::generate::{Finish, Timings, more_in_cache, per_second};
use mist::runtime::{EndedText, Texts};
use mist::system::quote::counted;
use mist::terminal::{Progress, watch_behind};

use super::job::{Job, Text};
use super::prompts::Prompt;
use crate::cli::exit::Status;

/// Generates `num_samples` texts of each prompt. The texts of a blank line are empty.
pub fn run(job: &Job, prompts: &[Prompt]) -> anyhow::Result<Status> {
    let ids = prompts.iter().map(|prompt| prompt.ids.as_slice()).collect();
    let start = Instant::now();
    let mut texts = job.model.texts(ids, job.args.num_samples as usize, &job.options);
    if job.args.chat {
        texts = texts.in_chat_format();
    }
    let bar = Arc::new(job.printer.steps_bar("Generating", texts.count() as u64));
    texts.watch(watch_behind(job.interrupt, &bar));
    let mut shown = Shown { job, prompts, bar: &bar, tokens: [0; 3], cut: 0, interrupted: false };
    shown.show_ended(&mut texts)?;
    loop {
        let stepped = texts.step();
        shown.show_ended(&mut texts)?;
        if !stepped? {
            break;
        }
    }
    let Shown { tokens: [prompt, cached, generated], cut, interrupted, .. } = shown;
    let (count, all) = (texts.taken(), texts.count());
    drop(texts);
    drop(bar);
    let seconds = start.elapsed().as_secs_f64();
    let rate = match generated {
        // A single token takes no decoding time: the prompt yields it.
        0 | 1 => String::new(),
        _ => format!(", {} in all", per_second(generated as f64 / seconds)),
    };
    let (prompt, generated) =
        (counted(prompt, "token") + &more_in_cache(cached), counted(generated, "token"));
    let ended = ended(count, all);
    job.printer.note(&format!("{ended} in {seconds:.2} s. Prompts: {prompt}. Generated: {generated}{rate}."));
    job.warn_of_context(cut, all);
    Ok(if interrupted || count < all { Status::Interrupted } else { Status::Success })
}

/// Formats the number of ended texts.
fn ended(ended: usize, texts: usize) -> String {
    let all = counted(texts, "text");
    if ended < texts { format!("{ended} of {all}") } else { all }
}

/// The texts printed so far.
struct Shown<'a> {
    job: &'a Job<'a>,
    prompts: &'a [Prompt],
    bar: &'a Progress,
    /// Number of computed prompt tokens, of prompt tokens from the cache, and of generated tokens.
    tokens: [usize; 3],
    /// Number of texts that ended because the context is full.
    cut: usize,
    interrupted: bool,
}

impl Shown<'_> {
    /// Prints the texts that have ended, up to the first that has not.
    fn show_ended(&mut self, texts: &mut Texts) -> anyhow::Result<()> {
        self.bar.set(texts.ended() as u64);
        while let Some(text) = texts.take() {
            let (generation, number) = (&text.generation, texts.taken() - 1);
            let Timings { prompt_tokens, cached_tokens, generated_tokens, .. } = generation.timings;
            let ended = [prompt_tokens, cached_tokens, generated_tokens];
            self.tokens.iter_mut().zip(ended).for_each(|(all, tokens)| *all += tokens);
            self.cut += usize::from(generation.finish == Finish::Context);
            self.interrupted |= generation.finish == Finish::Interrupted;
            let mut done = Ok(());
            self.bar.above(|| done = self.show(number, &text));
            done?;
        }
        Ok(())
    }

    fn show(
        &self,
        number: usize,
        EndedText { prompt, sample, seed, text, generation }: &EndedText,
    ) -> anyhow::Result<()> {
        let prompt = &self.prompts[*prompt];
        if self.job.args.json {
            let of = Text { sample: *sample as u32, seed: *seed };
            self.job.printer.result(self.job.json(prompt, of, generation, text, None))?;
            return Ok(());
        }
        self.job.separate(number)?;
        let mut output = self.job.output(prompt, true);
        // Collecting text cannot fail.
        let _ = output.push(text);
        Ok(output.show(self.job.end())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_says_if_not_all_texts_have_ended() {
        let counts = [(1, 4), (0, 1), (1, 1), (4, 4)].map(|(done, texts)| ended(done, texts));
        assert_eq!(counts, ["1 of 4 texts", "0 of 1 text", "1 text", "4 texts"]);
    }
}

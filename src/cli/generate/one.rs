//! Texts of one prompt, one after another, shown as they come.

use std::ops::ControlFlow;

use mist::generate::{Finish, Generation, Sampler, Session, Watch};

use super::{Job, Prompt, Text};
use crate::cli::disk::BytesRead;
use crate::cli::exit::Status;
use crate::cli::output::{note_reading, note_timings};

/// Generates the texts of `prompt`.
pub fn run(job: &Job, prompt: &Prompt, seed: u64) -> anyhow::Result<Status> {
    let loaded = job.loaded;
    let positions = prompt.ids.len().saturating_add(job.args.max_new_tokens.max(1));
    let mut session = Session::new(&loaded.model, loaded.cache_dtype, positions);
    for sample in 0..job.args.num_samples {
        let of = Text { sample, seed: seed.wrapping_add(sample.into()) };
        job.separate(sample as usize)?;
        if text(job, prompt, of, &mut session)?.finish == Finish::Interrupted {
            return Ok(Status::Interrupted);
        }
    }
    Ok(Status::Success)
}

fn text(job: &Job, prompt: &Prompt, of: Text, session: &mut Session) -> anyhow::Result<Generation> {
    let mut sampler = Sampler::new(job.sampling.clone(), of.seed)?;
    let progress = job.printer.tokens("Prompt");
    let report = |done, all| progress.report(done, all);
    let watch = Watch::new(job.interrupt.flag(), &report);
    let mut output = job.output(prompt, job.args.json).after(&progress);
    let mut disk: Option<BytesRead> = None;
    let on_token = &mut |id| -> ControlFlow<()> {
        // What comes after the first token is decoding.
        disk.get_or_insert_with(BytesRead::now);
        output.push(id)
    };
    let most = Some(job.args.max_new_tokens);
    let generation = session.generate(&prompt.ids, &mut sampler, &job.ends, most, watch, on_token)?;
    let cut = output.stopped();
    let text = output.finish(job.end())?;
    let decoded = generation.timings.generated_tokens.saturating_sub(1);
    let disk = disk.and_then(|before| before.a_token(decoded));
    if job.args.json {
        job.printer.data(&format!("{}\n", job.json(prompt, of, &generation, &text, disk)))?;
    }
    let echoed = if job.args.echo && !job.args.json { prompt.text.len() } else { 0 };
    if generation.finish == Finish::Stop && text.len() <= echoed {
        job.printer.note(match cut {
            true => "The text is empty: it began with a stop text",
            false => "The text is empty: the model ended it at once",
        });
        if !cut && !job.args.chat && job.loaded.opened.tokenizer.chat_format().is_some() {
            job.printer.note("--chat puts the prompt into the model's chat format");
        }
    }
    note_timings(&generation.timings, job.printer);
    job.warn_of_context((generation.finish == Finish::Context).into(), 1);
    note_reading(&job.loaded.opened.checkpoint, disk, job.printer);
    Ok(generation)
}

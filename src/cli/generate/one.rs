//! Generates the texts of one prompt one after another, and prints them piece by piece.

use std::ops::ControlFlow;
use std::sync::Arc;

use mist::generate::{Engine, Finish};
use mist::system::process::BytesRead;
use mist::terminal::watch;

use super::job::{Job, Text};
use super::prompts::Prompt;
use crate::cli::exit::Status;
use crate::cli::output::{note_reading, note_timings};

/// Generates the texts of `prompt`.
pub fn run(job: &Job, prompt: &Prompt, seed: u64) -> anyhow::Result<Status> {
    let mut engine = job.model.engine();
    for sample in 0..job.args.num_samples {
        let of = Text { sample, seed: seed.wrapping_add(sample.into()) };
        job.separate(sample as usize)?;
        if text(job, prompt, of, &mut engine)? == Finish::Interrupted {
            return Ok(Status::Interrupted);
        }
    }
    Ok(Status::Success)
}

/// Generates and prints a text, and returns why it ended.
fn text(job: &Job, prompt: &Prompt, of: Text, engine: &mut Engine) -> anyhow::Result<Finish> {
    let progress = Arc::new(job.printer.tokens("Prompt"));
    engine.watch(watch(job.interrupt, &progress));
    let mut output = job.output(prompt, job.args.json).after(&progress);
    let mut disk: Option<BytesRead> = None;
    let on_token = &mut |_, piece: &str| -> ControlFlow<()> {
        // Decoding begins after the first token.
        disk.get_or_insert_with(BytesRead::now);
        output.push(piece)
    };
    let request = job.request(prompt, of.seed)?;
    let ended = engine.add(request).and_then(|id| engine.finish(id, on_token));
    let ended = ended.map_err(|error| job.model.explained(error))?;
    let generation = ended.generation;
    // `finish` reports that stdout cannot be written to.
    let _ = output.push(&ended.rest);
    let text = output.finish(job.end())?;
    let decoded = generation.timings.generated_tokens.saturating_sub(1);
    let disk = disk.and_then(|before| before.a_token(decoded));
    if job.args.json {
        job.printer.data(&format!("{}\n", job.json(prompt, of, &generation, &text, disk)))?;
    }
    let echoed = if job.args.echo && !job.args.json { prompt.text.len() } else { 0 };
    if generation.finish == Finish::Stop && text.len() <= echoed {
        job.printer.note(match generation.stop_text {
            true => "The text is empty: it began with a stop text",
            false => "The text is empty: the model ended it at once",
        });
        if !generation.stop_text && !job.args.chat && job.model.tokenizer().chat_format().is_some() {
            job.printer.note("--chat puts the prompt into the model's chat format");
        }
    }
    note_timings(&generation.timings, job.printer);
    job.warn_of_context((generation.finish == Finish::Context).into(), 1);
    note_reading(job.model.checkpoint(), disk, job.printer);
    Ok(generation.finish)
}

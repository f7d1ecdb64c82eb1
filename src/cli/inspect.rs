//! `mist inspect`: describes a checkpoint and checks its files.

use std::path::Path;

use clap::Args;
use mist::checkpoint::open::Checkpoint;
use mist::hub::Manifest;
use mist::runtime::opened::{compare_ids, tokenizer, warn};
use mist::runtime::{Inspected, Speech, Wanted, schemes};
use mist::system::numbers::at_least;
use mist::system::quote::counted;
use mist::terminal::{Printer, Running};

use super::exit::Status;
use super::located::CheckpointArgs;
use super::sampling::SamplingArgs;

/// Describe a checkpoint and compare its tensors with its config.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  mist inspect mistralai/Mistral-7B-v0.1 --context-length 4096")]
pub struct InspectArgs {
    /// Number of positions for the size of the cache [default: the model's context].
    #[arg(long, value_name = "N", value_parser = at_least(0usize))]
    context_length: Option<usize>,
    /// Compare the hashes of downloaded files, and check that every weight is a finite number.
    #[arg(long)]
    verify: bool,
    /// Print one JSON object.
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    checkpoint: CheckpointArgs,
}

/// Runs `mist inspect`. Opening the checkpoint compares names and shapes of tensors with the config.
pub fn run(args: &InspectArgs, printer: &Printer) -> anyhow::Result<Status> {
    let path = args.checkpoint.locate(Wanted::Weights, printer)?.opened_as()?;
    // Hashes come first, because they describe a damaged file best.
    let hashed = if args.verify { verify_download(&path, printer)? } else { None };
    let checkpoint = Checkpoint::open(&path)?;
    let report = &mut Running::new(printer);
    warn(&checkpoint, report);
    let tokenizer = tokenizer(&checkpoint)?;
    compare_ids(&checkpoint, &tokenizer, report)?;
    let sampling = SamplingArgs::default().sampling(&checkpoint, printer)?;
    let speech = Speech::of(&checkpoint, &tokenizer, sampling);
    let mut inspected = Inspected::new(&checkpoint, speech, args.context_length);
    inspected.hashed_files = hashed;
    if args.verify {
        let bar = printer.bytes_bar("Verifying", schemes(&checkpoint).values().sum());
        checkpoint.check_finite(&mut |bytes| bar.add(bytes))?;
        inspected.is_finite = true;
    }
    if args.json {
        printer.result(inspected.as_json())?;
        return Ok(Status::Success);
    }
    for (name, value) in inspected.lines() {
        printer.result(format!("{name:14} {value}"))?;
    }
    if args.verify {
        if let Some(files) = hashed {
            let are = if files == 1 { "is" } else { "are" };
            printer.note(&format!("{} {are} what was downloaded", counted(files, "file")));
        }
        printer.note("Every weight is a finite number");
    }
    printer.note("The tensors and their shapes match the config");
    Ok(Status::Success)
}

/// Compares the hashes of files in the folder of `path` with those of their download, and returns the number of files.
/// Returns `None` without a manifest of the download.
fn verify_download(path: &Path, printer: &Printer) -> anyhow::Result<Option<usize>> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let Some(manifest) = Manifest::read(folder)? else {
        printer.note("There is no mist-download.json to compare hashes with");
        return Ok(None);
    };
    let bar = printer.bytes_bar("Hashing", manifest.total());
    let damages = manifest.verify(folder, &mut |bytes| bar.add(bytes))?;
    drop(bar);
    if damages.is_empty() {
        return Ok(Some(manifest.files()));
    }
    Err(manifest.damaged(folder, &damages).into())
}

//! `mist inspect`: what a checkpoint is, what it needs, and whether it is whole.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use indicatif::HumanBytes;
use mist::checkpoint::open::Checkpoint;
use mist::hub::Manifest;
use mist::kernels::attention::CacheType;
use mist::quant::Scheme;
use mist::runtime::opened::{tokenizer, warn};
use mist::runtime::{Speech, Wanted, schemes};
use mist::system::numbers::at_least;
use mist::system::quote::{counted, quoted};
use mist::terminal::Printer;
use mist::text::Tokenizer;
use serde_json::json;

use super::exit::Status;
use super::located::CheckpointArgs;
use super::running::Running;
use super::sampling::SamplingArgs;

/// Describe a checkpoint and compare its tensors with its config.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  mist inspect mistralai/Mistral-7B-v0.1 --context-length 4096")]
pub struct InspectArgs {
    /// Count the cache for so many positions; the model's context by default.
    #[arg(long, value_name = "N", value_parser = at_least(0usize))]
    context_length: Option<usize>,
    /// Hash what was downloaded again, and check that every weight is a finite number.
    #[arg(long)]
    verify: bool,
    /// One JSON object on stdout.
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    checkpoint: CheckpointArgs,
}

/// Runs `mist inspect`. Opening a checkpoint compares names and shapes with the config: what is wrong is its error.
pub fn run(args: &InspectArgs, printer: &Printer) -> anyhow::Result<Status> {
    let path = args.checkpoint.locate(Wanted::Weights, printer)?.opened_as()?;
    // First: of a damaged file it is the most that can be said.
    let hashed = if args.verify { verify_download(&path, printer)? } else { None };
    let checkpoint = Checkpoint::open(&path)?;
    warn(&checkpoint, &mut Running::new(printer));
    let tokenizer = tokenizer(&checkpoint)?;
    compare_ids(&checkpoint, &tokenizer, printer)?;
    let sampling = SamplingArgs::default().sampling(&checkpoint, printer)?;
    let speech = Speech::of(&checkpoint, &tokenizer, sampling);
    let schemes = schemes(&checkpoint);
    let weights: u64 = schemes.values().sum();
    if args.verify {
        let bar = printer.bytes_bar("Verifying", weights);
        checkpoint.check_finite(&mut |bytes| bar.add(bytes))?;
    }
    let config = &checkpoint.config;
    let (total, active) = config.parameters();
    let positions = args.context_length.unwrap_or(config.context_length);
    let held = config.window.unwrap_or(positions).min(positions);
    let cache = |cache: CacheType| {
        let position = cache.position(config.key_value_heads, config.head_size);
        (held as u64).saturating_mul((position * config.layers) as u64)
    };
    if args.json {
        let mut json = json!({
            "format": checkpoint.format.name(),
            "architecture": config.architecture,
            "parameters": total,
            "active_parameters": active,
            "weight_bytes": weights,
            "context_length": config.context_length,
            "cache_positions": held,
            "cache_bytes_f32": cache(CacheType::F32),
            "cache_bytes_f16": cache(CacheType::F16),
            "scheme_bytes": schemes,
            "finite": args.verify.then_some(true),
            "hashed_files": hashed,
            "config": config,
        });
        json.as_object_mut().into_iter().for_each(|json| speech.add_to(json));
        printer.result(json)?;
        return Ok(Status::Success);
    }
    printer.result(format!("{:14} {}", "format", checkpoint.format.name()))?;
    for (name, value) in config.described() {
        printer.result(format!("{name:14} {value}"))?;
    }
    let millions = |count: u64| format!("{:.2} M", count as f64 / 1e6);
    let active = if active == total { String::new() } else { format!(" ({} active)", millions(active)) };
    printer.result(format!("{:14} {}{active}", "parameters", millions(total)))?;
    printer.result(format!("{:14} {} ({})", "weights", HumanBytes(weights), shares(&schemes)))?;
    let sizes = (HumanBytes(cache(CacheType::F32)), HumanBytes(cache(CacheType::F16)));
    printer.result(format!("{:14} {} in f32, {} in f16, for {held} positions", "cache", sizes.0, sizes.1))?;
    for (name, value) in speech.lines() {
        printer.result(format!("{name:14} {value}"))?;
    }
    if args.verify {
        if let Some(files) = hashed {
            let are = if files == 1 { "is" } else { "are" };
            printer.note(&format!("{} {are} what was downloaded", counted(files, "file")));
        }
        printer.note("Every weight is a finite number");
    }
    printer.note("Every tensor that the config implies is there, in its shape, and no other");
    Ok(Status::Success)
}

/// Compares the tokenizer's ids with the rows of the embedding. Plain text must lead to no id without a row; of other
/// tokens models are published that are never looked up, such as a padding token.
fn compare_ids(checkpoint: &Checkpoint, tokenizer: &Tokenizer, printer: &Printer) -> anyhow::Result<()> {
    let rows = checkpoint.config.vocabulary_size;
    let named = |ids: &[u32]| {
        let name = |id: &u32| format!("{} ({id})", quoted(tokenizer.token(*id).unwrap_or_default()));
        let shown: Vec<String> = ids.iter().take(3).map(name).collect();
        let more = if ids.len() > 3 { format!(" and {} more", ids.len() - 3) } else { String::new() };
        format!("{}{more}", shown.join(", "))
    };
    let folder = checkpoint.folder.display();
    let [of_texts, others] = tokenizer.beyond(rows);
    if !of_texts.is_empty() {
        let named = named(&of_texts);
        anyhow::bail!("{folder}: the embedding has {rows} rows, none for tokens that texts lead to: {named}");
    }
    if !others.is_empty() {
        let named = named(&others);
        printer.warn(&format!("the embedding has {rows} rows, none for added tokens: {named}"));
    }
    Ok(())
}

/// The schemes in use, most bytes first, such as `q4_k 82.0 %`.
pub fn shares(schemes: &BTreeMap<Scheme, u64>) -> String {
    let total = schemes.values().sum::<u64>().max(1) as f64;
    let mut sorted: Vec<_> = schemes.iter().collect();
    sorted.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
    let share =
        |(scheme, bytes): &(&Scheme, &u64)| format!("{scheme} {:.1} %", **bytes as f64 * 100.0 / total);
    sorted.iter().map(share).collect::<Vec<_>>().join(", ")
}

/// Hashes what was downloaded to the folder of `path` again, and gives the number of files; `None` if nothing says
/// what was downloaded there.
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

//! `mist convert`: a checkpoint in the form that is ready to run.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::{Args, ValueEnum};
use indicatif::HumanBytes;
use mist::checkpoint::convert::Plan;
use mist::checkpoint::{Checkpoint, Format};
use mist::terminal::{Interrupt, Printer};
use serde_json::json;

use super::exit::Status;
use super::model::{CheckpointArgs, Precision, dense_scheme, not_yet, tokenizer};

/// Convert a checkpoint to the mapped `mist` format, its weights as they are.
#[derive(Args, Debug)]
#[command(after_help = "Example: mist convert --checkpoint-dir checkpoints/mistralai/Mistral-7B-v0.1")]
pub struct ConvertArgs {
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// Where to write; beside the originals by default.
    #[arg(long, value_name = "FOLDER")]
    output_dir: Option<PathBuf>,
    /// Round dense weights to this type; auto keeps them as they are.
    #[arg(long, value_enum, default_value_t = Precision::Auto)]
    dtype: Precision,
    /// Quantize the weights (not there yet).
    #[arg(long, value_name = "SCHEME")]
    quantize: Option<String>,
    /// One scheme throughout (not there yet).
    #[arg(long)]
    pure: bool,
    /// The format to write.
    #[arg(long, value_enum, default_value_t = Target::Mist)]
    to: Target,
    /// Say what would be written, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Replace an earlier conversion.
    #[arg(long)]
    force: bool,
    /// Delete the originals afterwards (not there yet).
    #[arg(long)]
    delete_originals: bool,
    /// One JSON object on stdout.
    #[arg(long)]
    json: bool,
}

/// `--to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    Mist,
    Hf,
    Gguf,
    Litgpt,
}

/// Runs `mist convert`.
pub fn run(args: &ConvertArgs, printer: &Printer) -> anyhow::Result<Status> {
    refuse_what_is_not_there(args)?;
    let path = args.checkpoint.path()?;
    let checkpoint = Checkpoint::open_original(&path)?;
    let folder = args.output_dir.clone().unwrap_or_else(|| checkpoint.folder.clone());
    let plan = Plan::new(&checkpoint, &folder, dense_scheme(args.dtype), companions(&checkpoint, &folder)?);
    let files = plan.files()?;
    for (file, size) in &files {
        printer.note(&format!("Will write {} ({})", file.display(), HumanBytes(*size)));
    }
    let needed = files.iter().map(|(_, size)| size).sum();
    printer.note(&format!("Needs {} of disk, and little memory: weights stream through", HumanBytes(needed)));
    let schemes: Vec<String> = plan.schemes().iter().map(|(scheme, n)| format!("{n} in {scheme}")).collect();
    printer.note(&format!("Tensors: {}", schemes.join(", ")));
    plan.check(args.force)?;
    if !args.dry_run {
        let interrupt = Interrupt::install()?;
        let _listening = interrupt.listen();
        let bar = printer.bytes_bar("Converting", plan.weights_size());
        let written = plan.write(&mut |bytes| {
            bar.add(bytes);
            match interrupt.flag().load(Ordering::Relaxed) {
                true => Err(io::ErrorKind::Interrupted.into()),
                false => Ok(()),
            }
        });
        drop(bar);
        if written.is_err() && interrupt.take() {
            printer.note("Stopped: nothing was written");
            return Ok(Status::Interrupted);
        }
        written?;
        printer.note(&format!("Wrote {}", folder.display()));
    }
    if args.json {
        let files: Vec<_> = files.iter().map(|(file, size)| json!({"file": file, "bytes": size})).collect();
        let json = json!({"folder": folder, "format": "mist", "files": files, "written": !args.dry_run});
        printer.data(&format!("{json}\n"))?;
    }
    Ok(Status::Success)
}

fn refuse_what_is_not_there(args: &ConvertArgs) -> anyhow::Result<()> {
    if args.quantize.is_some() {
        return Err(not_yet("--quantize"));
    }
    if args.to != Target::Mist {
        return Err(not_yet("--to other than mist"));
    }
    match (args.pure, args.delete_originals) {
        (true, _) => Err(not_yet("--pure")),
        (_, true) => Err(not_yet("--delete-originals")),
        _ => Ok(()),
    }
}

/// The tokenizer's files that the converted folder needs and does not have: copied, or made from a GGUF file.
fn companions(checkpoint: &Checkpoint, folder: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    if checkpoint.format != Format::Gguf && same_folder(&checkpoint.folder, folder) {
        return Ok(Vec::new());
    }
    if checkpoint.format == Format::Gguf {
        return Ok(tokenizer(checkpoint)?.files()?);
    }
    let mut files = Vec::new();
    for name in mist::text::FILES.into_iter().chain(["generation_config.json"]) {
        let file = checkpoint.folder.join(name);
        if file.is_file() {
            files.push((name.to_string(), std::fs::read(&file)?));
        }
    }
    Ok(files)
}

fn same_folder(a: &Path, b: &Path) -> bool {
    let canonical = |path: &Path| std::fs::canonicalize(path).ok();
    canonical(a).is_some() && canonical(a) == canonical(b)
}

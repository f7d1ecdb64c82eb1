//! `mist convert`: converts a checkpoint to the `mist` layout, or to that of another program.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueHint};
use mist::checkpoint::convert::plan::ConversionPlan;
use mist::checkpoint::open::Checkpoint;
use mist::hub::Size;
use mist::quant::Scheme;
use mist::runtime::conversion::{Conversion, Target};
use mist::runtime::quantize::one_of;
use mist::runtime::{Precision, Wanted, opened, writing};
use mist::system::process::PeakMemory;
use mist::terminal::{Printer, Running};
use serde_json::json;

use super::exit::{Status, Usage};
use super::located::CheckpointArgs;
use super::model::precision;
use super::values::scheme;

/// Convert a checkpoint to the memory-mapped `mist` format or to that of another program, optionally quantized.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  mist convert mistralai/Mistral-7B-v0.1 --quantize q4_k")]
pub struct ConvertArgs {
    /// Where to write [default: beside the originals; for hf and litgpt, in a folder of that name there; for x.gguf, in
    /// a folder such as x.mist or x.q4_k beside it].
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    output_dir: Option<PathBuf>,
    /// Round dense weights to this type; auto keeps them as they are.
    #[arg(long, value_parser = precision(), default_value = "auto")]
    dtype: Precision,
    /// Quantize, with more bits where they matter most.
    #[arg(long, value_name = "SCHEME", value_parser = scheme(), ignore_case = true)]
    quantize: Option<Scheme>,
    /// With --quantize: use that scheme for all matrices, without a mix.
    #[arg(long, requires = "quantize")]
    pure: bool,
    /// The format to write.
    #[arg(long, value_parser = target(), default_value = "mist")]
    to: Target,
    /// Print what would be written, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Replace an earlier conversion.
    #[arg(long)]
    force: bool,
    /// Compare the written files with the originals, and then delete the original weights.
    #[arg(long)]
    delete_originals: bool,
    /// Print one JSON object.
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    checkpoint: CheckpointArgs,
}

/// Returns the parser of `--to`.
fn target() -> impl TypedValueParser<Value = Target> {
    let names = PossibleValuesParser::new(Target::NAMES);
    names.try_map(|name| Target::named(&name).ok_or("there is no such format"))
}

/// Runs `mist convert`.
pub fn run(args: &ConvertArgs, printer: &Printer) -> anyhow::Result<Status> {
    let located = args.checkpoint.locate(Wanted::Weights, printer)?;
    if args.delete_originals && located.is_read_only {
        let error = format!("{} is in the hub's own cache, which is read-only", located.name);
        return Err(Usage::with_hint(error, "leave --delete-originals out"));
    }
    let conversion = Conversion {
        to: args.to,
        dtype: args.dtype,
        quantize: one_of(args.quantize, located.scheme())?,
        pure: args.pure,
        output: args.output_dir.clone(),
    };
    if conversion.quantize.is_some() && matches!(args.to, Target::Hf | Target::Litgpt) {
        let error = format!("{} has no quantized weights that other programs read", args.to.name());
        return Err(Usage::with_hint(error, "--to gguf and --to mist take --quantize"));
    }
    let peak = PeakMemory::watch();
    let checkpoint = Checkpoint::open_original(&located.path)?;
    opened::refuse_half_a_download(&checkpoint)?;
    // A dry run has nothing to clean up, so Ctrl-C ends the process.
    let report = &mut if args.dry_run { Running::new(printer) } else { Running::stoppable(printer)? };
    opened::warn(&checkpoint, report);
    let folder = conversion.folder(&located, &checkpoint)?;
    let base = args.output_dir.is_none().then_some(&*checkpoint.folder);
    // The claim covers planning as well, which reads the files in the folder.
    let claim = if args.dry_run { None } else { Some(writing::claim(base, &folder, report)?) };
    let plan = conversion.plan(&checkpoint, &folder)?;
    writing::stop_before(report)?;
    if conversion.quantize.is_some() {
        writing::warn_of_blocks(&checkpoint, report);
    }
    note(&plan, printer);
    if !args.dry_run {
        // Even if the conversion is complete, and is not made again.
        plan.delete_abandoned()?;
    }
    plan.check(args.force)?;
    if !args.dry_run {
        writing::write(&plan, args.delete_originals, report)?;
        printer.note(&format!("Wrote {}", folder.display()));
        let is_apart = checkpoint.gguf.is_some() || located.is_read_only;
        if is_apart && args.output_dir.is_none() && args.to == Target::Mist {
            printer.note(&format!("-m {} runs it", folder.display()));
        }
        if args.delete_originals {
            conversion.replace_originals(&checkpoint, &plan, &folder, report)?;
        }
    }
    drop(claim);
    if args.json {
        let mut json = as_json(&plan, &folder, args.to);
        json["peak_memory_bytes"] = json!(peak.bytes());
        json["written"] = json!(!args.dry_run);
        printer.data(&format!("{json}\n"))?;
    }
    Ok(Status::Success)
}

/// Prints the files of a plan and the space that they need.
fn note(plan: &ConversionPlan, printer: &Printer) {
    let files = plan.files();
    for (file, size) in &files {
        printer.note(&format!("Will write {} ({})", file.display(), Size(*size)));
    }
    let (disk, memory) = (Size(files.iter().map(|(_, size)| size).sum()), Size(plan.memory()));
    printer.note(&format!("Needs {disk} of disk, and up to {memory} of memory beside the mapped originals"));
    let schemes: Vec<String> = plan.schemes().iter().map(|(scheme, n)| format!("{n} in {scheme}")).collect();
    printer.note(&format!("Tensors: {}", schemes.join(", ")));
}

fn as_json(plan: &ConversionPlan, folder: &Path, to: Target) -> serde_json::Value {
    let files = plan.files();
    let disk: u64 = files.iter().map(|(_, size)| size).sum();
    let files: Vec<_> =
        files.iter().map(|(file, size)| json!({"file": file.to_string_lossy(), "bytes": size})).collect();
    let schemes: serde_json::Map<_, _> =
        plan.schemes().iter().map(|(scheme, n)| (scheme.to_string(), json!(n))).collect();
    json!({
        "folder": folder.to_string_lossy(),
        "format": to.name(),
        "files": files,
        "tensors": schemes,
        "disk_bytes": disk,
        "memory_bytes": plan.memory(),
    })
}

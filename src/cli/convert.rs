//! `mist convert`: a checkpoint in the form that is ready to run, or in one that other programs read.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::anyhow;
use clap::{Args, ValueEnum, ValueHint};
use mist::checkpoint::convert::Content;
use mist::checkpoint::convert::output::Rounding;
use mist::checkpoint::convert::plan::{Plan, SidecarFiles};
use mist::checkpoint::layouts::{gguf, huggingface, litgpt, mist as convert};
use mist::checkpoint::open::Checkpoint;
use mist::checkpoint::{self, suggestions};
use mist::hub::{Manifest, Size};
use mist::quant::Scheme;
use mist::system::files::{Claim, exists, folder_of};
use mist::system::process::PeakMemory;
use mist::terminal::{Interrupt, Printer};
use serde_json::json;

use super::exit::{Interrupted, Status, Usage};
use super::located::{CheckpointArgs, Located, Wanted};
use super::model::{Precision, dense_scheme};
use super::opened::{Opened, refuse_half_a_download, tokenizer, warn};
use super::quantized;
use super::values::{one_of, scheme};

/// Convert a checkpoint to the mapped `mist` format, or to that of another program; its weights as they are, or
/// quantized.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  mist convert mistralai/Mistral-7B-v0.1 --quantize q4_k")]
pub struct ConvertArgs {
    /// Where to write; beside the originals by default, for hf and litgpt in a folder of that name there, and for a GGUF
    /// file in a folder beside it: x.mist or x.q4_k of x.gguf.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    output_dir: Option<PathBuf>,
    /// Round dense weights to this type; auto keeps them as they are.
    #[arg(long, value_enum, default_value_t = Precision::Auto)]
    dtype: Precision,
    /// Quantize, with more bits where they matter most.
    #[arg(long, value_name = "SCHEME", value_parser = scheme(), ignore_case = true)]
    quantize: Option<Scheme>,
    /// With --quantize: that scheme throughout.
    #[arg(long, requires = "quantize")]
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
    /// Read what was written again, compare it with the originals, and then delete their weights.
    #[arg(long)]
    delete_originals: bool,
    /// One JSON object on stdout.
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    checkpoint: CheckpointArgs,
}

/// The largest `tokenizer_config.json` that is changed, in bytes: no larger one is read.
const LARGEST_CONFIG: u64 = 16 << 20;

/// `--to`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Target {
    #[default]
    Mist,
    Hf,
    Gguf,
    Litgpt,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Target::Mist => "mist",
            Target::Hf => "hf",
            Target::Gguf => "gguf",
            Target::Litgpt => "litgpt",
        }
    }
}

/// Runs `mist convert`.
pub fn run(args: &ConvertArgs, printer: &Printer) -> anyhow::Result<Status> {
    let located = args.checkpoint.locate(Wanted::Weights, printer)?;
    if args.delete_originals && located.is_read_only {
        let error = format!("{} lies in the hub's own cache, which is only read", located.name);
        return Err(Usage::with_hint(error, "leave --delete-originals out"));
    }
    let args = &ConvertArgs { quantize: one_of(args.quantize, located.scheme())?, ..args.clone() };
    if args.quantize.is_some() && matches!(args.to, Target::Hf | Target::Litgpt) {
        let error = format!("{} has no quantized weights that others read", args.to.name());
        return Err(Usage::with_hint(error, "--to gguf and --to mist take --quantize"));
    }
    let peak = PeakMemory::watch();
    let checkpoint = Checkpoint::open_original(&located.path)?;
    refuse_half_a_download(&checkpoint)?;
    warn(&checkpoint, printer);
    let folder = folder(args, &located, &checkpoint)?;
    let base = args.output_dir.is_none().then_some(&*checkpoint.folder);
    // From what is looked up there until all is written.
    let claim = if args.dry_run { None } else { Some(claim(base, &folder, printer)?) };
    let mut plan = plan(args, &checkpoint, &folder)?;
    if let Some(base) = base {
        plan = plan.without_links_in(base);
    }
    if args.quantize.is_some() {
        warn_of_blocks(&checkpoint, printer);
    }
    let files = plan.files();
    for (file, size) in &files {
        printer.note(&format!("Will write {} ({})", file.display(), Size(*size)));
    }
    let needed = files.iter().map(|(_, size)| size).sum();
    let (disk, memory) = (Size(needed), Size(plan.memory()));
    printer.note(&format!("Needs {disk} of disk, and up to {memory} of memory beside the mapped originals"));
    let schemes: Vec<String> = plan.schemes().iter().map(|(scheme, n)| format!("{n} in {scheme}")).collect();
    printer.note(&format!("Tensors: {}", schemes.join(", ")));
    plan.check(args.force)?;
    if !args.dry_run {
        carry_out(&plan, args.delete_originals, printer)?;
        printer.note(&format!("Wrote {}", folder.display()));
        let is_apart = checkpoint.gguf.is_some() || located.is_read_only;
        if is_apart && args.output_dir.is_none() && args.to == Target::Mist {
            printer.note(&format!("-m {} runs it", folder.display()));
        }
        if args.delete_originals {
            // Once more checked, as whoever runs it will open it.
            let opened = Checkpoint::open(&match args.to {
                Target::Gguf => folder.join(gguf_name(args, &checkpoint)),
                Target::Mist | Target::Hf | Target::Litgpt => folder.clone(),
            })?;
            if opened.format.name() != args.to.name() {
                anyhow::bail!("{} opens as another checkpoint: nothing was deleted", folder.display());
            }
            delete_originals(&checkpoint, &plan, printer)?;
        }
    }
    drop(claim);
    if args.json {
        let files: Vec<_> =
            files.iter().map(|(file, size)| json!({"file": file.to_string_lossy(), "bytes": size})).collect();
        let schemes: serde_json::Map<_, _> =
            plan.schemes().iter().map(|(scheme, n)| (scheme.to_string(), json!(n))).collect();
        let json = json!({
            "folder": folder.to_string_lossy(),
            "format": args.to.name(),
            "files": files,
            "tensors": schemes,
            "disk_bytes": needed,
            "memory_bytes": plan.memory(),
            "peak_memory_bytes": peak.bytes(),
            "written": !args.dry_run,
        });
        printer.data(&format!("{json}\n"))?;
    }
    Ok(Status::Success)
}

/// Claims the folder that a conversion goes to, waiting for another run that writes there. What of its way lies in `base`
/// is not followed.
pub fn claim(base: Option<&Path>, folder: &Path, printer: &Printer) -> anyhow::Result<Claim> {
    let interrupt = Interrupt::install()?;
    let _listening = interrupt.listen();
    let mut waiting = false;
    let claim = Claim::new(base, folder, &mut || {
        if !waiting {
            printer.note(&format!("another mist is writing to {}; waiting for it", folder.display()));
        }
        waiting = true;
        !interrupt.flag().load(Ordering::Relaxed)
    });
    let claim = claim.map_err(|error| match error.source.kind() {
        io::ErrorKind::Interrupted => {
            printer.note("Stopped: nothing was written");
            anyhow::Error::from(Interrupted)
        }
        _ => checkpoint::Error::write(&error.path)(error.source).into(),
    })?;
    if let Some(error) = claim.unlocked() {
        printer
            .warn(&format!("{} cannot be locked ({error}): let no other mist write to it", folder.display()));
    }
    Ok(claim)
}

/// Quantizes a checkpoint to the `mist` format in `folder`, unless that has been done; `force` replaces what is there.
pub fn quantize(
    checkpoint: &Checkpoint,
    folder: &Path,
    scheme: Scheme,
    force: bool,
    printer: &Printer,
) -> anyhow::Result<()> {
    refuse_half_a_download(checkpoint)?;
    warn(checkpoint, printer);
    let rounding = Rounding { quantize: Some(scheme), ..Rounding::default() };
    let plan = convert::plan(checkpoint, folder, rounding, sidecar_files(checkpoint, folder)?)?;
    let plan = plan.without_links_in(&checkpoint.folder);
    if plan.is_there() {
        printer.note(&format!("already converted to {scheme}"));
        return Ok(());
    }
    warn_of_blocks(checkpoint, printer);
    plan.check(force)?;
    carry_out(&plan, false, printer)
}

/// Where the files go. A GGUF file may be one of several in its folder, which is opened by the only one: its conversions
/// have folders of their own beside it. What is only read is converted into the store.
fn folder(args: &ConvertArgs, located: &Located, checkpoint: &Checkpoint) -> anyhow::Result<PathBuf> {
    if located.is_read_only && args.output_dir.is_none() {
        let elsewhere = located.elsewhere.as_ref().ok_or_else(|| quantized::no_place(located))?;
        let name = match args.to {
            Target::Mist => quantized::name_elsewhere(checkpoint, &rounded_name(args)),
            Target::Gguf | Target::Hf | Target::Litgpt => args.to.name().into(),
        };
        return Ok(elsewhere.join(name));
    }
    Ok(match (&args.output_dir, args.to, &checkpoint.gguf) {
        (Some(folder), ..) => folder.clone(),
        (None, Target::Mist, Some(gguf)) => quantized::beside(gguf.path(), &rounded_name(args)),
        (None, Target::Mist | Target::Gguf, None) => checkpoint.folder.clone(),
        (None, Target::Gguf | Target::Hf | Target::Litgpt, _) => checkpoint.folder.join(args.to.name()),
    })
}

/// How the weights are rounded, as the name of a folder: `q4_k`, where a run with `--quantize q4_k` looks for it;
/// `f16-q4_k-pure`; `mist` where they are kept as they are.
fn rounded_name(args: &ConvertArgs) -> String {
    let dense = (args.dtype != Precision::Auto).then(|| args.dtype.name());
    let pure = args.pure.then_some("pure");
    let parts: Vec<&str> = [dense, args.quantize.map(Scheme::name), pure].into_iter().flatten().collect();
    if parts.is_empty() { Target::Mist.name().into() } else { parts.join("-") }
}

fn plan(args: &ConvertArgs, checkpoint: &Checkpoint, folder: &Path) -> anyhow::Result<Plan> {
    let dense = dense_scheme(args.dtype);
    let rounding = Rounding { dense, quantize: args.quantize, pure: args.pure };
    Ok(match args.to {
        Target::Mist => convert::plan(checkpoint, folder, rounding, sidecar_files(checkpoint, folder)?)?,
        Target::Gguf => {
            let vocabulary = match &checkpoint.gguf {
                Some(gguf) => gguf.vocabulary()?,
                None => {
                    let tokenizer = tokenizer(checkpoint)?;
                    let mut vocabulary = tokenizer.vocabulary()?;
                    // There is no other place for what only the config says.
                    vocabulary.eos =
                        vocabulary.eos.or(Opened::end_ids(checkpoint, &tokenizer).first().copied());
                    vocabulary
                }
            };
            gguf::plan(checkpoint, &vocabulary, rounding, &folder.join(gguf_name(args, checkpoint)))?
        }
        Target::Hf => {
            let tokenizer = tokenizer(checkpoint)?;
            let end_ids = Opened::end_ids(checkpoint, &tokenizer);
            let ids = (tokenizer.bos(), end_ids.as_slice());
            let sidecars = sidecar_files(checkpoint, folder)?;
            huggingface::plan(checkpoint, folder, dense, huggingface::SHARD_SIZE, ids, sidecars)?
        }
        Target::Litgpt => {
            let sidecars = sidecar_files(checkpoint, folder)?;
            litgpt::plan(checkpoint, folder, dense, &name(checkpoint), sidecars)?
        }
    })
}

/// What the model is called: as the folder, or the GGUF file, that it is made from.
fn name(checkpoint: &Checkpoint) -> String {
    let source = checkpoint.gguf.as_ref().map_or(checkpoint.folder.as_path(), |gguf| gguf.path());
    let source = std::fs::canonicalize(source).unwrap_or_else(|_| source.into());
    let name = if checkpoint.gguf.is_some() { source.file_stem() } else { source.file_name() };
    name.unwrap_or_default().to_string_lossy().into_owned()
}

/// The name of the GGUF file that is written.
fn gguf_name(args: &ConvertArgs, checkpoint: &Checkpoint) -> String {
    let name = name(checkpoint);
    match args.quantize {
        Some(scheme) => format!("{name}-{scheme}.gguf"),
        None => format!("{name}.gguf"),
    }
}

fn warn_of_blocks(checkpoint: &Checkpoint, printer: &Printer) {
    let matrices = checkpoint.weights.matrices(checkpoint.config.tied_head);
    if matrices.iter().any(|(_, matrix)| matrix.parts().any(|(scheme, _)| !scheme.is_dense())) {
        printer.warn("the weights are quantized already; doing it again loses more than doing it once");
    }
}

/// A pass over the weights, which tells of every run of bytes.
type Pass<'a> = dyn Fn(&mut dyn FnMut(u64) -> io::Result<()>) -> Result<(), checkpoint::Error> + 'a;

/// Writes, and reads again if what is there before will be deleted.
fn carry_out(plan: &Plan, verify: bool, printer: &Printer) -> anyhow::Result<()> {
    let interrupt = Interrupt::install()?;
    let _listening = interrupt.listen();
    let with_bar = |label: &str, work: &Pass<'_>| {
        let bar = printer.bytes_bar(label, plan.weights_size());
        work(&mut |bytes| {
            bar.add(bytes);
            match interrupt.flag().load(Ordering::Relaxed) {
                true => Err(io::ErrorKind::Interrupted.into()),
                false => Ok(()),
            }
        })
    };
    let written = with_bar("Converting", &|progress| plan.write(progress));
    if written.is_err() && interrupt.take() {
        printer.note("Stopped: nothing was written");
        return Err(Interrupted.into());
    }
    written?;
    stop_if_asked(&interrupt, printer)?;
    if verify {
        printer.note("Reading it again, to compare it with the originals");
        let verified = with_bar("Verifying", &|progress| plan.verify(progress));
        if verified.is_err() {
            stop_if_asked(&interrupt, printer)?;
        }
        verified?;
        stop_if_asked(&interrupt, printer)?;
    }
    Ok(())
}

/// Ends a conversion that is complete, if Ctrl-C asked for it.
fn stop_if_asked(interrupt: &Interrupt, printer: &Printer) -> Result<(), Interrupted> {
    match interrupt.take() {
        true => {
            printer.note("Stopped: the conversion is complete, and the originals are there as well");
            Err(Interrupted)
        }
        false => Ok(()),
    }
}

/// Deletes the original weights, which the conversion was compared with, and no other file: what describes the model
/// and its text is small.
fn delete_originals(checkpoint: &Checkpoint, plan: &Plan, printer: &Printer) -> anyhow::Result<()> {
    // By what they are, not by how they are called: `x` is `./x`.
    let same = |file: &Path| std::fs::canonicalize(file).unwrap_or_else(|_| file.into());
    let written: Vec<PathBuf> = plan.files().iter().map(|(file, _)| same(file)).collect();
    let originals: Vec<_> = checkpoint.files.iter().filter(|file| !written.contains(&same(file))).collect();
    for file in &originals {
        match folder_of(file).and_then(|(folder, name)| folder.remove(name)) {
            // An index of shards that the new files took the place of.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            deleted => deleted.map_err(|e| anyhow!("cannot delete {}: {e}", file.display()))?,
        }
        printer.note(&format!("Deleted {}", file.display()));
    }
    // What was deleted on purpose is not missing.
    let names = originals.iter().filter_map(|file| file.file_name()?.to_str());
    Manifest::forget(&checkpoint.folder, &names.collect::<Vec<_>>())?;
    Ok(())
}

/// The files beside the weights that the converted folder needs and does not share: copied, or made from a GGUF file.
pub fn sidecar_files(checkpoint: &Checkpoint, folder: &Path) -> anyhow::Result<SidecarFiles> {
    let own_folder = same_folder(&checkpoint.folder, folder);
    if checkpoint.gguf.is_none() && own_folder {
        return Ok(SidecarFiles::default());
    }
    let names = names(&[&checkpoint.folder, folder]);
    let mut files = Vec::new();
    if checkpoint.gguf.is_none() {
        for name in &names {
            let path = checkpoint.folder.join(name);
            if exists(&path).map_err(checkpoint::Error::read(&path))? {
                files.push((name.clone(), Content::copy_of(&path)?));
            }
        }
    }
    // Other programs may read no other form.
    let has_tokenizer = checkpoint.gguf.is_some() || mist::text::is_at(&checkpoint.folder);
    if has_tokenizer && !files.iter().any(|(name, _)| name == "tokenizer.json") {
        for (made, bytes) in tokenizer(checkpoint)?.files()? {
            if files.iter().all(|(name, _)| *name != made) {
                files.push((made, bytes.into()));
            }
        }
        let config = files.iter_mut().find(|(name, _)| name == "tokenizer_config.json");
        if let Some((_, content)) = config
            && let Some(changed) = mist::text::config_beside(&content.read(LARGEST_CONFIG)?)
        {
            *content = changed.into();
        }
    }
    // Of a GGUF file, or of a model whose card says them.
    let suggestions = &checkpoint.suggestions;
    if !suggestions.is_empty() && files.iter().all(|(name, _)| name != suggestions::FILE) {
        let tokenizer = tokenizer(checkpoint)?;
        let json = suggestions.to_json(tokenizer.bos(), &Opened::end_ids(checkpoint, &tokenizer));
        files.push((suggestions::FILE.into(), format!("{json:#}\n").into_bytes().into()));
    }
    let is_absent = |name: &String| !own_folder && files.iter().all(|(file, _)| file != name);
    let absent = names.iter().filter(|name| is_absent(name)).cloned().collect();
    Ok(SidecarFiles { files, absent })
}

/// The files of these folders that say how to run a model beside its weights, and those that there may be.
fn names(folders: &[&Path]) -> BTreeSet<String> {
    let there = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    let there = there.filter_map(|entry| entry.file_name().into_string().ok());
    let fixed = mist::text::FILES.into_iter().chain([suggestions::FILE]).map(str::to_owned);
    fixed.chain(there.filter(|name| mist::text::is_file(name))).collect()
}

fn same_folder(a: &Path, b: &Path) -> bool {
    let canonical = |path: &Path| std::fs::canonicalize(path).ok();
    canonical(a).is_some() && canonical(a) == canonical(b)
}

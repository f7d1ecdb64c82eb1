//! `mist remove`: a checkpoint and its conversions, deleted after it is said what goes.

use std::io::{self, IsTerminal};

use anyhow::anyhow;
use clap::Args;
use mist::hub::Size;
use mist::store::{Found, ModelName, Place, Removal, Store};
use mist::system::quote::{counted, quoted};
use mist::terminal::{Printer, escaped};
use serde_json::json;

use super::exit::{Hint, Status, Usage};
use super::located::ask;

/// Delete a checkpoint from this machine, with its conversions.
#[derive(Args, Debug)]
#[command(visible_alias = "rm", after_help = "Example:\n  mist remove mistralai/Mistral-7B-Instruct-v0.3")]
pub struct RemoveArgs {
    /// The checkpoint, as `mist list` names it; NAME:q8_0 is that conversion, or that GGUF file, alone.
    #[arg(value_name = "NAME")]
    name: String,
    /// Delete without a question.
    #[arg(short, long)]
    yes: bool,
    /// Print one JSON object.
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Runs `mist remove`.
pub fn run(args: &RemoveArgs, printer: &Printer) -> anyhow::Result<Status> {
    let store = Store::from_environment();
    let Some((found, variant)) = find(&store, &args.name)? else {
        let error = anyhow!("there is no checkpoint {} on this machine", quoted(&args.name));
        return Err(error.context(Hint("`mist list` shows the names".into())));
    };
    let removal = store.removal(&found, variant.as_deref())?;
    for doomed in &removal.doomed {
        let (files, bytes) = (counted(doomed.files, "file"), Size(doomed.bytes));
        printer.show(&format!(
            "{:>10}  {} ({files})\n",
            bytes.to_string(),
            escaped(&doomed.path.display().to_string())
        ));
    }
    if !args.yes {
        if !io::stdin().is_terminal() {
            let error = anyhow!("nothing was deleted: there is nobody to ask");
            return Err(error.context(Hint(format!("`mist remove {} --yes` asks nothing", args.name))));
        }
        let question = format!("Delete {} of {}? [y/N] ", Size(removal.bytes()), escaped(&found.name));
        if !ask(&question, false, &mut io::stdin().lock(), printer)? {
            printer.note("Nothing was deleted");
            return Ok(Status::Failure);
        }
    }
    let json = as_json(&removal);
    let bytes = removal.bytes();
    removal.carry_out()?;
    printer.note(&format!("Deleted {}", Size(bytes)));
    if found.place == Place::HubCache {
        printer.note(&format!("{} itself stays: it lies in the hub's own cache", escaped(&found.name)));
    }
    if args.json {
        printer.data(&format!("{json}\n"))?;
    }
    Ok(Status::Success)
}

/// The checkpoint of a name, and the conversion or file of it that is named behind a colon.
fn find(store: &Store, typed: &str) -> anyhow::Result<Option<(Found, Option<String>)>> {
    let name = ModelName::parse(typed.as_ref());
    if name.file.is_some() || name.revision.is_some() {
        let hint = format!("`mist remove {}` removes the repository", name.path.display());
        return Err(Usage::with_hint(
            "an address of a file or a revision is nothing that can be removed",
            hint,
        ));
    }
    if let Some(found) = store.find(&name)? {
        // A link to what is only read is deleted itself.
        let found = if name.variant.is_some() { store.resolved(found) } else { found };
        return Ok(Some((found, name.variant)));
    }
    // Conversions have more names than schemes: `f16-q4_k`, `mist`.
    let Some((name, variant)) = typed.rsplit_once(':') else { return Ok(None) };
    let found = store.find(&ModelName::parse(name.as_ref()))?;
    Ok(found.map(|found| (store.resolved(found), Some(variant.to_string()))))
}

fn as_json(removal: &Removal) -> serde_json::Value {
    let deleted = removal
        .doomed
        .iter()
        .map(|d| json!({"path": d.path.to_string_lossy(), "bytes": d.bytes, "files": d.files}));
    json!({ "deleted": deleted.collect::<Vec<_>>(), "bytes": removal.bytes() })
}

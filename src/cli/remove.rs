//! `mist remove`: deletes a checkpoint and its conversions, after listing them.

use std::io::{self, IsTerminal};

use anyhow::anyhow;
use clap::Args;
use mist::hub::Size;
use mist::store::{Place, Store};
use mist::system::quote::{counted, quoted};
use mist::terminal::{Printer, ask, escaped};

use super::exit::{Hint, Status};

/// Delete a checkpoint from this machine, with its conversions.
#[derive(Args, Debug)]
#[command(visible_alias = "rm", after_help = "Example:\n  mist remove mistralai/Mistral-7B-Instruct-v0.3")]
pub struct RemoveArgs {
    /// The checkpoint, as `mist list` names it; NAME:q8_0 selects that conversion, or that GGUF file, alone.
    #[arg(value_name = "NAME")]
    name: String,
    /// Delete without asking.
    #[arg(short, long)]
    yes: bool,
    /// Print one JSON object.
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Runs `mist remove`.
pub fn run(args: &RemoveArgs, printer: &Printer) -> anyhow::Result<Status> {
    let store = Store::from_environment();
    let Some((found, variant)) = store.find_with_variant(&args.name)? else {
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
            let error = anyhow!("nothing was deleted: stdin is not a terminal to ask on");
            return Err(
                error.context(Hint(format!("`mist remove {} --yes` deletes without asking", args.name)))
            );
        }
        let question = format!("Delete {} of {}? [y/N] ", Size(removal.bytes()), escaped(&found.name));
        if !ask(&question, false, &mut io::stdin().lock(), printer)? {
            printer.note("Nothing was deleted");
            return Ok(Status::Failure);
        }
    }
    let json = removal.as_json();
    let bytes = removal.bytes();
    removal.carry_out()?;
    printer.note(&format!("Deleted {}", Size(bytes)));
    if found.place == Place::HubCache {
        printer.note(&format!("{} itself stays: it lies in the hub's own cache", escaped(&found.name)));
    }
    if args.json {
        printer.result(json)?;
    }
    Ok(Status::Success)
}

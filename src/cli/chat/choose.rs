//! Chooses a checkpoint if none is named: the only one, one that the user picks, or the starter model.

use std::io;

use anyhow::anyhow;
use mist::hub::{Size, starter};
use mist::runtime::Located;
use mist::runtime::located::{different, downloads, is_offline, several};
use mist::store::Store;
use mist::terminal::{Interrupt, Printer, TerminalReport, pick};

use crate::cli::exit::Hint;

/// Returns the only checkpoint on this machine, or the one that the user picks. `ask` allows a question to the user.
pub fn checkpoint(
    store: &Store,
    ask: bool,
    interrupt: &Interrupt,
    printer: &Printer,
) -> anyhow::Result<Located> {
    let mut found = different(store.all());
    let index = match found.len() {
        0 => {
            fetch_starter(store, interrupt, printer)?;
            found = different(store.all());
            0
        }
        1 => 0,
        _ if ask => {
            let names = found.iter().map(|found| found.name.as_str());
            let picked = pick("Which checkpoint?", names, &mut io::stdin().lock(), printer)?;
            let named = || Hint("name one: -m ORG/NAME".into());
            picked.ok_or_else(|| anyhow!("no checkpoint was chosen").context(named()))?
        }
        _ => return Err(several(&found).into()),
    };
    if index >= found.len() {
        return Err(anyhow!("the starter model was downloaded, but is not found"));
    }
    Ok(Located::found(store, found.swap_remove(index)))
}

fn fetch_starter(store: &Store, interrupt: &Interrupt, printer: &Printer) -> anyhow::Result<()> {
    let root = downloads(store)?;
    if !is_offline() {
        printer.note(&format!(
            "No checkpoint on this machine: fetching SmolLM2-135M-Instruct (Apache-2.0, {})",
            Size(starter::SIZE)
        ));
    }
    TerminalReport::new(printer).starter(&root, interrupt, "mist chat")?;
    Ok(())
}

//! `mist download` without a repository: prints the catalogue.

use mist::hub;
use mist::hub::catalogue::{ENTRIES, HEADINGS};
use mist::terminal::{Printer, Table};

use super::exit::Status;

/// Prints the catalogue: as JSON, as a table on a terminal, or as one name per line in a pipe.
pub fn list(as_json: bool, printer: &Printer) -> anyhow::Result<Status> {
    if as_json {
        printer.result(hub::catalogue_as_json())?;
    } else if printer.stdout_is_terminal() {
        let mut table = Table::new(HEADINGS).numbers([false, true, true, true, true, false]);
        ENTRIES.iter().for_each(|entry| table.row(entry.cells()));
        printer.table(&table)?;
        printer.note("mist download ORG/NAME fetches one; others of the family work as well");
    } else {
        printer.data(&ENTRIES.iter().map(|e| format!("{}\n", e.name)).collect::<String>())?;
    }
    Ok(Status::Success)
}

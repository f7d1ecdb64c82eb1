//! `mist download` without a repository: the catalogue, for a script, a program or a person.

use mist::hub;
use mist::hub::catalogue::{ENTRIES, HEADINGS};
use mist::terminal::{Printer, Table};

use super::exit::Status;

/// Exactly the names, one a line, where a script reads; a table where a person does.
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

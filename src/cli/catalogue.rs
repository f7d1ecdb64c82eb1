//! `mist download` without a repository: the catalogue, for a script, a program or a person.

use mist::hub::catalogue::{ENTRIES, Entry};
use mist::hub::{self, Size};
use mist::terminal::{Printer, Table};

use super::exit::Status;

/// Exactly the names, one a line, where a script reads; a table where a person does.
pub fn list(as_json: bool, printer: &Printer) -> anyhow::Result<Status> {
    if as_json {
        printer.result(hub::catalogue_as_json())?;
    } else if printer.stdout_is_terminal() {
        printer.table(&table(ENTRIES))?;
        printer.note("mist download ORG/NAME fetches one; others of the family work as well");
    } else {
        printer.data(&ENTRIES.iter().map(|e| format!("{}\n", e.name)).collect::<String>())?;
    }
    Ok(Status::Success)
}

fn table(entries: &[Entry]) -> Table<6> {
    let mut table = Table::new(["repository", "parameters", "active", "context", "disk", "licence"]);
    for entry in entries {
        table.row([
            entry.name.to_string(),
            entry.parameters.map(count).unwrap_or_default(),
            entry.active.map(count).unwrap_or_default(),
            entry.context.map(|tokens| tokens.to_string()).unwrap_or_default(),
            entry.disk_bytes().map(|bytes| Size(bytes).to_string()).unwrap_or_default(),
            terms(entry),
        ]);
    }
    table.numbers([false, true, true, true, true, false])
}

/// A number of parameters: `135 M`, `46.7 B`.
fn count(n: u64) -> String {
    match n {
        0..1_000_000_000 => format!("{:.0} M", n as f64 / 1e6),
        _ => format!("{:.1} B", n as f64 / 1e9),
    }
}

fn terms(entry: &Entry) -> String {
    let gated = entry.gated.unwrap_or(false).then_some("gated");
    entry.licence.into_iter().chain(gated).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_fits_a_hundred_columns_and_without_the_licence_eighty() {
        let table = table(ENTRIES);
        assert!(table.width() <= 100, "{}", table.width());
        let narrow = table.within(80).to_string();
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        assert!(narrow.starts_with("repository ") && narrow.contains(" disk\n"), "{narrow}");
    }

    #[test]
    fn what_is_unknown_is_blank_and_open_access_goes_without_saying() {
        let blank = Entry {
            name: "org/name",
            parameters: None,
            active: None,
            context: None,
            licence: None,
            gated: None,
        };
        assert_eq!(table(&[blank]).to_string().lines().nth(1), Some("org/name"));
        let shown = [(None, Some(true)), (Some("mrl"), Some(true)), (Some("mit"), Some(false))]
            .map(|(licence, gated)| terms(&Entry { licence, gated, ..blank }));
        assert_eq!(shown, ["gated", "mrl, gated", "mit"]);
    }
}

//! `mist list`: lists the checkpoints on this machine.

use clap::Args;
use mist::checkpoint::open::Format;
use mist::hub::Size;
use mist::runtime::located::different;
use mist::store::{Listed, Store};
use mist::system::quote::from_home;
use mist::terminal::{Printer, Table, escaped};
use serde_json::json;

use super::exit::Status;

/// List the checkpoints on this machine.
#[derive(Args, Debug)]
#[command(visible_alias = "ls", after_help = "Example:\n  mist list")]
pub struct ListArgs {
    /// Print only the names, one per line.
    #[arg(long, help_heading = "Output", conflicts_with = "json")]
    names: bool,
    /// Print one JSON object.
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Runs `mist list`.
pub fn run(args: &ListArgs, printer: &Printer) -> anyhow::Result<Status> {
    let store = Store::from_environment();
    if args.names {
        let names = different(store.all()).into_iter().map(|found| found.name + "\n");
        printer.data(&names.collect::<String>())?;
        return Ok(Status::Success);
    }
    let rows = store.listed();
    if args.json {
        let rows: Vec<_> = rows.iter().map(Listed::as_json).collect();
        printer.result(json!({ "checkpoints": rows }))?;
        return Ok(Status::Success);
    }
    if rows.is_empty() {
        printer.note("There is no checkpoint on this machine; `mist download` lists what can be fetched");
        return Ok(Status::Success);
    }
    let mut table = Table::new(["name", "layout", "size", "where", "conversions"]);
    for row in &rows {
        table.row([
            escaped(&row.found.name).into_owned(),
            row.layout.map_or("", Format::name).into(),
            Size(row.bytes).to_string(),
            from_home(&store.root(row.found.place).unwrap_or_default()),
            row.conversions.join(", "),
        ]);
    }
    let table = table.numbers([false, false, true, false, false]);
    printer.table(&table)?;
    Ok(Status::Success)
}

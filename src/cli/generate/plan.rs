//! Prints the placement plan for `--plan`.

use mist::runtime::{Placed, Room};
use mist::terminal::{Printer, Running, Table};

use super::args::GenerateArgs;
use super::job::room;
use super::prompts;
use crate::cli::exit::Status;
use crate::cli::model::ModelArgs;

/// Prints the placement plan with one line per device. Loads nothing and makes no conversion.
pub fn print(args: &GenerateArgs, model: &ModelArgs, printer: &Printer) -> anyhow::Result<Status> {
    let settings = model.settings();
    settings.set_threads()?;
    let mut opened = model.locate(printer)?.open_existing(&mut Running::new(printer))?;
    args.context.shorten(&mut opened)?;
    // Plans for the known prompts, or else for the whole context.
    let room = match prompts::named(args)? {
        Some(texts) => room(args, &opened.checkpoint, &prompts::encode(args, &opened, texts)?),
        None => Room::of_one(&opened.checkpoint, usize::MAX),
    };
    let placed = Placed::new(&settings, &opened.checkpoint, room)?;
    if args.json {
        printer.result(placed.as_json())?;
    } else {
        let mut table = Table::new(Placed::HEADINGS);
        placed.rows().into_iter().for_each(|row| table.row(row));
        printer.data(&table.to_string())?;
    }
    printer.note(&format!("The cache is counted for {} positions", placed.requirement.slots));
    Ok(Status::Success)
}

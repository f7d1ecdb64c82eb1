//! What `--plan` prints.

use indicatif::HumanBytes;
use mist::placement::{Load, Place, Share};
use mist::runtime::{Placed, Room};
use mist::terminal::{Printer, Table};
use serde_json::json;

use super::args::GenerateArgs;
use super::job::room;
use super::prompts;
use crate::cli::exit::Status;
use crate::cli::model::ModelArgs;
use crate::cli::running::Running;

/// Prints the plan: one line a device. A plan makes nothing.
pub fn print(args: &GenerateArgs, model: &ModelArgs, printer: &Printer) -> anyhow::Result<Status> {
    let settings = model.settings();
    settings.set_threads();
    let mut opened = model.locate(printer)?.open_existing(&mut Running::new(printer))?;
    args.context.shorten(&mut opened)?;
    // The room of the prompts that are known; else of the whole context.
    let room = match prompts::named(args)? {
        Some(texts) => room(args, &opened.checkpoint, &prompts::encode(args, &opened, texts)?),
        None => Room::of_one(&opened.checkpoint, usize::MAX),
    };
    let placed = Placed::new(&settings, &opened.checkpoint, room)?;
    let text = if args.json { format!("{}\n", as_json(&placed)) } else { as_table(&placed) };
    printer.data(&text)?;
    printer.note(&format!("The cache is counted for {} positions", placed.needs.slots));
    Ok(Status::Success)
}

/// Each device's share, place and load.
fn rows(placed: &Placed) -> impl Iterator<Item = (&Share, &Place, Load)> {
    let loads = placed.plan.loads(&placed.needs);
    placed
        .plan
        .shares
        .iter()
        .zip(&placed.places)
        .zip(loads)
        .map(|((share, place), load)| (share, place, load))
}

fn as_json(placed: &Placed) -> serde_json::Value {
    let device = |(share, place, load): (&Share, &Place, Load)| {
        json!({
            "device": share.device.to_string(),
            "first_layer": share.layers.start,
            "layers": share.layers.len(),
            "weight_bytes": load.weights,
            "head_bytes": load.head,
            "cache_bytes": load.cache,
            "total_bytes": load.total(),
            "limit_bytes": place.memory,
        })
    };
    json!({"positions": placed.needs.slots, "devices": rows(placed).map(device).collect::<Vec<_>>()})
}

fn as_table(placed: &Placed) -> String {
    let mut table = Table::new(["device", "layers", "weights", "head", "cache", "total", "memory"]);
    for (share, place, load) in rows(placed) {
        let layers = format!("{}-{}", share.layers.start, share.layers.end - 1);
        let size = |bytes: u64| HumanBytes(bytes).to_string();
        let memory = place.memory.map_or("any".into(), size);
        let sizes = [load.weights, load.head, load.cache, load.total()].map(size);
        let [weights, head, cache, total] = sizes;
        table.row([share.device.to_string(), layers, weights, head, cache, total, memory]);
    }
    table.to_string()
}

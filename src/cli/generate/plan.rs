//! What `--plan` prints.

use std::path::Path;

use anyhow::anyhow;
use indicatif::HumanBytes;
use mist::placement::{Load, Place, Share};
use mist::quant::Scheme;
use mist::terminal::{Printer, Table};
use serde_json::json;

use super::{GenerateArgs, prompts, room};
use crate::cli::exit::{Hint, Status};
use crate::cli::opened::Opened;
use crate::cli::placing::{DevicesArgs, Placed, Room};
use crate::cli::quantized;
use crate::cli::values::Quantize;

fn not_quantized(path: &Path, scheme: Scheme) -> anyhow::Error {
    let path = path.display();
    let error = anyhow!("{path} has no conversion to {scheme} to plan with");
    error.context(Hint(format!("a run with --quantize {scheme} makes one and keeps it")))
}

/// Prints the plan: one line a device.
pub fn print(args: &GenerateArgs, devices: &DevicesArgs, printer: &Printer) -> anyhow::Result<Status> {
    args.model.set_threads();
    let located = args.model.locate(printer)?;
    let (name, path) = (&located.name, &located.path);
    let mut opened = match located.quantize {
        // A plan makes nothing.
        Some(Quantize::To(scheme)) => {
            let existing = quantized::existing(&located, scheme)?;
            Opened::new(name, &existing.ok_or_else(|| not_quantized(path, scheme))?, printer)?
        }
        Some(Quantize::None) => Opened::as_published(name, path, printer)?,
        None => Opened::new(name, path, printer)?,
    };
    args.context.shorten(&mut opened)?;
    // The room of the prompts that are known; else of the whole context.
    let room = match prompts::named(args)? {
        Some(texts) => room(args, &opened.checkpoint, &prompts::encode(args, &opened, texts)?),
        None => Room::of_one(&opened.checkpoint, usize::MAX),
    };
    let placed = devices.place(&args.model, &opened.checkpoint, room)?;
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

//! `mist list`: the checkpoints on this machine.

use std::path::{Path, PathBuf};

use clap::Args;
use mist::checkpoint::layouts::mist::manifest;
use mist::checkpoint::open::{Checkpoint, Format};
use mist::hub::Size;
use mist::quant::Scheme;
use mist::runtime::located::different;
use mist::store::{Found, Place, Store, bytes_at};
use mist::terminal::{Printer, Table, escaped};
use serde_json::json;

use super::exit::Status;

/// List the checkpoints on this machine.
#[derive(Args, Debug)]
#[command(visible_alias = "ls", after_help = "Example:\n  mist list")]
pub struct ListArgs {
    /// Print the names alone, one a line.
    #[arg(long, help_heading = "Output", conflicts_with = "json")]
    names: bool,
    /// Print one JSON object.
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// A checkpoint, as it is shown.
struct Row {
    found: Found,
    layout: Option<Format>,
    bytes: u64,
    /// The names of its conversions.
    conversions: Vec<String>,
}

/// Runs `mist list`.
pub fn run(args: &ListArgs, printer: &Printer) -> anyhow::Result<Status> {
    let store = Store::from_environment();
    if args.names {
        let names = different(store.all()).into_iter().map(|found| found.name + "\n");
        printer.data(&names.collect::<String>())?;
        return Ok(Status::Success);
    }
    let rows: Vec<Row> = store.all().into_iter().map(|found| Row::of(&store, found)).collect();
    if args.json {
        let rows: Vec<_> = rows.iter().map(Row::as_json).collect();
        printer.data(&format!("{}\n", json!({ "checkpoints": rows })))?;
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
            place(&store, row.found.place),
            row.conversions.join(", "),
        ]);
    }
    let table = table.numbers([false, false, true, false, false]);
    printer.table(&table)?;
    Ok(Status::Success)
}

impl Row {
    fn of(store: &Store, found: Found) -> Self {
        let conversions = store.conversions_made(&found);
        let bytes = bytes_at(&found.path).saturating_sub(within(&found.path, &conversions));
        let conversions =
            in_place(&found.path).into_iter().chain(conversions.iter().map(|folder| scheme(folder)));
        let conversions = conversions.collect();
        Self { layout: Checkpoint::layout(&found.path), bytes, conversions, found }
    }

    fn as_json(&self) -> serde_json::Value {
        json!({
            "name": self.found.name,
            "layout": self.layout.map(Format::name),
            "bytes": self.bytes,
            "conversions": self.conversions,
            "path": self.found.path.to_string_lossy(),
            "revision": self.found.revision,
            "read_only": self.found.place == Place::HubCache,
        })
    }
}

/// The scheme of a conversion that lies beside the originals in their folder.
fn in_place(folder: &Path) -> Option<String> {
    let is_beside = folder.join(manifest::FILE).is_file() && Checkpoint::has_original(folder);
    let manifest = manifest::Manifest::read(folder).ok().filter(|_| is_beside)?;
    let scheme = manifest.origin.roundings.last().and_then(|rounding| rounding.quantize);
    Some(format!("{} in place", scheme.map_or("mist", Scheme::name)))
}

/// Bytes of the conversions that lie in the checkpoint's own folder.
fn within(folder: &Path, conversions: &[PathBuf]) -> u64 {
    conversions
        .iter()
        .filter(|path| path.starts_with(folder) && !path.is_symlink())
        .map(|path| bytes_at(path))
        .sum()
}

/// `q8_0` of `x.q8_0` and of a folder of that name.
fn scheme(folder: &Path) -> String {
    folder.extension().or(folder.file_name()).unwrap_or_default().to_string_lossy().into_owned()
}

/// A place's folder, with `~` for the user's own.
fn place(store: &Store, place: Place) -> String {
    let root = store.root(place).unwrap_or_default();
    let below_home = std::env::home_dir().and_then(|home| Some(root.strip_prefix(home).ok()?.to_path_buf()));
    below_home.map_or(root.display().to_string(), |below| format!("~/{}", below.display()))
}

//! What `mist list` shows: every checkpoint with its size, layout and conversions.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Found, Place, Store, bytes_at};
use crate::checkpoint::layouts::mist::manifest;
use crate::checkpoint::open::{Checkpoint, Format};
use crate::quant::Scheme;

/// A checkpoint of the store, described.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The checkpoint.
    pub found: Found,
    /// The layout of its files, where it is known.
    pub layout: Option<Format>,
    /// Bytes of its files, its conversions left out.
    pub bytes: u64,
    /// The names of its conversions.
    pub conversions: Vec<String>,
}

impl Store {
    /// All checkpoints, described.
    pub fn listed(&self) -> Vec<Listed> {
        self.all().into_iter().map(|found| Listed::of(self, found)).collect()
    }
}

impl Listed {
    fn of(store: &Store, found: Found) -> Self {
        let conversions = store.conversions_made(&found);
        let bytes = bytes_at(&found.path).saturating_sub(within(&found.path, &conversions));
        let conversions =
            in_place(&found.path).into_iter().chain(conversions.iter().map(|folder| scheme(folder)));
        let conversions = conversions.collect();
        Self { layout: Checkpoint::layout(&found.path), bytes, conversions, found }
    }

    /// The same for a program.
    pub fn as_json(&self) -> Value {
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

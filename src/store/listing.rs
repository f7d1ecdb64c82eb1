//! Lists all checkpoints with size, layout and conversions, for `mist list`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::conversions::in_place;
use super::{Found, Place, Store, bytes_at};
use crate::checkpoint::open::{Checkpoint, Format};

/// The description of a checkpoint in the store.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The checkpoint.
    pub found: Found,
    /// The layout of its files, if known.
    pub layout: Option<Format>,
    /// Total size in bytes of its files, without conversions.
    pub bytes: u64,
    /// Names of its conversions.
    pub conversions: Vec<String>,
}

impl Store {
    /// Returns descriptions of all checkpoints.
    pub fn listed(&self) -> Vec<Listed> {
        self.all().into_iter().map(|found| Listed::of(self, found)).collect()
    }
}

impl Listed {
    fn of(store: &Store, found: Found) -> Self {
        let conversions = store.conversions_made(&found);
        let bytes = bytes_at(&found.path).saturating_sub(within(&found.path, &conversions));
        let in_place = in_place(&found.path).map(|conversion| format!("{} in place", conversion.name));
        let conversions = in_place.into_iter().chain(conversions.iter().map(|folder| scheme(folder)));
        let conversions = conversions.collect();
        Self { layout: Checkpoint::layout(&found.path), bytes, conversions, found }
    }

    /// Returns the description for JSON output.
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

/// Returns the total size in bytes of the conversions in the checkpoint's own folder.
fn within(folder: &Path, conversions: &[PathBuf]) -> u64 {
    conversions
        .iter()
        .filter(|path| path.starts_with(folder) && !path.is_symlink())
        .map(|path| bytes_at(path))
        .sum()
}

/// Returns the scheme in a conversion's name: `q8_0` for `x.q8_0` and for `q8_0`.
fn scheme(folder: &Path) -> String {
    folder.extension().or(folder.file_name()).unwrap_or_default().to_string_lossy().into_owned()
}

//! Locates a checkpoint's conversions.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{CHECKED, Found, Place, Store, contents};
use crate::checkpoint::layouts::mist::manifest::{self, Manifest};
use crate::checkpoint::open::Checkpoint;
use crate::quant::Scheme;

impl Store {
    /// Returns the folder for conversions of a checkpoint that cannot be written to:
    /// `MIST_HOME/conversions/ORG/NAME/REVISION`. A digest of the path replaces a missing revision.
    pub fn conversions(&self, found: &Found) -> Option<PathBuf> {
        let revision = match &found.revision {
            Some(revision) => revision.clone(),
            None => digest(&found.path),
        };
        Some(self.conversions_of(found)?.join(revision))
    }

    /// Returns the folder for the conversions of all revisions.
    pub(super) fn conversions_of(&self, found: &Found) -> Option<PathBuf> {
        let conversions = self.conversions_root()?;
        Some(match &found.repo {
            Some(repo) => repo.folder(&conversions),
            // A checkpoint without a repository is named by its folder and the parent folder.
            None => {
                let path = std::fs::canonicalize(&found.path).unwrap_or_else(|_| found.path.clone());
                let name =
                    |path: Option<&Path>| path.and_then(Path::file_name).unwrap_or("_".as_ref()).to_owned();
                conversions.join(name(path.parent())).join(name(Some(&path)))
            }
        })
    }

    /// Lists the existing conversions of a checkpoint, in all places.
    pub fn conversions_made(&self, found: &Found) -> Vec<PathBuf> {
        let mut made = match found.place {
            // Conversions in the hub's cache were published with the model, so they are not listed here.
            Place::HubCache => Vec::new(),
            Place::Checkpoints | Place::Home => contents::conversions(&found.path),
        };
        if let Some(elsewhere) = self.conversions(found) {
            made.extend(contents::conversions(&elsewhere));
        }
        made
    }
}

/// A conversion whose files lie beside the original ones in the same folder.
pub(super) struct InPlace {
    /// Name of its scheme; `mist` if it is not quantized.
    pub name: &'static str,
    /// Its files. The description is the first: without it the others are no checkpoint.
    pub files: Vec<PathBuf>,
}

/// Returns the conversion in the folder of its originals, if there is one.
pub(super) fn in_place(folder: &Path) -> Option<InPlace> {
    let is_beside = folder.join(manifest::FILE).is_file() && Checkpoint::has_original(folder);
    let manifest = Manifest::read(folder).ok().filter(|_| is_beside)?;
    let scheme = manifest.provenance.roundings.last().and_then(|rounding| rounding.quantize);
    // Only these names: those in a description that came from elsewhere may be the originals'.
    let files = [manifest::FILE, manifest::WEIGHTS, CHECKED].map(|name| folder.join(name));
    let files = files.into_iter().filter(|file| file.symlink_metadata().is_ok()).collect();
    Some(InPlace { name: scheme.map_or("mist", Scheme::name), files })
}

/// Number of hexadecimal digits of a digest that replaces a revision.
pub(super) const DIGEST: usize = 16;

/// Returns the digest of a path, for a folder's name.
fn digest(path: &Path) -> String {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    hash.iter().take(DIGEST / 2).map(|byte| format!("{byte:02x}")).collect()
}

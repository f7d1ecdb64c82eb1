//! Deletes a checkpoint with its conversions.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::contents;
use super::conversions::{DIGEST, in_place};
use super::{Found, ModelName, Place, Store};
use crate::hub;
use crate::system::files::{Claim, folder_of};
use crate::system::hinted::Hinted;

/// A list of what a removal deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The folders and files, each deleted with its content.
    pub doomed: Vec<Doomed>,
    /// Folders that are deleted as well if they are then empty.
    emptied: Vec<PathBuf>,
    /// A folder that stays while some of its files are deleted; it is claimed meanwhile.
    shared: Option<PathBuf>,
}

/// A folder or a file to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// Its path.
    pub path: PathBuf,
    /// Total size in bytes of its files.
    pub bytes: u64,
    /// Number of its files.
    pub files: usize,
}

/// Why a removal failed, fully or in part.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// The checkpoint is in the hub's own cache, which is never written to, and it has no conversions.
    #[error("{name} lies in the hub's own cache ({}), which mist only reads", .folder.display())]
    ReadOnly {
        /// Name of the checkpoint.
        name: String,
        /// Path of the checkpoint.
        folder: PathBuf,
    },
    /// The folder holds other checkpoints, or no checkpoint.
    #[error("cannot remove {}: {}", .folder.display(), match .others.as_slice() {
        [] => "it holds no checkpoint".into(),
        others => format!("it holds other checkpoints: {}", others.join(", ")),
    })]
    NotAlone {
        /// The folder.
        folder: PathBuf,
        /// Names of the other checkpoints.
        others: Vec<String>,
    },
    /// The checkpoint has no such conversion.
    #[error("{name} has no conversion to {variant}")]
    NoConversion {
        /// Name of the checkpoint.
        name: String,
        /// The requested variant.
        variant: String,
    },
    /// The name is an address of a file or a revision in a repository.
    #[error("an address of a file or a revision cannot be removed")]
    Part(PathBuf),
    /// The checkpoint cannot be looked up.
    #[error(transparent)]
    Find(#[from] hub::Error),
    /// Another process is writing to the folder.
    #[error("another mist is writing to {}", .0.display())]
    Busy(PathBuf),
    /// The system refuses to delete a file or folder.
    #[error("cannot delete {}: {reason}", .path.display())]
    Io {
        /// The path that could not be deleted.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
}

impl Hinted for RemovalError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::ReadOnly { name, .. } => {
                Some(format!("`hf cache rm model/{name}` of the hub's own client deletes it"))
            }
            Self::NotAlone { others, .. } => Some(match others.first() {
                Some(other) => format!("`mist remove {other}` removes one of them"),
                None => "`mist list` lists all models".into(),
            }),
            Self::NoConversion { .. } => Some("`mist list` lists all models".into()),
            Self::Part(path) => Some(format!("`mist remove {}` removes the repository", path.display())),
            Self::Busy(_) => Some("wait until it has ended".into()),
            Self::Find(error) => error.hint(),
            Self::Io { reason, .. } => reason.hint(),
        }
    }

    fn is_wrong_call(&self) -> bool {
        match self {
            Self::Part(_) => true,
            Self::Find(error) => error.is_wrong_call(),
            _ => false,
        }
    }
}

impl Store {
    /// Looks up the checkpoint that `typed` names; returns it with the variant after the colon, if there is one.
    ///
    /// # Errors
    /// `typed` is an address of a file or a revision; the hub's cache has several revisions.
    pub fn find_with_variant(&self, typed: &str) -> Result<Option<(Found, Option<String>)>, RemovalError> {
        let name = ModelName::parse(typed.as_ref());
        if name.file.is_some() || name.revision.is_some() {
            return Err(RemovalError::Part(name.path));
        }
        if let Some(found) = self.find(&name)? {
            // Without a variant, a link to a checkpoint in the hub's cache is deleted, but not its target.
            let found = if name.variant.is_some() { self.resolved(found) } else { found };
            return Ok(Some((found, name.variant)));
        }
        // A conversion's name need not be a scheme: `f16-q4_k`, `mist`.
        let Some((name, variant)) = typed.rsplit_once(':') else { return Ok(None) };
        let found = self.find(&ModelName::parse(name.as_ref()))?;
        Ok(found.map(|found| (self.resolved(found), Some(variant.to_string()))))
    }

    /// Lists what to delete for a checkpoint: its folder or file, and all its conversions; with a `variant` only that
    /// conversion or GGUF file. Deletes nothing.
    ///
    /// # Errors
    /// [`RemovalError::ReadOnly`], [`RemovalError::NoConversion`], [`RemovalError::NotAlone`].
    pub fn removal(&self, found: &Found, variant: Option<&str>) -> Result<Removal, RemovalError> {
        let paths: Vec<PathBuf> = match variant {
            Some(variant) => self.of_variant(found, variant),
            None if found.place == Place::HubCache => self.conversions_of_cached(found),
            None => {
                self.check_alone(found)?;
                // The conversions of a file are beside it; those of a folder are in it and are deleted with it.
                let beside = if found.path.is_file() { conversions_beside(&found.path) } else { Vec::new() };
                let elsewhere = self.conversions(found).filter(|folder| folder.exists());
                [found.path.clone()].into_iter().chain(beside).chain(elsewhere).collect()
            }
        };
        if paths.is_empty() {
            let name = found.name.clone();
            return Err(match variant {
                Some(variant) => RemovalError::NoConversion { name, variant: variant.into() },
                None => RemovalError::ReadOnly { name, folder: found.path.clone() },
            });
        }
        // The parent folders: ORG of ORG/NAME, and those of a conversion in `MIST_HOME/conversions`; never a place
        // itself.
        let roots = [self.root(Place::Checkpoints), self.root(Place::Home), self.conversions_root()];
        let is_inside = |folder: &&Path| {
            roots.iter().flatten().any(|root| folder.starts_with(root) && *folder != root)
                && *folder != found.path
        };
        let parents = paths.iter().flat_map(|path| path.ancestors().skip(1).take_while(is_inside));
        let emptied = parents.map(Path::to_path_buf).collect();
        let is_within = |path: &PathBuf| path.parent() == Some(&found.path) && !is_own_folder(path);
        let shared = (found.path.is_dir() && paths.iter().any(is_within)).then(|| found.path.clone());
        Ok(Removal { doomed: paths.into_iter().map(Doomed::at).collect(), emptied, shared })
    }

    /// Checks that a folder has a file of a checkpoint, and no other checkpoint below it.
    fn check_alone(&self, found: &Found) -> Result<(), RemovalError> {
        if found.path.is_file() {
            return Ok(());
        }
        let is_below = |other: &Found| {
            other.path != found.path
                && other.path.starts_with(&found.path)
                && (other.path.is_dir() || other.path.parent() != Some(&found.path))
        };
        let others: Vec<String> = self.all().into_iter().filter(is_below).map(|other| other.name).collect();
        match others.is_empty() && contents::is_begun(&found.path) {
            true => Ok(()),
            false => Err(RemovalError::NotAlone { folder: found.path.clone(), others }),
        }
    }

    /// Lists the conversions of all revisions of a repository in the hub's cache. Conversions of another checkpoint of
    /// that name are beside them under a digest, and are skipped.
    fn conversions_of_cached(&self, found: &Found) -> Vec<PathBuf> {
        let Some(folder) = self.conversions_of(found) else { return Vec::new() };
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let is_digest = |name: &std::ffi::OsStr| name.len() == DIGEST;
        entries.filter(|entry| !is_digest(&entry.file_name())).map(|entry| entry.path()).collect()
    }

    fn of_variant(&self, found: &Found, variant: &str) -> Vec<PathBuf> {
        let is_named = |path: &PathBuf| {
            let end = [path.file_name(), path.extension()];
            end.into_iter().flatten().any(|end| end.eq_ignore_ascii_case(variant))
        };
        let mut paths: Vec<PathBuf> = self.conversions_made(found).into_iter().filter(is_named).collect();
        if found.place == Place::HubCache {
            return paths;
        }
        paths.extend(contents::begun_conversions(&found.path).into_iter().filter(is_named));
        let in_place = in_place(&found.path).filter(|there| there.name.eq_ignore_ascii_case(variant));
        paths.extend(in_place.into_iter().flat_map(|there| there.files));
        if paths.is_empty() {
            paths = found.variants(variant);
            let beside: Vec<PathBuf> = paths.iter().flat_map(|file| conversions_beside(file)).collect();
            paths.extend(beside);
        }
        paths
    }
}

/// Lists the conversions beside a GGUF file, and what killed ones left there.
fn conversions_beside(file: &Path) -> Vec<PathBuf> {
    [contents::conversions(file), contents::begun_conversions(file)].concat()
}

impl Doomed {
    fn at(path: PathBuf) -> Self {
        let (files, bytes) = size(&path);
        Self { path, bytes, files }
    }
}

/// Returns the number of files below a path, hidden ones included, and their total size in bytes; links count as files
/// of size 0.
fn size(path: &Path) -> (usize, u64) {
    let Ok(found) = path.symlink_metadata() else { return (0, 0) };
    if !found.is_dir() {
        return (1, if found.is_file() { found.len() } else { 0 });
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| size(&entry.path()))
        .fold((0, 0), |sum, (files, bytes)| (sum.0 + files, sum.1 + bytes))
}

impl Removal {
    /// Returns the list for JSON output.
    pub fn as_json(&self) -> Value {
        let path = |doomed: &Doomed| json!({"path": doomed.path.to_string_lossy(), "bytes": doomed.bytes, "files": doomed.files});
        json!({ "deleted": self.doomed.iter().map(path).collect::<Vec<_>>(), "bytes": self.bytes() })
    }

    /// Returns the total size in bytes.
    pub fn bytes(&self) -> u64 {
        self.doomed.iter().map(|doomed| doomed.bytes).sum()
    }

    /// Deletes the listed folders and files. A link is deleted, but not its target.
    ///
    /// # Errors
    /// [`RemovalError::Busy`] before anything is deleted; [`RemovalError::Io`], after which nothing more is deleted.
    pub fn carry_out(self) -> Result<(), RemovalError> {
        // Downloads claim a checkpoint's folder; conversions claim a folder in it.
        let folders = self.doomed.iter().map(|doomed| doomed.path.clone()).filter(|path| is_own_folder(path));
        let within = |folder: PathBuf| {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let folders = entries.map(|entry| entry.path()).filter(|path| is_own_folder(path));
            folders.chain([folder.clone()]).collect::<Vec<_>>()
        };
        let folders = folders.flat_map(within).chain(self.shared.clone());
        let claims: Vec<Claim> = folders.map(|folder| claim(&folder)).collect::<Result<_, _>>()?;
        for Doomed { path, .. } in &self.doomed {
            let deleted = folder_of(path).and_then(|(folder, name)| folder.remove_all(name));
            deleted.map_err(|reason| RemovalError::Io { path: path.clone(), reason })?;
        }
        drop(claims);
        for folder in &self.emptied {
            // A folder that is not empty is kept.
            let _ = folder_of(folder).and_then(|(parent, name)| parent.remove_empty(name));
        }
        Ok(())
    }
}

/// Returns whether a path is a folder and not a link to one.
fn is_own_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

/// Claims a folder, so that no other process writes to it.
fn claim(folder: &Path) -> Result<Claim, RemovalError> {
    Claim::new(None, folder, &mut || false).map_err(|unclaimed| match unclaimed.source.kind() {
        io::ErrorKind::Interrupted => RemovalError::Busy(folder.into()),
        _ => RemovalError::Io { path: unclaimed.path, reason: unclaimed.source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regressions: the record of a check was counted as a part of its checkpoint, and not as a file that is deleted.
    #[test]
    fn the_record_of_a_check_is_deleted_and_is_no_part_of_a_checkpoint() {
        let root = tempfile::tempdir().unwrap();
        for name in [contents::CHECKED, "mist.json"] {
            std::fs::write(root.path().join(name), "four").unwrap();
        }
        assert_eq!((size(root.path()), contents::bytes_at(root.path())), ((2, 8), 4));
    }
}

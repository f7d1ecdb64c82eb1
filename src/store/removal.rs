//! What goes with a checkpoint, and its deletion.

use std::io;
use std::path::{Path, PathBuf};

use super::contents;
use super::conversions::DIGEST;
use super::{Found, Place, Store};
use crate::system::files::{Claim, folder_of};
use crate::system::hinted::Hinted;

/// What a removal deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The folders and files, each with all that is in it.
    pub doomed: Vec<Doomed>,
    /// Folders that go as well if nothing is left in them.
    emptied: Vec<PathBuf>,
}

/// A folder or a file that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// Where it lies.
    pub path: PathBuf,
    /// Bytes of all its files.
    pub bytes: u64,
    /// How many these are.
    pub files: usize,
}

/// Why nothing is, or not all is, removed.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// The hub's own cache is not written to, and there is no conversion of it.
    #[error("{name} lies in the hub's own cache ({}), which mist only reads", .folder.display())]
    ReadOnly {
        /// The checkpoint.
        name: String,
        /// Its folder.
        folder: PathBuf,
    },
    /// Other checkpoints lie in its folder, or nothing of a checkpoint does.
    #[error("{} is no checkpoint alone: {}", .folder.display(), match .others.as_slice() {
        [] => "it holds none".into(),
        others => format!("it holds {}", others.join(", ")),
    })]
    NotAlone {
        /// The folder.
        folder: PathBuf,
        /// The names of the others.
        others: Vec<String>,
    },
    /// There is no such conversion.
    #[error("{name} has no conversion to {variant}")]
    NoConversion {
        /// The checkpoint.
        name: String,
        /// What was asked for.
        variant: String,
    },
    /// Another process writes there.
    #[error("another mist is writing to {}", .0.display())]
    Busy(PathBuf),
    /// The system refuses.
    #[error("cannot delete {}: {source}", .path.display())]
    Io {
        /// What was to be deleted.
        path: PathBuf,
        /// Why not.
        source: io::Error,
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
                None => "`mist list` shows what there is".into(),
            }),
            Self::NoConversion { .. } => Some("`mist list` shows what there is".into()),
            Self::Busy(_) => Some("wait until it has ended".into()),
            Self::Io { .. } => None,
        }
    }
}

impl Store {
    /// What goes with a checkpoint: its folder or file and all conversions of it; with a `variant` that conversion alone,
    /// or that GGUF file. Nothing is deleted yet.
    ///
    /// # Errors
    /// [`RemovalError::ReadOnly`], [`RemovalError::NoConversion`], [`RemovalError::NotAlone`].
    pub fn removal(&self, found: &Found, variant: Option<&str>) -> Result<Removal, RemovalError> {
        let paths: Vec<PathBuf> = match variant {
            Some(variant) => self.of_variant(found, variant),
            None if found.place == Place::HubCache => self.conversions_of_cached(found),
            None => {
                self.check_alone(found)?;
                // Beside a file lie its conversions; in a folder they go with it.
                let beside =
                    if found.path.is_file() { contents::conversions(&found.path) } else { Vec::new() };
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
        // ORG of ORG/NAME, and what a conversion elsewhere lies in; never a place itself.
        let roots = [self.root(Place::Checkpoints), self.root(Place::Home), self.conversions_root()];
        let is_inside = |folder: &&Path| {
            roots.iter().flatten().any(|root| folder.starts_with(root) && *folder != root)
                && *folder != found.path
        };
        let parents = paths.iter().flat_map(|path| path.ancestors().skip(1).take_while(is_inside));
        let emptied = parents.map(Path::to_path_buf).collect();
        Ok(Removal { doomed: paths.into_iter().map(Doomed::at).collect(), emptied })
    }

    /// That a folder has something of a checkpoint in it, and no other checkpoint below it.
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

    /// The conversions of a repository of the hub's cache, of all its revisions. Those of another checkpoint of that name
    /// lie beside them, under a digest.
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
        if found.place != Place::HubCache && paths.is_empty() {
            paths = found.variants(variant);
            let beside: Vec<PathBuf> = paths.iter().flat_map(|file| contents::conversions(file)).collect();
            paths.extend(beside);
        }
        paths
    }
}

impl Doomed {
    fn at(path: PathBuf) -> Self {
        let (files, bytes) = size(&path);
        Self { path, bytes, files }
    }
}

/// The number of files below a path and their bytes; links count as nothing.
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
    /// Bytes of all that goes.
    pub fn bytes(&self) -> u64 {
        self.doomed.iter().map(|doomed| doomed.bytes).sum()
    }

    /// Deletes it. A link goes, and what it leads to stays.
    ///
    /// # Errors
    /// [`RemovalError::Busy`] before anything is deleted; [`RemovalError::Io`], with the rest left as it was.
    pub fn carry_out(self) -> Result<(), RemovalError> {
        // Downloads claim a checkpoint's folder, conversions a folder in it.
        let folders = self.doomed.iter().map(|doomed| doomed.path.clone()).filter(|path| is_own_folder(path));
        let within = |folder: PathBuf| {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let folders = entries.map(|entry| entry.path()).filter(|path| is_own_folder(path));
            folders.chain([folder.clone()]).collect::<Vec<_>>()
        };
        let claims: Vec<Claim> =
            folders.flat_map(within).map(|folder| claim(&folder)).collect::<Result<_, _>>()?;
        for Doomed { path, .. } in &self.doomed {
            let deleted = folder_of(path).and_then(|(folder, name)| folder.remove_all(name));
            deleted.map_err(|source| RemovalError::Io { path: path.clone(), source })?;
        }
        drop(claims);
        for folder in &self.emptied {
            // One that holds something else stays.
            let _ = folder_of(folder).and_then(|(parent, name)| parent.remove_empty(name));
        }
        Ok(())
    }
}

/// Whether a path is a folder and no link to one.
fn is_own_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

/// Keeps others from writing to a folder.
fn claim(folder: &Path) -> Result<Claim, RemovalError> {
    Claim::new(None, folder, &mut || false).map_err(|unclaimed| match unclaimed.source.kind() {
        io::ErrorKind::Interrupted => RemovalError::Busy(folder.into()),
        _ => RemovalError::Io { path: unclaimed.path, source: unclaimed.source },
    })
}

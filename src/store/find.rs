//! Looks up names, and lists all checkpoints.

use std::path::{Path, PathBuf};

use super::contents::{self, ggufs, holds_checkpoint, openable};
use super::name::is_variant;
use super::{ModelName, Place, Store};
use crate::checkpoint::open::Checkpoint;
use crate::hub::{self, RepoId};

/// A checkpoint in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The checkpoint's name: `ORG/NAME`, or a path relative to its place.
    pub name: String,
    /// The checkpoint's folder or file.
    pub path: PathBuf,
    /// The place in which it is stored.
    pub place: Place,
    /// The repository, if the name is one of a repository.
    pub repo: Option<RepoId>,
    /// The revision, if known: only the hub's cache records it.
    pub revision: Option<String>,
}

impl Found {
    /// Returns the GGUF files whose names end with the quantization `variant`, including all shards of a file.
    pub fn variants(&self, variant: &str) -> Vec<PathBuf> {
        let mut files = ggufs(&self.path);
        files.retain(|file| is_variant(file, variant));
        files
    }
}

impl Store {
    /// Looks up a name in all places. Prefers a place that holds the checkpoint with the file of the name's variant,
    /// then one that holds the checkpoint, and then one that has a folder of that name.
    ///
    /// # Errors
    /// The hub's cache has several revisions of the checkpoint, and no other place has it.
    pub fn find(&self, name: &ModelName) -> Result<Option<Found>, hub::Error> {
        if !name.is_plain() {
            return Ok(None);
        }
        let own = [Place::Checkpoints, Place::Home].into_iter().filter_map(|place| {
            let root = self.root(place)?;
            Some(found(place, &root, root.join(&name.path)))
        });
        let own: Vec<Found> = own.filter(|found| found.path.exists()).collect();
        let cached = match self.in_cache(&name.path) {
            Err(_) if !own.is_empty() => None,
            cached => cached?,
        };
        let (holding, begun): (Vec<Found>, Vec<Found>) =
            own.into_iter().chain(cached).partition(|found| holds_checkpoint(&found.path));
        let has_file =
            |found: &&Found| name.variant.as_ref().is_some_and(|variant| !found.variants(variant).is_empty());
        let best = holding.iter().find(has_file).or_else(|| holding.first()).cloned();
        Ok(best.or_else(|| begun.into_iter().find(|found| found.path.is_dir())))
    }

    /// Returns whether a checkpoint has weights, and not only its description.
    pub fn holds_weights(&self, found: &Found) -> bool {
        holds_checkpoint(&found.path)
    }

    /// Turns a checkpoint into one of the hub's own cache if its path leads there.
    pub fn resolved(&self, found: Found) -> Found {
        match self.cache.as_ref().and_then(|cache| cache.within(&found.path)) {
            Some((repo, revision)) => {
                Found { place: Place::HubCache, repo: Some(repo), revision: Some(revision), ..found }
            }
            None => found,
        }
    }

    /// Looks up `ORG/NAME` or `ORG/NAME/FILE` in the hub's own cache.
    fn in_cache(&self, path: &Path) -> Result<Option<Found>, hub::Error> {
        let Some((cache, text)) = self.cache.as_ref().zip(path.to_str()) else { return Ok(None) };
        let mut parts = text.splitn(3, '/');
        let repo = format!("{}/{}", parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let Ok(repo) = repo.parse::<RepoId>() else { return Ok(None) };
        let file = parts.next();
        let Some(snapshot) = cache.snapshot(&repo)? else { return Ok(None) };
        let path = file.map_or(snapshot.folder.clone(), |file| snapshot.folder.join(file));
        let exists = file.is_none() || path.exists();
        Ok(exists.then(|| Found {
            name: text.into(),
            path,
            place: Place::HubCache,
            repo: Some(repo),
            revision: Some(snapshot.revision),
        }))
    }

    /// Lists all checkpoints on this machine, ordered by place and name. For a model with several revisions in the
    /// hub's cache it lists that of the main branch, or none if the main branch is not cached. Models in that cache of
    /// families that this program does not support are left out.
    pub fn all(&self) -> Vec<Found> {
        let mut all = Vec::new();
        for place in [Place::Checkpoints, Place::Home] {
            let Some(root) = self.root(place) else { continue };
            all.extend(contents::checkpoints(&root).into_iter().map(|path| found(place, &root, path)));
        }
        for repo in self.cache.iter().flat_map(hub::HubCache::repositories) {
            let snapshot = self.cache.as_ref().and_then(|cache| cache.snapshot(&repo).ok().flatten());
            // Other programs keep models of all kinds there.
            let Some(snapshot) = snapshot.filter(|s| !Checkpoint::is_of_another_family(&s.folder)) else {
                continue;
            };
            all.extend(openable(&snapshot.folder).into_iter().map(|path| {
                let below = path.strip_prefix(&snapshot.folder).unwrap_or(Path::new(""));
                let name = Path::new(&repo.to_string()).join(below);
                let name =
                    if below.as_os_str().is_empty() { repo.to_string() } else { name.display().to_string() };
                let (repo, revision) = (Some(repo.clone()), Some(snapshot.revision.clone()));
                Found { name, path, place: Place::HubCache, repo, revision }
            }));
        }
        all
    }
}

/// Describes the checkpoint at `path`, which is below `root`, the folder of `place`.
fn found(place: Place, root: &Path, path: PathBuf) -> Found {
    let below = path.strip_prefix(root).unwrap_or(&path);
    let name = below.display().to_string();
    let parts: Vec<&str> = name.split(['/', std::path::MAIN_SEPARATOR]).collect();
    let repo = parts.get(..2).and_then(|parts| parts.join("/").parse().ok());
    Found { name, path, place, repo, revision: None }
}

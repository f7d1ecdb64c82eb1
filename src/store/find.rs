//! A name looked up, and all that there is.

use std::path::{Path, PathBuf};

use super::contents::{self, ggufs, holds_checkpoint, openable};
use super::name::is_variant;
use super::{ModelName, Place, Store};
use crate::checkpoint::open::Checkpoint;
use crate::hub::{self, RepoId};

/// A checkpoint in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How it is named: `ORG/NAME`, or a path below its place.
    pub name: String,
    /// Its folder or file.
    pub path: PathBuf,
    /// Where it lies.
    pub place: Place,
    /// Its repository, if its name is one's.
    pub repo: Option<RepoId>,
    /// The revision that it is of, where its place says so.
    pub revision: Option<String>,
}

impl Found {
    /// The GGUF files whose names end with a quantization: parts of one file together.
    pub fn variants(&self, variant: &str) -> Vec<PathBuf> {
        let mut files = ggufs(&self.path);
        files.retain(|file| is_variant(file, variant));
        files
    }
}

impl Store {
    /// The checkpoint of this name: of the places that hold one the first that has the file of its variant, else the first;
    /// where none holds one, the first that has such a folder at all.
    ///
    /// # Errors
    /// The hub's cache has several revisions of it, and no other place has it.
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

    /// Whether a checkpoint's folder has weights, and not only what describes them.
    pub fn holds_weights(&self, found: &Found) -> bool {
        holds_checkpoint(&found.path)
    }

    /// A checkpoint as one of the hub's own cache, if that is where its path leads.
    pub fn resolved(&self, found: Found) -> Found {
        match self.cache.as_ref().and_then(|cache| cache.within(&found.path)) {
            Some((repo, revision)) => {
                Found { place: Place::HubCache, repo: Some(repo), revision: Some(revision), ..found }
            }
            None => found,
        }
    }

    /// `ORG/NAME`, or `ORG/NAME/FILE`, of the hub's own cache.
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

    /// Every checkpoint on this machine, in the order of places and names. Of several revisions in the hub's cache that of
    /// the main branch; where none is, none. What is of another family than this program's is left out there.
    pub fn all(&self) -> Vec<Found> {
        let mut all = Vec::new();
        for place in [Place::Checkpoints, Place::Home] {
            let Some(root) = self.root(place) else { continue };
            all.extend(contents::checkpoints(&root).into_iter().map(|path| found(place, &root, path)));
        }
        for repo in self.cache.iter().flat_map(hub::HubCache::repositories) {
            let snapshot = self.cache.as_ref().and_then(|cache| cache.snapshot(&repo).ok().flatten());
            // Others keep models of all kinds there.
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

/// What lies at `path` under the folder of a place.
fn found(place: Place, root: &Path, path: PathBuf) -> Found {
    let below = path.strip_prefix(root).unwrap_or(&path);
    let name = below.display().to_string();
    let parts: Vec<&str> = name.split(['/', std::path::MAIN_SEPARATOR]).collect();
    let repo = parts.get(..2).and_then(|parts| parts.join("/").parse().ok());
    Found { name, path, place, repo, revision: None }
}

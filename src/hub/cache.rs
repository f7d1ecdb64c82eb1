//! The cache of the hub's own clients, which we read and never write:
//!
//! ```text
//! models--ORG--NAME/refs/main               the commit of a branch
//! models--ORG--NAME/snapshots/COMMIT/FILE   a link to its content
//! models--ORG--NAME/blobs/HASH              the content
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use super::home::home;
use super::{Entry, Error, FileName, Hash, RepoId, folder};
use crate::system::environment::{self, HF_HUB_CACHE};
use crate::system::files;

/// Maximum size of a reference in bytes. It has 40 digits and perhaps a newline.
const LARGEST_REFERENCE: u64 = 1024;
/// The start of the folder name of a model's repository.
const MODELS: &str = "models--";

/// A cache folder, which need not exist.
#[derive(Clone, Debug)]
pub struct HubCache {
    root: PathBuf,
}

/// The files of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder with the files.
    pub folder: PathBuf,
    /// The name of that folder, a commit.
    pub revision: String,
}

impl HubCache {
    /// Finds the cache: `HF_HUB_CACHE`, else `hub` in `HF_HOME` (`~/.cache/huggingface`); `None` for a user without a
    /// home.
    pub fn from_environment() -> Option<Self> {
        match environment::path(HF_HUB_CACHE) {
            Some(root) => Some(Self::at(root)),
            None => Some(Self::at(home()?.join("hub"))),
        }
    }

    /// Returns the cache in this folder.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns the folder of the cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the model repositories in the cache, by name.
    pub fn repositories(&self) -> Vec<RepoId> {
        let mut found: Vec<RepoId> =
            names(&self.root).iter().filter_map(|name| repository(name.strip_prefix(MODELS)?)).collect();
        found.sort_by_key(RepoId::to_string);
        found
    }

    /// Returns the snapshot of a repository's main branch, else its only snapshot.
    ///
    /// # Errors
    /// [`Error::SeveralSnapshots`] for several snapshots without the main branch's.
    pub fn snapshot(&self, repo: &RepoId) -> Result<Option<Snapshot>, Error> {
        let folder = self.folder(repo);
        let snapshots = folder.join("snapshots");
        let snapshot = |revision: String| Snapshot { folder: snapshots.join(&revision), revision };
        let main = files::read(&folder.join("refs").join("main"), LARGEST_REFERENCE).ok();
        let main = main.and_then(|bytes| String::from_utf8(bytes).ok());
        let main = main.and_then(|text| FileName::parse(text.trim()));
        if let Some(main) =
            main.map(|commit| snapshot(commit.to_string())).filter(|main| main.folder.is_dir())
        {
            return Ok(Some(main));
        }
        let mut revisions = names(&snapshots);
        revisions.retain(|revision| FileName::parse(revision).is_some() && snapshots.join(revision).is_dir());
        match revisions.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(snapshot(only.clone()))),
            _ => Err(Error::SeveralSnapshots { repo: repo.clone(), folder: snapshots, revisions }),
        }
    }

    /// Returns the repository and the revision of a path into a snapshot, even if it leads through links.
    pub fn within(&self, path: &Path) -> Option<(RepoId, String)> {
        let root = fs::canonicalize(&self.root).ok()?;
        // The snapshot itself, or the folder of one of its files, which are links out of it.
        let folder =
            if path.is_dir() { path } else { path.parent().filter(|f| !f.as_os_str().is_empty())? };
        let below = fs::canonicalize(folder).ok()?;
        let mut parts = below.strip_prefix(root).ok()?.iter().map(|part| part.to_str());
        let repo = repository(parts.next()??.strip_prefix(MODELS)?)?;
        match (parts.next()?, parts.next()?) {
            (Some("snapshots"), Some(revision)) => Some((repo, revision.into())),
            _ => None,
        }
    }

    /// Finds the content of a listed file, if the cache has it with the listed size. Its hash is not compared.
    pub(super) fn content(&self, repo: &RepoId, entry: &Entry) -> Option<PathBuf> {
        let name = match entry.hash? {
            Hash::Sha256(digest) => digest.to_string(),
            Hash::GitBlob(id) => id.to_string(),
        };
        let path = self.folder(repo).join("blobs").join(name);
        (folder::size_of(&path) == Some(entry.size)).then_some(path)
    }

    fn folder(&self, repo: &RepoId) -> PathBuf {
        let [org, name] = repo.parts();
        self.root.join(format!("{MODELS}{org}--{name}"))
    }
}

/// Parses a folder's name without its start as a repository. A model's name may contain `--`, but no organisation's
/// name does.
fn repository(folder: &str) -> Option<RepoId> {
    folder.replacen("--", "/", 1).parse().ok()
}

/// Returns the names in a folder, sorted; empty if it cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

// The lint exempts test functions but not their helpers, where a failure also fails the test.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Digest;
    use super::*;

    /// Returns a cache with these files.
    fn cache(files: &[(&str, &str)]) -> (tempfile::TempDir, HubCache) {
        let root = tempfile::tempdir().unwrap();
        for (file, content) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let cache = HubCache::at(root.path().to_path_buf());
        (root, cache)
    }

    #[test]
    fn the_main_branch_comes_first_and_the_only_snapshot_next() {
        let (_root, cache) = cache(&[
            ("models--a--two/refs/main", "bbb\n"),
            ("models--a--two/snapshots/aaa/config.json", "{}"),
            ("models--a--two/snapshots/bbb/config.json", "{}"),
            ("models--a--one--more/snapshots/aaa/config.json", "{}"),
            ("models--a--gone/refs/main", "ccc"),
            ("models--a--gone/snapshots/aaa/config.json", "{}"),
            ("models--a--many/snapshots/aaa/config.json", "{}"),
            ("models--a--many/snapshots/bbb/config.json", "{}"),
            ("models--a--hostile/refs/main", "../../models--a--two/snapshots/aaa"),
            ("datasets--a--data/refs/main", "bbb"),
        ]);
        let names: Vec<String> = cache.repositories().iter().map(RepoId::to_string).collect();
        assert_eq!(names, ["a/gone", "a/hostile", "a/many", "a/one--more", "a/two"]);
        let within =
            |path: &str| cache.within(&cache.root().join(path)).map(|(repo, at)| format!("{repo} {at}"));
        for path in ["models--a--two/snapshots/bbb", "models--a--two/snapshots/bbb/config.json"] {
            assert_eq!(within(path).as_deref(), Some("a/two bbb"), "{path}");
        }
        assert_eq!(within("models--a--two/refs"), None);
        assert_eq!(cache.within(Path::new("/")), None);
        let revision = |name: &str| cache.snapshot(&name.parse().unwrap()).map(|s| s.map(|s| s.revision));
        for (name, expected) in [
            ("a/two", Some("bbb")),
            ("a/one--more", Some("aaa")),
            ("a/gone", Some("aaa")),
            ("a/hostile", None),
        ] {
            assert_eq!(revision(name).unwrap().as_deref(), expected, "{name}");
        }
        let error = revision("a/many").unwrap_err();
        assert!(error.to_string().ends_with("aaa, bbb"), "{error}");
    }

    #[test]
    fn a_content_is_found_by_the_hash_of_the_listing_and_its_size() {
        let digest = Digest([0xab; 32]);
        let blob = format!("models--a--b/blobs/{digest}");
        let (_root, cache) = cache(&[(&blob, "abc")]);
        let entry = |size, hash| Entry { name: "x".parse().unwrap(), size, hash };
        let repo: RepoId = "a/b".parse().unwrap();
        let hash = Some(Hash::Sha256(digest));
        assert_eq!(cache.content(&repo, &entry(3, hash)), Some(cache.root().join(&blob)));
        assert_eq!(cache.content(&repo, &entry(4, hash)), None);
        assert_eq!(cache.content(&repo, &entry(3, None)), None);
    }
}

//! The file `mist-download.json`, which records the downloaded files of a folder and their provenance.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::{Commit, Digest, DownloadPlan, Entry, Error, FileName, RepoId, folder};
use crate::json;
use crate::system::files::{self, Refused, Replacement};
use crate::system::hinted::Hinted;
use crate::system::quote::counted;

/// The name of the manifest.
const FILE: &str = "mist-download.json";
/// Maximum size of the manifest in bytes. A file takes about 200 bytes.
const MAX_BYTES: u64 = 16 << 20;
/// The version that this program writes and reads.
const VERSION: u32 = 1;

/// The files of a download, both complete and missing ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    repository: String,
    commit: String,
    files: Vec<Record>,
}

/// A file of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    name: String,
    /// The size in bytes.
    size: u64,
    /// The sha256, or `null` until the file is complete.
    sha256: Option<String>,
    /// The modification time when the file was hashed, in nanoseconds since 1970. The next download does not hash a file
    /// with the same time and size again.
    modified: Option<u64>,
}

/// A file that differs from the download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: FileName,
    /// The difference.
    pub why: String,
}

/// The error for files that differ from the download.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Damaged {
    message: String,
    hint: String,
}

impl Hinted for Damaged {
    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }
}

impl Manifest {
    /// Returns the error for the differences that [`verify`](Self::verify) found in `folder`.
    pub fn damaged(&self, folder: &Path, damages: &[Damage]) -> Damaged {
        let each: Vec<String> = damages.iter().map(|d| format!("{}: {}", d.file, d.why)).collect();
        let are = if damages.len() == 1 { "is not that" } else { "are not those" };
        let (all, snapshot, each) = (counted(self.files(), "file"), self.snapshot(), each.join("; "));
        let message =
            format!("{} of {all} in {} {are} of {snapshot}: {each}", damages.len(), folder.display());
        let repository = self.repository().map(|r| r.to_string()).unwrap_or_default();
        let commit = self.commit().map(|c| format!(" --revision {c}")).unwrap_or_default();
        let hint =
            format!("delete what is wrong, then `mist download {repository}{commit}` fetches it again");
        Damaged { message, hint }
    }

    /// Creates a manifest for `entries` of `commit`, with the records of `earlier` about them and, if it is of the same
    /// commit, about other files.
    pub(super) fn new<'a>(
        repo: &RepoId,
        commit: &Commit,
        entries: impl Iterator<Item = &'a Entry>,
        earlier: Option<&Self>,
    ) -> Self {
        let files = earlier.filter(|e| e.is_at(repo, commit)).map_or(Vec::new(), |e| e.files.clone());
        let (repository, hash) = (repo.to_string(), commit.to_string());
        let mut manifest = Self { version: VERSION, repository, commit: hash, files };
        for entry in entries {
            match earlier.and_then(|e| e.known(repo, commit, entry)) {
                Some(record) => manifest.put(record.clone()),
                None => manifest.expect(entry),
            }
        }
        manifest
    }

    /// Reads the manifest of `folder`; `None` if it has none.
    ///
    /// # Errors
    /// [`Error::Manifest`] if the file is malformed; [`Error::Io`].
    pub fn read(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(FILE);
        let text = match files::read(&path, MAX_BYTES) {
            Ok(text) => text,
            // A download replaces a link with a new file.
            Err(e)
                if e.kind() == std::io::ErrorKind::NotFound
                    || matches!(Refused::inside(&e), Some(Refused::LeadsNowhere(_))) =>
            {
                return Ok(None);
            }
            Err(e) => return Err(Error::io("read", &path)(e)),
        };
        let bad = |why: String| Error::Manifest { path: path.clone(), why };
        let manifest: Self = json::typed(&text, json::SETTINGS).map_err(|e| bad(e.to_string()))?;
        if manifest.version != VERSION {
            return Err(bad(format!("it has version {} and this program reads {VERSION}", manifest.version)));
        }
        // A folder with its manifest may come from anyone.
        match manifest.files.iter().find(|r| FileName::parse(&r.name).is_none()) {
            Some(record) => Err(bad(format!("{:?} is not the plain name of a file", record.name))),
            None => Ok(Some(manifest)),
        }
    }

    /// Writes the manifest to `folder`, completely or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(FILE);
        let failed = || Error::io("write", &path);
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| failed()(e.into()))?;
        text.push(b'\n');
        Replacement::new(&path).and_then(|file| file.finish_with(&text)).map_err(failed())
    }

    /// Removes the records of intentionally deleted files from the manifest of `folder`, if it has one.
    ///
    /// # Errors
    /// The errors of [`read`](Self::read), or [`Error::Io`].
    pub fn forget(folder: &Path, names: &[&str]) -> Result<(), Error> {
        let Some(mut manifest) = Self::read(folder)? else { return Ok(()) };
        manifest.files.retain(|record| !names.contains(&record.name.as_str()));
        manifest.write(folder)
    }

    /// Records that `entry` is complete in `folder`.
    pub(super) fn finished(&mut self, folder: &Path, entry: &Entry, sha256: Digest) {
        let modified = modified(&folder.join(entry.name.as_str()));
        let sha256 = Some(sha256.to_string());
        self.put(Record { name: entry.name.to_string(), size: entry.size, sha256, modified });
    }

    /// Records that `entry` is missing.
    pub(super) fn expect(&mut self, entry: &Entry) {
        self.put(Record { name: entry.name.to_string(), size: entry.size, sha256: None, modified: None });
    }

    /// Returns whether `folder` has the content of `entry`, by this manifest's commit or by the same hash, untouched
    /// since it was hashed.
    pub(super) fn vouches(&self, repo: &RepoId, commit: &Commit, entry: &Entry, folder: &Path) -> bool {
        self.known(repo, commit, entry).is_some_and(|record| record.is_untouched(folder))
    }

    /// Returns the names of the files that are missing or have been touched.
    pub(super) fn missing(&self, folder: &Path) -> Vec<FileName> {
        let missing = self.files.iter().filter(|r| !r.is_whole(folder));
        missing.filter_map(|r| FileName::parse(&r.name)).collect()
    }

    /// Returns the files whose download started but never ended. An earlier commit's content may be under their names.
    pub fn unfinished(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter(|record| record.sha256.is_none()).map(|record| record.name.as_str())
    }

    /// Returns the commit, if the field is one.
    pub fn commit(&self) -> Option<Commit> {
        Commit::parse(&self.commit)
    }

    /// Returns whether the manifest is of this commit.
    pub(super) fn is_at(&self, repo: &RepoId, commit: &Commit) -> bool {
        (self.repository.as_str(), self.commit.as_str()) == (&repo.to_string(), commit.as_str())
    }

    /// Returns the folder's commit, and a file of it that `plan`, of another commit, would leave beside its own files.
    pub(super) fn left_behind(&self, plan: &DownloadPlan) -> Option<(Commit, FileName)> {
        let commit = plan.commit.as_ref().filter(|commit| !self.is_at(&plan.repo, commit))?;
        let planned = |record: &&Record| plan.files.iter().any(|f| f.entry.name.as_str() == record.name);
        let whole = self.files.iter().filter(|record| record.is_whole(&plan.folder));
        let left = whole.filter(|record| !planned(record)).find_map(|r| FileName::parse(&r.name))?;
        Some((self.commit().unwrap_or_else(|| commit.clone()), left))
    }

    /// Returns the repository and its commit, such as `ORG/NAME at 0123456789ab`.
    pub fn snapshot(&self) -> String {
        format!("{} at {}", self.repository, self.commit.get(..12).unwrap_or(&self.commit))
    }

    /// Returns the repository's name, if the field is one.
    pub fn repository(&self) -> Option<RepoId> {
        self.repository.parse().ok()
    }

    /// Returns the number of files.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Returns the size of all files in bytes.
    pub fn total(&self) -> u64 {
        self.files.iter().fold(0, |sum, r| sum.saturating_add(r.size))
    }

    /// Reads every file in `folder` and returns those that differ from the download. `progress` gets the number of bytes
    /// read.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that exists and cannot be read.
    pub fn verify(&self, folder: &Path, progress: &mut dyn FnMut(u64)) -> Result<Vec<Damage>, Error> {
        let mut damaged = Vec::new();
        for record in &self.files {
            let Some(file) = FileName::parse(&record.name) else { continue };
            let entry = Entry { name: file.clone(), size: record.size, hash: None };
            let why = match (folder::sha256(folder, &entry, progress)?, &record.sha256) {
                (_, None) => "it was never fetched whole".to_string(),
                (None, _) => format!("it is missing or is not {} bytes long", record.size),
                (Some(found), Some(expected)) if found.to_string() != *expected => {
                    format!("its sha256 is {found}, expected {expected}")
                }
                _ => continue,
            };
            damaged.push(Damage { file, why });
        }
        Ok(damaged)
    }

    /// Returns the record of an entry of a commit, if the content is certainly the same.
    fn known(&self, repo: &RepoId, commit: &Commit, entry: &Entry) -> Option<&Record> {
        let record = self.files.iter().find(|r| r.name == entry.name.as_str() && r.size == entry.size)?;
        let listed = entry.hash.and_then(|h| h.sha256()).map(|d| d.to_string());
        let same = match &listed {
            Some(_) => record.sha256 == listed,
            None => self.is_at(repo, commit),
        };
        same.then_some(record)
    }

    fn put(&mut self, record: Record) {
        match self.files.iter_mut().find(|r| r.name == record.name) {
            Some(there) => *there = record,
            None => self.files.push(record),
        }
    }
}

impl Record {
    /// Returns whether the file was complete, and exists with the recorded size.
    fn is_whole(&self, folder: &Path) -> bool {
        self.sha256.is_some() && folder::size_of(&folder.join(&self.name)) == Some(self.size)
    }

    fn is_untouched(&self, folder: &Path) -> bool {
        self.is_whole(folder)
            && self.modified.is_some()
            && self.modified == modified(&folder.join(&self.name))
    }
}

/// Returns a file's modification time in nanoseconds since 1970.
fn modified(path: &Path) -> Option<u64> {
    let time = fs::metadata(path).ok()?.modified().ok()?;
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::super::Hash;
    use super::*;

    fn commit(digit: char) -> Commit {
        Commit::parse(&digit.to_string().repeat(40)).unwrap()
    }

    fn sha256(content: &[u8]) -> Digest {
        Digest(Sha256::digest(content).into())
    }

    /// Returns a folder that holds `x`, with a manifest that lists it.
    fn folder(content: &str) -> (tempfile::TempDir, Entry, Manifest) {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("x"), content).unwrap();
        let entry = Entry { name: "x".parse().unwrap(), size: content.len() as u64, hash: None };
        let repo = "org/name".parse().unwrap();
        let mut manifest = Manifest::new(&repo, &commit('a'), [&entry].into_iter(), None);
        assert!(manifest.missing(root.path()).contains(&entry.name));
        manifest.finished(root.path(), &entry, sha256(content.as_bytes()));
        (root, entry, manifest)
    }

    #[test]
    fn it_vouches_for_what_was_not_touched() {
        let (root, entry, manifest) = folder("abc");
        manifest.write(root.path()).unwrap();
        let read = Manifest::read(root.path()).unwrap().unwrap();
        assert_eq!(read, manifest);
        let repo = "org/name".parse().unwrap();
        assert!(read.vouches(&repo, &commit('a'), &entry, root.path()));
        // Another commit may have different content of the same size, unless its sha256 is the same.
        assert!(!read.vouches(&repo, &commit('b'), &entry, root.path()));
        let hash = Some(Hash::Sha256(sha256(b"abc")));
        assert!(read.vouches(&repo, &commit('b'), &Entry { hash, ..entry.clone() }, root.path()));
        let hash = Some(Hash::Sha256(sha256(b"abd")));
        assert!(!read.vouches(&repo, &commit('a'), &Entry { hash, ..entry.clone() }, root.path()));

        let file = fs::File::options().write(true).open(root.path().join("x")).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
        assert!(!read.vouches(&repo, &commit('a'), &entry, root.path()));
    }

    #[test]
    fn it_finds_what_was_changed_cut_or_deleted() {
        let (root, _, manifest) = folder("abc");
        let verify = || manifest.verify(root.path(), &mut |_| {}).unwrap();
        assert_eq!(verify(), []);
        fs::write(root.path().join("x"), "abd").unwrap();
        assert!(verify()[0].why.starts_with("its sha256 is"));
        assert_eq!(manifest.missing(root.path()), [], "nothing but reading it tells");
        fs::write(root.path().join("x"), "ab").unwrap();
        assert!(verify()[0].why.contains("3 bytes"));
        assert_eq!(manifest.missing(root.path()).len(), 1);
    }

    #[test]
    fn files_of_one_commit_add_up_and_those_of_another_do_not() {
        let (root, _, manifest) = folder("abc");
        let repo = "org/name".parse().unwrap();
        let other = Entry { name: "y".parse().unwrap(), size: 1, hash: None };
        let names = |m: &Manifest| m.files.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
        let more = Manifest::new(&repo, &commit('a'), [&other].into_iter(), Some(&manifest));
        assert_eq!(names(&more), ["x", "y"]);
        assert!(more.missing(root.path()).iter().eq([&other.name]));
        let next = Manifest::new(&repo, &commit('b'), [&other].into_iter(), Some(&manifest));
        assert_eq!(names(&next), ["y"]);
    }

    #[test]
    fn a_manifest_that_is_none_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(root.path()).unwrap(), None);
        let record = r#"{"name":"../x","size":1,"sha256":null,"modified":null}"#;
        for text in [
            "",
            "{}",
            r#"{"version":2,"repository":"a/b","commit":"c","files":[]}"#,
            &format!(r#"{{"version":1,"repository":"a/b","commit":"c","files":[{record}]}}"#),
        ] {
            fs::write(root.path().join(FILE), text).unwrap();
            assert!(matches!(Manifest::read(root.path()), Err(Error::Manifest { .. })), "{text}");
        }
    }
}

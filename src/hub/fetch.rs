//! The engine: brings one file of a plan into its folder, whole. The next engine (ranges in parallel, resuming
//! across runs) replaces this file; its callers keep [`fetch`].

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use reqwest::blocking::Response;
use reqwest::header::CONTENT_RANGE;
use reqwest::{StatusCode, Url};
use sha2::{Digest as _, Sha256};

use super::client::{About, Client, Failure, innermost};
use super::folder::Folder;
use super::listing::Entry;
use super::{Commit, Digest, Error, RepoId, Report};

/// Bytes read at once.
const CHUNK: usize = 256 << 10;
/// An attempt that brought at least this much starts the count of failed ones anew: a long file over a bad line.
const WORTHWHILE: u64 = 1 << 20;

/// Fetches `entry` as it is in `commit`, to a partial file that is hashed on the way, compared in size and
/// sha256, synced and renamed. A body that ends early is continued where it ended, within this run.
///
/// # Errors
/// What the hub refuses, what came wrong, or the disk. The partial file is deleted then.
pub(super) fn fetch(
    client: &Client,
    repo: &RepoId,
    commit: &Commit,
    entry: &Entry,
    folder: &Folder,
    report: &mut dyn Report,
) -> Result<PathBuf, Error> {
    let segments = ["resolve", commit.as_str(), entry.name.as_str()];
    let url = client.endpoint().join(repo.parts().into_iter().chain(segments));
    let about = About { repo, revision: &commit.as_revision(), file: Some(&entry.name) };
    let mut part = Part::create(entry, folder)?;
    let mut retries = client.retries();
    while part.here < entry.size {
        let before = part.here;
        let failure = match part.attempt(client, &url, about, report) {
            Ok(()) => continue,
            Err(failure) => failure,
        };
        if part.here - before >= WORTHWHILE {
            retries.progress();
        }
        retries.again(failure, report)?;
    }
    part.finish(folder)
}

/// A file on its way: written to a partial file and hashed; deleted unless it is finished.
pub(super) struct Part<'a> {
    entry: &'a Entry,
    path: PathBuf,
    file: File,
    hash: Sha256,
    here: u64,
    finished: bool,
}

impl<'a> Part<'a> {
    /// An empty partial file; one that an interrupted run left is overwritten.
    pub fn create(entry: &'a Entry, folder: &Folder) -> Result<Self, Error> {
        let path = folder.partial(&entry.name);
        let file = File::create(&path).map_err(Error::io("write", &path))?;
        Ok(Self { entry, path, file, hash: Sha256::new(), here: 0, finished: false })
    }

    /// Appends `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let here = self.here.saturating_add(bytes.len() as u64);
        if here > self.entry.size {
            return Err(Error::TooLong { file: self.entry.name.clone(), size: self.entry.size });
        }
        self.file.write_all(bytes).map_err(Error::io("write", &self.path))?;
        self.hash.update(bytes);
        self.here = here;
        Ok(())
    }

    /// One request for what is missing.
    fn attempt(
        &mut self,
        client: &Client,
        url: &Url,
        about: About<'_>,
        report: &mut dyn Report,
    ) -> Result<(), Failure> {
        let mut answer = client.attempt(url, about, self.here)?;
        // A server that does not do ranges sends all of it again; the part that is here is skipped.
        let mut skip = match answer.status() {
            StatusCode::PARTIAL_CONTENT => self.check_range(client, about, &answer).map(|()| 0)?,
            _ => self.here,
        };
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = match answer.read(&mut chunk) {
                Ok(0) if self.here < self.entry.size => return Err(self.cut("the connection was closed")),
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(_) if self.here == self.entry.size => return Ok(()),
                Err(e) => return Err(self.cut(innermost(&e))),
            };
            let skipped = skip.min(n as u64);
            skip -= skipped;
            // Not longer than the chunk, so it fits.
            let fresh = &chunk[skipped as usize..n];
            self.write(fresh)?;
            report.bytes(fresh.len() as u64);
        }
    }

    /// The range that came must be the range that was asked for.
    fn check_range(&self, client: &Client, about: About<'_>, answer: &Response) -> Result<(), Error> {
        let range = answer.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        match range.strip_prefix("bytes ").is_some_and(|r| r.starts_with(&format!("{}-", self.here))) {
            true => Ok(()),
            false => Err(client.broken(about, "is another range than was asked for")),
        }
    }

    fn cut(&self, cause: impl Into<String>) -> Failure {
        let (file, here, size) = (self.entry.name.clone(), self.here, self.entry.size);
        Failure::Passing(Error::Cut { file, here, size, cause: cause.into() }, None)
    }

    /// Compares, syncs and renames. The size is right when this is called by [`fetch`]; others may be short.
    pub fn finish(mut self, folder: &Folder) -> Result<PathBuf, Error> {
        if self.here != self.entry.size {
            let (file, here, size) = (self.entry.name.clone(), self.here, self.entry.size);
            return Err(Error::Cut { file, here, size, cause: "its source ended".to_string() });
        }
        let found = Digest(self.hash.clone().finalize().into());
        if let Some(expected) = self.entry.sha256.filter(|e| *e != found) {
            return Err(Error::Hash { file: self.entry.name.clone(), expected, found });
        }
        self.file.sync_all().map_err(Error::io("sync", &self.path))?;
        self.finished = true;
        folder.finish(&self.entry.name)
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if !self.finished {
            remove(&self.path);
        }
    }
}

/// Deletes a file that nobody needs; one that cannot be deleted is overwritten next time.
fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

//! The source of a download: a commit of a repository.

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Url;

use crate::hub::client::{About, Client};
use crate::hub::{Commit, FileName, RepoId, Revision};

/// A commit of a repository on a hub, with a count of the bytes fetched from it.
#[derive(Debug)]
pub(super) struct Source {
    pub client: Client,
    repo: RepoId,
    commit: Commit,
    revision: Revision,
    bytes: AtomicU64,
}

impl Source {
    pub fn new(client: &Client, repo: &RepoId, commit: &Commit) -> Self {
        let (client, repo, commit) = (client.clone(), repo.clone(), commit.clone());
        Self { client, repo, revision: commit.as_revision(), commit, bytes: AtomicU64::new(0) }
    }

    /// Returns the address of a file.
    pub fn url(&self, file: &FileName) -> Url {
        self.client.resolve(&self.repo, &self.commit, file)
    }

    /// Returns the subject of an error about a file.
    pub fn about<'a>(&'a self, file: &'a FileName) -> About<'a> {
        About { repo: &self.repo, revision: &self.revision, file: Some(file) }
    }

    /// Counts `n` fetched bytes.
    pub fn count(&self, n: usize) {
        self.bytes.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// Returns the bytes fetched since the last call.
    pub fn take_count(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }
}

//! Where the files come from: a commit of a repository.

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Url;

use crate::hub::client::{About, Client};
use crate::hub::{Commit, FileName, RepoId, Revision};

/// A commit of a repository on a hub, and how many bytes have come from it.
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

    /// The address of a file.
    pub fn url(&self, file: &FileName) -> Url {
        self.client.resolve(&self.repo, &self.commit, file)
    }

    /// For an error about a file.
    pub fn about<'a>(&'a self, file: &'a FileName) -> About<'a> {
        About { repo: &self.repo, revision: &self.revision, file: Some(file) }
    }

    /// Notes that `n` bytes have come.
    pub fn count(&self, n: usize) {
        self.bytes.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// The bytes that have come since this was asked last.
    pub fn take_count(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }
}

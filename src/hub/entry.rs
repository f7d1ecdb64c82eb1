//! A file in a repository's listing: its name, size and hash.

use super::{FileName, Hash};

/// A file at the top of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, in the repository and in the folder.
    pub name: FileName,
    /// The size in bytes.
    pub size: u64,
    /// The hash of its content, if the listing has one.
    pub hash: Option<Hash>,
}

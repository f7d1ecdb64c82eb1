//! The plan of a download: the files to fetch, and how much of them is missing.

use std::path::{Path, PathBuf};

use super::{Commit, Entry, Error, FileName, RepoId};
use crate::system::files::on_one_disk;

/// A plan of the files to fetch, their source and their folder.
#[derive(Clone, Debug)]
pub struct DownloadPlan {
    /// The repository.
    pub repo: RepoId,
    /// The commit of all files; unknown if the plan was made from the files on disk.
    pub commit: Option<Commit>,
    /// The folder for the files.
    pub folder: PathBuf,
    /// The files, by name.
    pub files: Vec<PlannedFile>,
    /// Free bytes on the disk of the folder, if known.
    pub free: Option<u64>,
    /// Weights of the repository that are not needed, since the plan has the same weights in another format.
    pub left_out: Vec<FileName>,
}

/// A file of a [`DownloadPlan`].
#[derive(Clone, Debug)]
pub struct PlannedFile {
    /// The file.
    pub entry: Entry,
    /// Bytes of the file that are in the folder, complete or in pieces.
    pub here: u64,
    /// The path of its content in the hub's own cache.
    pub cached: Option<PathBuf>,
}

impl PlannedFile {
    /// Returns the number of bytes of the file to fetch.
    pub fn missing(&self) -> u64 {
        if self.cached.is_some() { 0 } else { self.entry.size.saturating_sub(self.here) }
    }

    /// Returns the number of bytes that the file will take on the disk of `folder`, beyond those that it takes already.
    fn needed(&self, folder: &Path) -> u64 {
        match &self.cached {
            Some(content) if !on_one_disk(content, folder) => self.entry.size,
            _ => self.missing(),
        }
    }
}

impl DownloadPlan {
    /// Returns the size of all files in bytes. The sum saturates, since the listing's sizes may be anything.
    pub fn total(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.entry.size))
    }

    /// Checks that the missing bytes fit on the disk.
    ///
    /// # Errors
    /// [`Error::Space`].
    pub fn check_space(&self) -> Result<(), Error> {
        let needed = self.files.iter().fold(0u64, |sum, file| sum.saturating_add(file.needed(&self.folder)));
        match self.free {
            Some(free) if free < needed => Err(Error::Space { folder: self.folder.clone(), free, needed }),
            _ => Ok(()),
        }
    }

    /// Returns the number of bytes to fetch.
    pub fn missing(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.missing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_would_overflow_stop_at_the_largest_number() {
        let entry = Entry { name: "x".parse().unwrap(), size: u64::MAX, hash: None };
        let file = PlannedFile { entry, here: 0, cached: None };
        let plan = DownloadPlan {
            repo: "org/name".parse().unwrap(),
            commit: None,
            folder: PathBuf::new(),
            free: None,
            files: vec![file.clone(), file],
            left_out: vec![],
        };
        assert_eq!(plan.total(), u64::MAX);
    }
}

//! A partial file: several threads write pieces of it until it is complete.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::journal::{Journal, Remains};
use super::ranges::Ranges;
use crate::hub::folder;
use crate::hub::{Entry, Error, FileName};
use crate::system::files::{self, Folder};
use crate::system::memory;

/// Counts how often a file was restarted in this run. Responses to requests of an earlier attempt are not written.
pub(super) type Attempt = u32;

/// The reason why a piece was not written.
#[derive(Debug)]
pub(super) enum Refused {
    /// The download has been stopped, or the file has been restarted.
    Outdated,
    /// The disk failed.
    Disk(Error),
}

/// A partial file with its journal and its progress.
#[derive(Debug)]
pub(super) struct Part {
    pub entry: Entry,
    folder: Folder,
    /// Path of the partial file, for messages.
    partial: PathBuf,
    file: File,
    /// Held while the file changes: each byte is written once per attempt, and nothing is written after the last byte
    /// was hashed. Locked before `progress`.
    changing: Mutex<()>,
    progress: Mutex<Progress>,
    moved: Condvar,
}

#[derive(Debug)]
struct Progress {
    attempt: Attempt,
    closed: bool,
    remains: Remains,
    journal: Journal,
}

impl Progress {
    fn is_current(&self, attempt: Attempt) -> bool {
        self.attempt == attempt && !self.closed
    }
}

impl Part {
    /// Opens the partial file of `entry` with what an earlier run left.
    pub fn open(entry: &Entry, folder: &Folder) -> Result<Self, Error> {
        let partial = folder.join(folder::partial(&entry.name));
        let file = folder.change(folder::partial(&entry.name)).map_err(Error::io("write", &partial))?;
        let length = file.metadata().map_err(Error::io("read", &partial))?.len();
        let remains = Remains::in_partial(length, entry, folder);
        // Bytes beyond the listing's size belong to another content.
        let limit = if remains.have.total() == 0 { 0 } else { entry.size };
        if length > limit {
            file.set_len(limit).map_err(Error::io("write", &partial))?;
        }
        let journal = Journal::begin(folder, entry, &remains);
        let journal = journal.map_err(Error::io("write", &folder.join(folder::journal(&entry.name))))?;
        Ok(Self {
            entry: entry.clone(),
            folder: folder.clone(),
            partial,
            file,
            changing: Mutex::new(()),
            progress: Mutex::new(Progress { attempt: 0, closed: false, remains, journal }),
            moved: Condvar::new(),
        })
    }

    /// Returns the name of the file.
    pub fn name(&self) -> &FileName {
        &self.entry.name
    }

    /// Returns the number of bytes on disk.
    pub fn here(&self) -> u64 {
        self.progress().remains.have.total()
    }

    /// Returns the first range within `within` that is not on disk; `None` if there is none, or if the attempt is
    /// outdated.
    pub fn gap(&self, attempt: Attempt, within: Range<u64>) -> Option<Range<u64>> {
        let progress = self.progress();
        progress.is_current(attempt).then(|| progress.remains.have.gap(within))?
    }

    /// Returns the ranges on disk.
    pub fn have(&self) -> Ranges {
        self.progress().remains.have.clone()
    }

    /// Returns the validator of the server's content, if it gave one.
    pub fn etag(&self) -> Option<String> {
        self.progress().remains.etag.clone()
    }

    /// Records the validator of the server's content.
    pub fn set_etag(&self, etag: &str) -> Result<(), Error> {
        let mut progress = self.progress();
        if progress.remains.etag.as_deref() == Some(etag) {
            return Ok(());
        }
        progress.remains.etag = Some(etag.to_string());
        progress.journal.etag(etag).map_err(Error::io("write", &self.partial))
    }

    /// Writes those of `bytes`, which begin at `start`, that are not on disk yet, and returns their number.
    pub fn write(&self, attempt: Attempt, start: u64, bytes: &[u8]) -> Result<u64, Refused> {
        let _changing = self.enter(attempt).ok_or(Refused::Outdated)?;
        let disk = |e| Refused::Disk(Error::io("write", &self.partial)(e));
        let mut written = 0;
        let mut rest = start..start.saturating_add(bytes.len() as u64);
        while let Some(gap) = self.gap(attempt, rest.clone()) {
            // Both ends lie within `bytes`.
            let piece = &bytes[(gap.start - start) as usize..(gap.end - start) as usize];
            files::write_all_at(&self.file, piece, gap.start).map_err(disk)?;
            let mut progress = self.progress();
            progress.journal.add(gap.clone()).map_err(disk)?;
            progress.remains.have.insert(gap.clone());
            self.moved.notify_all();
            written += piece.len() as u64;
            rest.start = gap.end;
        }
        Ok(written)
    }

    /// Discards all bytes of a file without a hash, since pieces of two responses may belong to two contents. No thread
    /// has read the bytes yet.
    pub fn forget(&self, attempt: Attempt) {
        if let Some(_changing) = self.enter(attempt) {
            self.progress().remains = Remains::default();
        }
    }

    /// Waits until bytes from offset `from` on are final, and returns the end of the contiguous bytes on disk. Bytes of
    /// a file without a hash are final only when the file is complete. Returns `None` if the attempt is outdated.
    pub fn wait(&self, attempt: Attempt, from: u64) -> Option<u64> {
        let mut progress = self.progress();
        loop {
            if !progress.is_current(attempt) {
                return None;
            }
            let front = progress.remains.have.front();
            if front == self.entry.size || (front > from && self.entry.hash.is_some()) {
                return Some(front);
            }
            progress = self.moved.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Allocates memory for a piece of the file.
    pub fn buffer(&self, bytes: usize) -> Result<Vec<u8>, Error> {
        memory::buffer(bytes).map_err(Error::io("find memory to read", &self.partial))
    }

    /// Reads bytes that have been written.
    pub fn read(&self, bytes: &mut [u8], from: u64) -> Result<usize, Error> {
        files::read_at(&self.file, bytes, from).map_err(Error::io("read", &self.partial))
    }

    /// Gives the complete file its final name. No thread writes to it after that.
    pub fn finish(&self, attempt: Attempt) -> Result<(), Refused> {
        self.file.sync_all().map_err(Error::io("sync", &self.partial)).map_err(Refused::Disk)?;
        let _changing = self.enter(attempt).ok_or(Refused::Outdated)?;
        let (name, folder) = (self.entry.name.as_str(), &self.folder);
        let renamed = folder.rename(folder::partial(&self.entry.name), name);
        renamed.map_err(Error::io("write", &folder.join(name))).map_err(Refused::Disk)?;
        let mut progress = self.progress();
        progress.closed = true;
        progress.journal.remove();
        folder.sync().map_err(Error::io("sync", folder.path())).map_err(Refused::Disk)
    }

    /// Drops all bytes, and returns the number of the new attempt.
    pub fn restart(&self, attempt: Attempt) -> Result<Attempt, Refused> {
        let _changing = self.enter(attempt).ok_or(Refused::Outdated)?;
        let mut progress = self.progress();
        progress.attempt += 1;
        progress.remains = Remains::default();
        self.moved.notify_all();
        // The journal is reset first: a journal of deleted pieces would be trusted until the hash fails.
        let emptied = progress.journal.restart(&self.entry).and_then(|()| self.file.set_len(0));
        emptied.map_err(Error::io("write", &self.partial)).map_err(Refused::Disk)?;
        Ok(progress.attempt)
    }

    /// Returns [`Error::Io`] for a partial file that another process has cut.
    pub fn shrank(&self) -> Error {
        Error::io("read", &self.partial)(std::io::ErrorKind::UnexpectedEof.into())
    }

    /// Deletes the partial file of a damaged file, unless another process has taken it over.
    pub fn discard(&self, attempt: Attempt) {
        if let Some(_changing) = self.enter(attempt) {
            let mut progress = self.progress();
            progress.closed = true;
            progress.journal.remove();
            // Without a journal the next run overwrites it.
            let _ = self.folder.remove(folder::partial(&self.entry.name));
        }
    }

    /// Returns once no thread is writing.
    pub fn close(&self) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.progress().closed = true;
        self.moved.notify_all();
    }

    /// Locks the file against other changes while the guard lives, if `attempt` is the current one.
    fn enter(&self, attempt: Attempt) -> Option<MutexGuard<'_, ()>> {
        let guard = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.progress().is_current(attempt).then_some(guard)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Digest, Hash};

    #[test]
    fn an_outdated_attempt_has_nothing_to_fetch_and_writes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let hash = Some(Hash::Sha256(Digest([1; 32])));
        let part = Part::open(
            &Entry { name: "x".parse().unwrap(), size: 100, hash },
            &Folder::open(root.path()).unwrap(),
        )
        .unwrap();
        assert_eq!(part.gap(0, 0..100), Some(0..100));
        assert_eq!(part.write(0, 0, &[7; 100]).unwrap(), 100);
        assert_eq!(part.gap(0, 0..100), None);
        assert_eq!(part.restart(0).unwrap(), 1);
        // A connection that wrote the last piece of the first attempt must not request the file again.
        assert_eq!(part.gap(0, 0..100), None);
        assert!(matches!(part.write(0, 0, &[7; 100]), Err(Refused::Outdated)));
        assert_eq!(part.gap(1, 0..100), Some(0..100));
    }
}

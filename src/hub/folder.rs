//! The target folder of a download: claims it for one process, lists its files and free space, and renames complete
//! files.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::hash::{Hasher, Mismatch};
use super::{Digest, DownloadReport, Entry, Error, FileName};
use crate::system::files::{self, Claim, Replacement, free_space};
use crate::system::memory;

/// Number of bytes that are read at a time when a file is hashed.
const CHUNK: usize = 1 << 20;

/// A target folder that this process alone writes to, for as long as this value lives.
#[derive(Debug)]
pub(super) struct Folder(Claim);

impl Folder {
    /// Claims the folder, and creates it if it does not exist. Waits while another process has a claim on it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Interrupted`] while it waits.
    pub fn claim(path: &Path, stop: &AtomicBool, report: &mut dyn DownloadReport) -> Result<Self, Error> {
        let mut waiting = false;
        let claim = Claim::new(None, path, &mut || {
            if !waiting {
                let folder = path.display();
                report.note(&format!("another mist is writing to {folder}; waiting for it"));
            }
            waiting = true;
            !stop.load(Ordering::SeqCst)
        });
        let claim = claim.map_err(|error| match error.source.kind() {
            io::ErrorKind::Interrupted => Error::Interrupted,
            _ if error.path == path => Error::io("make the folder", path)(error.source),
            _ => Error::io("write", &error.path)(error.source),
        })?;
        if let Some(e) = claim.unlocked() {
            // Two downloads of one commit write the same bytes.
            report.note(&format!("{} cannot be locked ({e}): let no other mist write to it", path.display()));
        }
        // The pieces for a later run stay, and so does the lock.
        Ok(Self(claim.keep()))
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        self.0.folder().path()
    }

    /// Returns the folder for writing.
    pub fn opened(&self) -> &files::Folder {
        self.0.folder()
    }

    /// Returns the file's sha256 if the folder has the file with the listed size and, if there is one, the listed hash.
    /// Reports its progress.
    ///
    /// # Errors
    /// [`Error::Io`] if the file exists and cannot be read; [`Error::Interrupted`].
    pub fn holds(
        &self,
        entry: &Entry,
        stop: &AtomicBool,
        report: &mut dyn DownloadReport,
    ) -> Result<Option<Digest>, Error> {
        // Equal sizes do not prove equal contents: `4096` may have become `null`.
        if entry.hash.is_none() || size_of(&self.path().join(entry.name.as_str())) != Some(entry.size) {
            return Ok(None);
        }
        report.begin(&entry.name, entry.size, 0);
        let mut here = 0;
        let hashed = hash(self.path(), entry, &mut |n| {
            here += n;
            report.progress(&entry.name, here);
            !stop.load(Ordering::SeqCst)
        });
        report.end(&entry.name);
        let Some(hasher) = hashed? else { return Ok(None) };
        if stop.load(Ordering::SeqCst) {
            return Err(Error::Interrupted);
        }
        match hasher.finish() {
            Ok(sha256) => Ok(Some(sha256)),
            Err(mismatch) => {
                let (name, found, expected) = (&entry.name, mismatch.found, mismatch.expected);
                report.note(&format!("{name} is here with {found} instead of {expected}; fetching it again"));
                Ok(None)
            }
        }
    }
}

impl Folder {
    /// Links or copies the content at `from`, a file of the hub's own cache, to the name of `entry`. Returns its sha256, or
    /// `None` if its hash differs from the listing's.
    ///
    /// # Errors
    /// [`Error::Io`] if the copy cannot be written; [`Error::Interrupted`].
    pub fn take(
        &self,
        from: &Path,
        entry: &Entry,
        stop: &AtomicBool,
        report: &mut dyn DownloadReport,
    ) -> Result<Option<Digest>, Error> {
        report.begin(&entry.name, entry.size, 0);
        let taken = self.link_or_copy(from, entry, stop, report);
        report.end(&entry.name);
        match taken? {
            Ok(sha256) => Ok(Some(sha256)),
            Err(_) if stop.load(Ordering::SeqCst) => Err(Error::Interrupted),
            Err(Mismatch { .. }) => {
                report.note(&format!("the hub's cache has {} with another content; fetching it", entry.name));
                Ok(None)
            }
        }
    }

    fn link_or_copy(
        &self,
        from: &Path,
        entry: &Entry,
        stop: &AtomicBool,
        report: &mut dyn DownloadReport,
    ) -> Result<Result<Digest, Mismatch>, Error> {
        let name = entry.name.as_str();
        let path = self.path().join(name);
        let failed = || Error::io("write", &path);
        // The cache stores contents under their hashes, never as links.
        let is_file = from.symlink_metadata().is_ok_and(|found| found.is_file());
        let linked = format!(".{name}.linked");
        let _ = self.opened().remove(&linked);
        let is_linked = is_file && self.opened().link(from, &linked).is_ok();
        let mut copy = match is_linked {
            true => None,
            false => Some(Replacement::in_folder(self.opened(), name).map_err(failed())?),
        };
        let read = if is_linked { self.path().join(&linked) } else { from.to_path_buf() };
        let mut here = 0;
        let hasher = each_chunk(&read, entry, &mut |bytes| {
            here += bytes.len() as u64;
            report.progress(&entry.name, here);
            if let Some(copy) = &mut copy {
                copy.write_all(bytes).map_err(failed())?;
            }
            Ok(!stop.load(Ordering::SeqCst))
        });
        let hashed = hasher.map(Hasher::finish);
        let named = match (&hashed, copy) {
            (Ok(Ok(_)), Some(copy)) => copy.finish(),
            (Ok(Ok(_)), None) => self.opened().rename(&linked, name).and_then(|()| self.opened().sync()),
            (_, Some(_)) => Ok(()),
            (_, None) => self.opened().remove(&linked),
        };
        named.map_err(failed())?;
        hashed
    }
}

/// Computes the sha256 of a file in `folder`, if it exists in its size. `progress` gets the number of bytes read.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn sha256(
    folder: &Path,
    entry: &Entry,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<Digest>, Error> {
    let hasher = hash(folder, entry, &mut |n| {
        progress(n);
        true
    })?;
    Ok(hasher.and_then(|h| h.finish().ok()))
}

/// Hashes the file, if it exists in its size. `progress` gets the number of bytes read and decides whether to continue.
fn hash(
    folder: &Path,
    entry: &Entry,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Option<Hasher>, Error> {
    let path = folder.join(entry.name.as_str());
    if size_of(&path) != Some(entry.size) {
        return Ok(None);
    }
    each_chunk(&path, entry, &mut |chunk| Ok(progress(chunk.len() as u64))).map(Some)
}

/// Hashes the file at `path` and passes its bytes to `take`, which decides whether to continue.
fn each_chunk(
    path: &Path,
    entry: &Entry,
    take: &mut dyn FnMut(&[u8]) -> Result<bool, Error>,
) -> Result<Hasher, Error> {
    let mut file = files::open(path).map_err(Error::io("read", path))?;
    let mut hasher = Hasher::new(entry.hash, entry.size);
    let mut chunk = memory::buffer(CHUNK).map_err(Error::io("find memory to read", path))?;
    loop {
        match file.read(&mut chunk).map_err(Error::io("read", path))? {
            0 => return Ok(hasher),
            n => {
                hasher.update(&chunk[..n]);
                if !take(&chunk[..n])? {
                    return Ok(hasher);
                }
            }
        }
    }
}

/// Returns the name of a partial file, which holds the pieces until the file is complete.
pub(super) fn partial(name: &FileName) -> String {
    format!(".{name}.partial")
}

/// Returns the name of a partial file's journal.
pub(super) fn journal(name: &FileName) -> String {
    format!(".{name}.journal")
}

/// Returns the size of the file at `path`, links followed; `None` if it does not exist.
pub(super) fn size_of(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|m| m.len())
}

/// Checks that `needed` more bytes fit on the disk of `folder`, which need not exist yet.
///
/// # Errors
/// [`Error::Space`].
pub(super) fn check_space(folder: &Path, needed: u64) -> Result<(), Error> {
    // If a file system does not report its free space, the download is tried.
    let free = free_space(folder).unwrap_or(u64::MAX);
    match free < needed {
        true => Err(Error::Space { folder: folder.to_path_buf(), free, needed }),
        false => Ok(()),
    }
}

/// Lists the plain files of a folder, without hashes. A folder that does not exist is empty.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn list(folder: &Path) -> Result<Vec<Entry>, Error> {
    let items = match fs::read_dir(folder) {
        Ok(items) => items,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", folder)(e)),
    };
    let mut files = Vec::new();
    for item in items {
        let item = item.map_err(Error::io("read", folder))?;
        let name = item.file_name().to_str().and_then(FileName::parse);
        if let Some((name, size)) = name.zip(size_of(&item.path())) {
            files.push(Entry { name, size, hash: None });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::super::{Hash, SilentDownload};
    use super::*;

    #[test]
    fn a_disk_that_is_too_small_is_found_out_for_a_folder_that_does_not_exist_yet() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("org/name");
        assert!(check_space(&folder, 1).is_ok());
        // The error names the requested folder.
        assert!(matches!(check_space(&folder, u64::MAX), Err(Error::Space { folder: f, .. }) if f == folder));
        assert!(check_space(Path::new("no-such-folder"), 1).is_ok());
    }

    static GO_ON: AtomicBool = AtomicBool::new(false);

    #[test]
    fn a_folder_is_claimed_by_one_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let first = Folder::claim(root.path(), &GO_ON, &mut SilentDownload).unwrap();
        let second = Folder::claim(root.path(), &AtomicBool::new(true), &mut SilentDownload);
        assert!(matches!(second, Err(Error::Interrupted)));
        drop(first);
        assert!(Folder::claim(root.path(), &GO_ON, &mut SilentDownload).is_ok());
    }

    #[test]
    fn a_file_of_the_right_size_and_the_wrong_hash_is_not_kept() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("x.bin"), "abc").unwrap();
        let folder = Folder::claim(root.path(), &GO_ON, &mut SilentDownload).unwrap();
        let mut entry = Entry { name: "x.bin".parse().unwrap(), size: 3, hash: None };
        let holds = |entry: &Entry| folder.holds(entry, &GO_ON, &mut SilentDownload).unwrap();
        assert_eq!(holds(&entry), None);
        let abc = sha256(root.path(), &entry, &mut |_| {}).unwrap().unwrap();
        entry.hash = Some(Hash::Sha256(abc));
        assert_eq!(holds(&entry), Some(abc));
        assert_eq!(holds(&Entry { size: 4, ..entry.clone() }), None);
        entry.hash = Some(Hash::Sha256(Digest([0; 32])));
        assert_eq!(holds(&entry), None);
        let stopped = folder.holds(&entry, &AtomicBool::new(true), &mut SilentDownload);
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }
}

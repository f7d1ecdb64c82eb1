//! The folder that files are downloaded to: claimed by one process at a time, what is in it already, its free
//! space, and making a finished file appear under its name.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::listing::Entry;
use super::{Digest, Error, FileName, Report};
use crate::files::free_space;

/// Held while a process writes to the folder; the system releases it however the process ends. The file stays.
const LOCK: &str = ".mist.lock";
/// Bytes read at once when a file is hashed.
const CHUNK: usize = 1 << 20;

/// A target folder that this process alone writes to, for as long as this value lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be and claims it, waiting for another process that has it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn claim(path: &Path, report: &mut dyn Report) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(Error::io("make the folder", path))?;
        let lock_path = path.join(LOCK);
        let lock = File::create(&lock_path).map_err(Error::io("write", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                report.note(&format!("another mist is downloading to {}; waiting for it", path.display()));
                lock.lock().map_err(Error::io("lock", &lock_path))?;
            }
            // Some network file systems have no locks; there, two downloads of one repository are the user's risk.
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &lock_path)(e)),
        }
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file is written until it is whole.
    pub fn partial(&self, name: &FileName) -> PathBuf {
        self.path.join(format!(".{name}.partial"))
    }

    /// Whether the file is here whole: the right size and, where one is known, the right sha256. A file of the
    /// right size is read and counted for the report.
    ///
    /// # Errors
    /// [`Error::Io`] if it is there and cannot be read.
    pub fn holds(&self, entry: &Entry, report: &mut dyn Report) -> Result<bool, Error> {
        let path = self.path.join(entry.name.as_str());
        if size_of(&path) != Some(entry.size) {
            return Ok(false);
        }
        // A small file is listed without a sha256: the same size says nothing (`4096` may have become `null`), so
        // it is fetched again.
        let Some(expected) = entry.sha256 else { return Ok(false) };
        let mut file = File::open(&path).map_err(Error::io("read", &path))?;
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            match file.read(&mut chunk).map_err(Error::io("read", &path))? {
                0 => break,
                n => {
                    hash.update(&chunk[..n]);
                    report.bytes(n as u64);
                }
            }
        }
        let found = Digest(hash.finalize().into());
        if found != expected {
            report.note(&format!("{} is here with a wrong sha256; fetching it again", entry.name));
        }
        Ok(found == expected)
    }

    /// Puts a whole, synced partial file under its name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(&self, name: &FileName) -> Result<PathBuf, Error> {
        let path = self.path.join(name.as_str());
        fs::rename(self.partial(name), &path).map_err(Error::io("write", &path))?;
        // The rename is on disk when the folder is; Windows does not let one sync a folder.
        #[cfg(unix)]
        File::open(&self.path).and_then(|f| f.sync_all()).map_err(Error::io("sync", &self.path))?;
        Ok(path)
    }
}

/// The size of the file at `path`, links followed; `None` if there is none.
pub(super) fn size_of(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|m| m.len())
}

/// Checks that `needed` more bytes fit on the disk of `folder`, which need not exist yet.
///
/// # Errors
/// [`Error::Space`].
pub(super) fn check_space(folder: &Path, needed: u64) -> Result<(), Error> {
    // A file system that does not say how much is free is tried.
    let free = free_space(folder).unwrap_or(u64::MAX);
    match free < needed {
        true => Err(Error::Space { folder: folder.to_path_buf(), free, needed }),
        false => Ok(()),
    }
}

/// The plain files of a folder, as a listing without hashes. A folder that is not there is empty.
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
            files.push(Entry { name, size, sha256: None });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::super::Silent;
    use super::*;

    #[test]
    fn a_disk_that_is_too_small_is_found_out_for_a_folder_that_does_not_exist_yet() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("org/name");
        assert!(check_space(&folder, 1).is_ok());
        // The error names the folder that was asked for.
        assert!(matches!(check_space(&folder, u64::MAX), Err(Error::Space { folder: f, .. }) if f == folder));
        assert!(check_space(Path::new("no-such-folder"), 1).is_ok());
    }

    #[test]
    fn a_folder_is_claimed_by_one_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let first = Folder::claim(root.path(), &mut Silent).unwrap();
        let second = File::open(root.path().join(LOCK)).unwrap();
        assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));
        drop(first);
        assert!(second.try_lock().is_ok());
    }

    #[test]
    fn a_file_of_the_right_size_and_the_wrong_hash_is_not_kept() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("x.bin"), "abc").unwrap();
        let folder = Folder::claim(root.path(), &mut Silent).unwrap();
        let abc = Digest(Sha256::digest("abc").into());
        let mut entry = Entry { name: "x.bin".parse().unwrap(), size: 3, sha256: Some(abc) };
        assert!(folder.holds(&entry, &mut Silent).unwrap());
        entry.sha256 = Some(Digest([0; 32]));
        assert!(!folder.holds(&entry, &mut Silent).unwrap());
        (entry.sha256, entry.size) = (None, 4);
        assert!(!folder.holds(&entry, &mut Silent).unwrap());
    }
}

//! Writes files so that a file under its final name is always complete.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use rand::Rng;
use rand::distr::Alphanumeric;

use super::claim::LOCK;
use super::folder::{Folder, folder_of};

/// Suffix of the temporary name of a file that is being written.
const PARTIAL: &str = ".partial";
/// Number of random letters and digits in a temporary name.
const DRAWN: usize = 6;
/// Maximum number of random names to try.
const TRIES: usize = 64;
/// Time without a modification after which a temporary file counts as abandoned. The file exists for a moment before it
/// is locked, and on some file systems the locks of one host do not hold on another.
const UNTOUCHED: Duration = Duration::from_secs(10);

/// A file that is being written under a temporary name in its folder. It gets its final name when it is complete, and
/// replaces any existing file or link of that name. Dropping it deletes the temporary file.
#[derive(Debug)]
pub struct Replacement {
    folder: Folder,
    file: File,
    /// The temporary name; `None` once the file has its final name.
    temporary: Option<OsString>,
    name: OsString,
}

impl Replacement {
    /// Begins to write the file at `target`, a path that the user chose, whose links are followed.
    ///
    /// # Errors
    /// The folder does not exist or cannot be written to.
    pub fn new(target: &Path) -> io::Result<Self> {
        let (folder, name) = folder_of(target)?;
        Self::in_folder(&folder, name)
    }

    /// Begins to write a file like [`new`](Self::new), accessible to this user only.
    ///
    /// # Errors
    /// The errors of [`new`](Self::new).
    pub fn private(target: &Path) -> io::Result<Self> {
        let (folder, name) = folder_of(target)?;
        Self::with_mode(&folder, name, 0o600)
    }

    /// Begins to write the file `name` in `folder`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn in_folder(folder: &Folder, name: impl AsRef<OsStr>) -> io::Result<Self> {
        // The umask applies, as for an ordinary new file.
        Self::with_mode(folder, name.as_ref(), 0o666)
    }

    fn with_mode(folder: &Folder, name: &OsStr, mode: u32) -> io::Result<Self> {
        let mut drawn = (0..TRIES).map(|_| temporary(name)).map(|temporary| {
            let file = folder.create_new(&temporary, mode);
            file.map(|file| (file, temporary))
        });
        let is_new = |made: &io::Result<_>| {
            !made.as_ref().is_err_and(|e: &io::Error| e.kind() == io::ErrorKind::AlreadyExists)
        };
        let (file, temporary) = drawn.find(is_new).unwrap_or(Err(io::ErrorKind::AlreadyExists.into()))?;
        // The lock shows that the file is still being written. Some file systems have no locks.
        let _ = file.try_lock();
        Ok(Self { folder: folder.clone(), file, temporary: Some(temporary), name: name.into() })
    }

    /// Writes `bytes` and finishes, for content that is complete in memory.
    ///
    /// # Errors
    /// The errors of [`finish`](Self::finish); the disk is full.
    pub fn finish_with(mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.finish()
    }

    /// Syncs the file and gives it its final name.
    ///
    /// # Errors
    /// The file cannot be synced or renamed.
    pub fn finish(self) -> io::Result<()> {
        self.sync()?;
        self.rename()
    }

    /// Syncs the file to the disk.
    ///
    /// # Errors
    /// The system's I/O error.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Gives the file its final name.
    ///
    /// # Errors
    /// The system's I/O error.
    pub fn rename(mut self) -> io::Result<()> {
        if let Some(temporary) = &self.temporary {
            self.folder.rename(temporary, &self.name)?;
        }
        self.temporary = None;
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // A file that cannot be deleted counts as abandoned later.
            let _ = self.folder.remove(temporary);
        }
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Creates a temporary name: `.NAME.Ab3dEf.partial`.
fn temporary(name: &OsStr) -> OsString {
    let drawn = rand::rng().sample_iter(Alphanumeric).take(DRAWN).map(char::from).collect::<String>();
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{drawn}{PARTIAL}"));
    temporary
}

/// Returns whether `candidate` is a temporary name of the file `name`. Partial downloads are named differently.
fn is_temporary(candidate: &OsStr, name: &OsStr) -> bool {
    let (candidate, name) = (candidate.as_encoded_bytes(), name.as_encoded_bytes());
    let of_name = candidate.strip_prefix(b".").and_then(|rest| rest.strip_prefix(name)?.strip_prefix(b"."));
    of_name.and_then(|rest| rest.strip_suffix(PARTIAL.as_bytes())).is_some_and(is_drawn)
}

/// Returns whether `bytes` are the random part of a temporary name.
fn is_drawn(bytes: &[u8]) -> bool {
    bytes.len() == DRAWN && bytes.iter().all(u8::is_ascii_alphanumeric)
}

/// Returns whether `name` is that of a file that a killed program leaves: the lock of a folder, or a temporary file.
pub fn is_leftover(name: &OsStr) -> bool {
    let hidden = name.as_encoded_bytes().strip_prefix(b".");
    let drawn =
        hidden.and_then(|rest| rest.strip_suffix(PARTIAL.as_bytes())?.rsplit(|byte| *byte == b'.').next());
    name == LOCK || drawn.is_some_and(is_drawn)
}

/// Finds the temporary files of `name` that killed programs left in `folder`; returns their names and sizes.
pub fn abandoned(folder: &Folder, name: &OsStr) -> Vec<(OsString, u64)> {
    let names = folder.names().unwrap_or_default();
    let found = names.into_iter().filter(|candidate| is_temporary(candidate, name)).filter_map(|name| {
        // Links and pipes are not ours.
        let file = folder.read(&name).ok()?;
        let data = file.metadata().ok()?;
        let untouched = data.modified().ok()?.elapsed().is_ok_and(|age| age > UNTOUCHED);
        (untouched && file.try_lock().is_ok()).then_some((name, data.len()))
    });
    found.collect()
}

/// Deletes the [`abandoned`] temporary files of `name` in `folder`.
pub fn delete_abandoned(folder: &Folder, name: &OsStr) {
    for (left, _) in abandoned(folder, name) {
        // A file that cannot be deleted only takes disk space.
        let _ = folder.remove(left);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_target_has_its_old_content_until_the_new_one_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x");
        fs::write(&target, "old").unwrap();
        let mut abandoned = Replacement::new(&target).unwrap();
        abandoned.write_all(b"half").unwrap();
        drop(abandoned);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        let mut finished = Replacement::new(&target).unwrap();
        finished.write_all(b"new").unwrap();
        finished.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_gives_way_to_the_file_and_what_it_points_to_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (target, precious) = (folder.path().join("x"), folder.path().join("precious"));
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink("precious", &target).unwrap();
        Replacement::new(&target).unwrap().finish_with(b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_is_for_its_user_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x");
        Replacement::private(&target).unwrap().finish_with(b"").unwrap();
        assert_eq!(target.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_killed_programs_left_is_deleted_and_what_others_write_is_not() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let target = root.path().join("x");
        let others =
            [".x.partial", ".x.a.b.partial", ".y.Ab3dEf.partial", "x.Ab3dEf.partial", ".x.Ab3dE.partial"];
        let old = std::time::SystemTime::now() - 2 * UNTOUCHED;
        for name in others.into_iter().chain([".x.Ab3dEf.partial"]) {
            let file = File::create(root.path().join(name)).unwrap();
            file.set_modified(old).unwrap();
        }
        fs::write(root.path().join(".x.youngs.partial"), "half").unwrap();
        let running = Replacement::new(&target).unwrap();
        running.file.set_modified(old).unwrap();
        delete_abandoned(&folder, OsStr::new("x"));
        assert!(!root.path().join(".x.Ab3dEf.partial").exists());
        assert!(others.iter().all(|name| root.path().join(name).exists()));
        assert!(root.path().join(".x.youngs.partial").exists());
        running.finish().unwrap();
        assert!(target.exists());
    }
}

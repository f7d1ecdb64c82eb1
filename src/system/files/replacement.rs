//! Writing files so that nothing that looks finished is ever incomplete.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use rand::Rng;
use rand::distr::Alphanumeric;

use super::folder::{Folder, folder_of};

/// How the temporary name of a file ends that is on its way.
const PARTIAL: &str = ".partial";
/// Letters and digits that are drawn for a temporary name.
const DRAWN: usize = 6;
/// Names that are drawn before it is given up that nothing has one.
const TRIES: usize = 64;
/// How long a temporary file must not have been written to before it may be taken for abandoned: it is made before it is
/// locked, and locks of one host do not hold on every file system of another.
const UNTOUCHED: Duration = Duration::from_secs(10);

/// A file on its way to its name: written under a temporary name in the same folder, which disappears if it is dropped,
/// and takes its own name when it is complete. What had that name before, a link too, is replaced.
#[derive(Debug)]
pub struct Replacement {
    folder: Folder,
    file: File,
    /// The temporary name; `None` once it has its own.
    temporary: Option<OsString>,
    name: OsString,
}

impl Replacement {
    /// Begins to write what will be the file at `target`, a path of the user's own whose links are followed.
    ///
    /// # Errors
    /// The folder does not exist or cannot be written to.
    pub fn new(target: &Path) -> io::Result<Self> {
        let (folder, name) = folder_of(target)?;
        Self::in_folder(&folder, name)
    }

    /// The same, readable by this user alone.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn private(target: &Path) -> io::Result<Self> {
        let (folder, name) = folder_of(target)?;
        Self::with_mode(&folder, name, 0o600)
    }

    /// Begins to write what will be the file `name` in `folder`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn in_folder(folder: &Folder, name: impl AsRef<OsStr>) -> io::Result<Self> {
        // As a file that is created plainly: readable as the user's umask says.
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
        // For as long as it is written: what is not locked was abandoned. Not every file system has locks.
        let _ = file.try_lock();
        Ok(Self { folder: folder.clone(), file, temporary: Some(temporary), name: name.into() })
    }

    /// Writes `bytes` and finishes: for what is at hand as a whole.
    ///
    /// # Errors
    /// As [`finish`](Self::finish), and where there is no room.
    pub fn finish_with(mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.finish()
    }

    /// Syncs what was written and gives it its name.
    ///
    /// # Errors
    /// The bytes cannot be brought to the disk, or the name cannot be given.
    pub fn finish(self) -> io::Result<()> {
        self.sync()?;
        self.rename()
    }

    /// Brings what was written to the disk.
    ///
    /// # Errors
    /// What the system reports.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Gives what was written its name.
    ///
    /// # Errors
    /// What the system reports.
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
            // What cannot be deleted is taken for abandoned later.
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

/// `.NAME.Ab3dEf.partial`.
fn temporary(name: &OsStr) -> OsString {
    let drawn = rand::rng().sample_iter(Alphanumeric).take(DRAWN).map(char::from).collect::<String>();
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{drawn}{PARTIAL}"));
    temporary
}

/// Whether `candidate` is a temporary name of the file `name`; what a download leaves is not ours.
fn is_temporary(candidate: &OsStr, name: &OsStr) -> bool {
    let (candidate, name) = (candidate.as_encoded_bytes(), name.as_encoded_bytes());
    let drawn = candidate.strip_prefix(b".").and_then(|rest| rest.strip_prefix(name));
    let drawn = drawn.and_then(|rest| rest.strip_prefix(b".")?.strip_suffix(PARTIAL.as_bytes()));
    drawn.is_some_and(|drawn| drawn.len() == DRAWN && drawn.iter().all(u8::is_ascii_alphanumeric))
}

/// What programs that were killed have left of a file on its way to the name `name` in `folder`, and how large each is.
pub fn abandoned(folder: &Folder, name: &OsStr) -> Vec<(OsString, u64)> {
    let names = folder.names().unwrap_or_default();
    let found = names.into_iter().filter(|candidate| is_temporary(candidate, name)).filter_map(|name| {
        // Neither a link nor a pipe is ours.
        let file = folder.read(&name).ok()?;
        let data = file.metadata().ok()?;
        let untouched = data.modified().ok()?.elapsed().is_ok_and(|age| age > UNTOUCHED);
        (untouched && file.try_lock().is_ok()).then_some((name, data.len()))
    });
    found.collect()
}

/// Deletes what is [`abandoned`] of files on their way to the name `name` in `folder`.
pub fn delete_abandoned(folder: &Folder, name: &OsStr) {
    for (left, _) in abandoned(folder, name) {
        // What cannot be deleted takes disk, no more.
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

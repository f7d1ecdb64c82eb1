//! Gives one process at a time the right to write to a folder. A lock file in the folder enforces it, and the system
//! releases the lock however the process ends.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::folder::{Folder, folder_of};
use super::platform;

/// Name of the lock file.
pub(super) const LOCK: &str = ".mist.lock";
/// Polling interval while another process holds the lock.
const PAUSE: Duration = Duration::from_millis(100);
/// Maximum number of times that a lock file or a folder may disappear between opening and locking.
const TRIES: usize = 100;

/// A folder that only this process writes to, for as long as this value lives. Dropping it deletes the lock file, and
/// the folders that were created for it if they are empty.
#[derive(Debug)]
pub struct Claim {
    folder: Folder,
    lock: Option<File>,
    /// Whether this process created the lock file.
    is_new: bool,
    /// The folders that this process created, outermost first.
    made: Vec<(Folder, OsString)>,
    unlocked: Option<io::Error>,
}

/// The error for a folder that could not be claimed.
#[derive(Debug)]
pub struct Unclaimed {
    /// The folder, or the lock file in it.
    pub path: PathBuf,
    /// The cause; [`io::ErrorKind::Interrupted`] if the caller did not want to wait.
    pub source: io::Error,
}

impl Claim {
    /// Claims the folder at `path`, and creates it if it does not exist. Does not follow links in the part of the path
    /// below `base`. While another process holds the lock, `wait` decides whether to go on waiting.
    ///
    /// # Errors
    /// The folder cannot be created or opened; the lock file cannot be opened, for example because it is a link; `wait`
    /// returned `false`.
    pub fn new(base: Option<&Path>, path: &Path, wait: &mut dyn FnMut() -> bool) -> Result<Self, Unclaimed> {
        let failed = |path: PathBuf| move |source| Unclaimed { path, source };
        let (mut made, mut made_lock) = (Vec::new(), false);
        let mut tries = 0..TRIES;
        loop {
            let folder = make(base, path, &mut made).map_err(failed(path.into()))?;
            let (lock, is_new) = match open_lock(&folder) {
                // Another process created the folder and has just deleted it.
                Err(e) if e.kind() == io::ErrorKind::NotFound && tries.next().is_some() => continue,
                opened => opened.map_err(failed(path.join(LOCK)))?,
            };
            // From here on, dropping `claim` deletes what was created.
            made_lock |= is_new;
            let mut claim = Self { folder, lock: None, is_new: false, made, unlocked: None };
            match lock.try_lock() {
                Ok(()) if !platform::has_a_name(&lock) && tries.next().is_some() => {}
                Ok(()) => {
                    (claim.lock, claim.is_new) = (Some(lock), made_lock);
                    return Ok(claim);
                }
                // Some network file systems have no locks.
                Err(TryLockError::Error(error)) => {
                    (claim.is_new, claim.unlocked) = (made_lock, Some(error));
                    return Ok(claim);
                }
                Err(TryLockError::WouldBlock) if wait() => {
                    tries = 0..TRIES;
                    sleep(PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    let source = io::ErrorKind::Interrupted.into();
                    return Err(Unclaimed { path: path.into(), source });
                }
            }
            made = std::mem::take(&mut claim.made);
        }
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Returns why the folder could not be locked, if its file system has no locks.
    pub fn unlocked(&self) -> Option<&io::Error> {
        self.unlocked.as_ref()
    }

    /// Keeps the lock file and the folders when this is dropped.
    pub fn keep(mut self) -> Self {
        self.is_new = false;
        self.made.clear();
        self
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Deleted while the lock is held: a process that waits for the lock then sees that the file has no name. A
        // failure does no harm.
        if self.is_new && platform::DELETES_OPEN_FILES {
            let _ = self.folder.remove(LOCK);
        }
        for (folder, name) in self.made.iter().rev() {
            let _ = platform::remove_folder_in(folder.handle(), name);
        }
    }
}

/// Opens the lock file, and returns whether it was created now.
fn open_lock(folder: &Folder) -> io::Result<(File, bool)> {
    match folder.create_new(LOCK, 0o666) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok((folder.lock_file(LOCK)?, false)),
        made => Ok((made?, true)),
    }
}

/// Opens the folder at `path`, and creates it if it does not exist. Appends to `made` the folders that it creates.
fn make(base: Option<&Path>, path: &Path, made: &mut Vec<(Folder, OsString)>) -> io::Result<Folder> {
    if let Some(names) = base.and_then(|base| super::folder::beneath(base, path)) {
        let mut folder = Folder::open(base.unwrap_or(path))?;
        for name in names {
            let (inner, is_new) = folder.make_or_enter(name)?;
            made.extend(is_new.then(|| (folder, name.to_owned())));
            folder = inner;
        }
        return Ok(folder);
    }
    let missing: Vec<&Path> = path.ancestors().take_while(|path| is_missing(path)).collect();
    for path in missing.into_iter().rev() {
        // A path that ends in `..` exists, or is created with the next path.
        let Ok((parent, name)) = folder_of(path) else { continue };
        let (_, is_new) = parent.make_or_enter(name)?;
        made.extend(is_new.then(|| (parent, name.to_owned())));
    }
    Folder::make(path)
}

fn is_missing(path: &Path) -> bool {
    !path.as_os_str().is_empty()
        && path.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn what_was_made_for_a_claim_disappears_with_it_and_what_was_there_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/../c");
        for base in [None, Some(root.path())] {
            let path = if base.is_some() { root.path().join("a/c") } else { path.clone() };
            let claim = Claim::new(base, &path, &mut || false).unwrap();
            assert!(path.join(LOCK).exists() && claim.unlocked().is_none());
            let error = Claim::new(base, &path, &mut || false).unwrap_err();
            assert_eq!(error.source.kind(), io::ErrorKind::Interrupted);
            drop(claim);
            assert_eq!(names(root.path()), 0);
        }
        drop(Claim::new(None, &path, &mut || false).unwrap().keep());
        assert!(path.join(LOCK).exists());
        fs::write(path.join("x"), "").unwrap();
        drop(Claim::new(None, &path, &mut || false).unwrap());
        assert_eq!(names(&path), 2);
    }

    #[test]
    fn one_at_a_time_has_a_folder_though_each_takes_its_lock_away() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("new");
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let claim = Claim::new(None, &path, &mut || true).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        sleep(Duration::from_millis(1));
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(claim);
                    }
                });
            }
        });
        // A process that did not create the folder may have been the last, and leaves the empty folder.
        assert!(!path.exists() || names(&path) == 0);
    }
}

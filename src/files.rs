//! Writing files so that nothing that looks finished is ever incomplete.

use std::fs::File;
#[cfg(unix)]
use std::io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

/// A file on its way to `target`: written under a temporary name in the same folder, which disappears if it
/// is dropped, and takes the target's name when it is complete.
#[derive(Debug)]
pub struct Replacement {
    file: NamedTempFile,
    target: PathBuf,
}

impl Replacement {
    /// Begins to write what will be `target`.
    ///
    /// # Errors
    /// The folder does not exist or cannot be written to.
    pub fn new(target: &Path) -> io::Result<Self> {
        // As a file that is created plainly: readable as the user's umask says.
        Self::with_mode(target, 0o666)
    }

    /// The same, readable by this user alone.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn private(target: &Path) -> io::Result<Self> {
        Self::with_mode(target, 0o600)
    }

    #[cfg_attr(not(unix), allow(unused_variables))]
    fn with_mode(target: &Path, mode: u32) -> io::Result<Self> {
        let (folder, prefix) = place(target);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(PARTIAL);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
        // The error's own words name the temporary file, which the user never heard of.
        let file = builder.tempfile_in(folder).map_err(|e| io::Error::from(e.kind()))?;
        // For as long as it is written: what is not locked was abandoned. Not every file system has locks.
        let _ = file.as_file().try_lock();
        Ok(Self { file, target: target.into() })
    }

    /// Writes `bytes` and finishes: for what is at hand as a whole.
    ///
    /// # Errors
    /// As [`finish`](Self::finish), and where there is no room.
    pub fn finish_with(mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.finish()
    }

    /// Syncs what was written and gives it the target's name.
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
        self.file.as_file().sync_all()
    }

    /// Gives what was written the target's name.
    ///
    /// # Errors
    /// What the system reports.
    pub fn rename(self) -> io::Result<()> {
        self.file.persist(&self.target).map(drop).map_err(|e| e.error)
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Not by `tempfile`, whose errors name the temporary file.
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Bytes of a large page, and of a piece of a file that such a page can hold.
const LARGE_PAGE: usize = 2 << 20;

/// Writes in whole pieces of 2 MiB, whatever runs it is given. Linux keeps what was written at once in one piece of
/// memory, where the file system can, and maps that as a large page: weights are then read from a map a quarter to a
/// half faster, and without a page fault for every 4 KiB. The last piece is written by [`finish`](Self::finish).
#[derive(Debug)]
pub struct InLargePages<W> {
    to: W,
    piece: Vec<u8>,
}

impl<W: Write> InLargePages<W> {
    /// Writes to the beginning of `to`.
    pub fn new(to: W) -> Self {
        Self { to, piece: Vec::with_capacity(LARGE_PAGE) }
    }

    /// Writes a run of bytes.
    ///
    /// # Errors
    /// What writing reports.
    pub fn write_all(&mut self, mut run: &[u8]) -> io::Result<()> {
        while !run.is_empty() {
            let (now, later) = run.split_at(run.len().min(LARGE_PAGE - self.piece.len()));
            self.piece.extend_from_slice(now);
            run = later;
            if self.piece.len() == LARGE_PAGE {
                self.to.write_all(&self.piece)?;
                self.piece.clear();
            }
        }
        Ok(())
    }

    /// Writes what is left, and gives back what was written to.
    ///
    /// # Errors
    /// What writing reports.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&self.piece)?;
        Ok(self.to)
    }
}

/// Whether these are the bytes of the note that a clone without `git lfs` holds in place of a large file.
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs.github.com/spec/")
}

/// How the temporary name of a file ends that is on its way.
const PARTIAL: &str = ".partial";

/// How long a temporary file must not have been written to before it may be taken for abandoned: it is made before it is
/// locked, and locks of one host do not hold on every file system of another.
const UNTOUCHED: Duration = Duration::from_secs(10);

/// What programs that were killed have left of files on their way to `target`, and how large each is.
pub fn abandoned(target: &Path) -> Vec<(PathBuf, u64)> {
    let (folder, prefix) = place(target);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let middle = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(PARTIAL))?;
        // As `tempfile` names them; what a download leaves is not ours.
        let ours = middle.len() == 6 && middle.bytes().all(|b| b.is_ascii_alphanumeric());
        // Of the entry itself: neither a link nor a pipe is.
        let data = entry.metadata().ok().filter(|data| ours && data.is_file())?;
        let untouched = data.modified().ok()?.elapsed().is_ok_and(|age| age > UNTOUCHED);
        let abandoned = untouched && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        abandoned.then(|| (entry.path(), data.len()))
    });
    found.collect()
}

/// The folder of a file, and how the names of its temporary files begin.
fn place(target: &Path) -> (&Path, String) {
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    (folder, format!(".{}.", target.file_name().unwrap_or_default().to_string_lossy()))
}

/// Deletes what is [`abandoned`] of files on their way to `target`.
pub fn delete_abandoned(target: &Path) {
    for (path, _) in abandoned(target) {
        // What cannot be deleted takes disk, no more.
        let _ = std::fs::remove_file(path);
    }
}

/// Writes all of `bytes` at `offset`, whatever the file's cursor is; several threads may at once.
///
/// # Errors
/// What the system reports.
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_all_at(file, bytes, offset);
    #[cfg(windows)]
    {
        let mut done = 0;
        while done < bytes.len() {
            match std::os::windows::fs::FileExt::seek_write(file, &bytes[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Reads from `offset` on into `bytes`, at most as many; 0 is the end of the file.
///
/// # Errors
/// What the system reports.
pub fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(file, bytes, offset);
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, offset);
        match read {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Brings the names in `folder` to the disk, as after a rename; Windows and some network file systems do not let one do
/// that.
///
/// # Errors
/// What the system reports.
#[cfg_attr(not(unix), allow(unused_variables))]
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(e) if ![InvalidInput, Unsupported, PermissionDenied].contains(&e.kind()) => return Err(e),
        _ => {}
    }
    Ok(())
}

/// Bytes that a file in `folder` may still take; the nearest folder that exists is asked.
///
/// # Errors
/// What the system reports.
pub fn free_space(folder: &Path) -> io::Result<u64> {
    let existing = folder.ancestors().find(|f| f.exists() && !f.as_os_str().is_empty());
    fs4::available_space(existing.unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_any_length_are_written_in_whole_pieces() {
        #[derive(Default)]
        struct Sizes(Vec<usize>, Vec<u8>);
        impl Write for Sizes {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.push(bytes.len());
                self.1.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let bytes: Vec<u8> = (0..5 * LARGE_PAGE + 77).map(|i| (i * 7919 % 251) as u8).collect();
        let mut pages = InLargePages::new(Sizes::default());
        let mut rest = &bytes[..];
        for length in [1, 100, LARGE_PAGE, 3 * LARGE_PAGE, 0, usize::MAX] {
            let (run, later) = rest.split_at(length.min(rest.len()));
            pages.write_all(run).unwrap();
            rest = later;
        }
        let Sizes(sizes, written) = pages.finish().unwrap();
        assert!(written == bytes);
        assert_eq!(sizes, [&[LARGE_PAGE; 5][..], &[77]].concat());
    }

    #[test]
    fn a_target_has_its_old_content_until_the_new_one_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x");
        std::fs::write(&target, "old").unwrap();
        let mut abandoned = Replacement::new(&target).unwrap();
        abandoned.write_all(b"half").unwrap();
        drop(abandoned);
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        let mut finished = Replacement::new(&target).unwrap();
        finished.write_all(b"new").unwrap();
        finished.finish().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_killed_programs_left_is_deleted_and_what_others_write_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x");
        let others =
            [".x.partial", ".x.a.b.partial", ".y.Ab3dEf.partial", "x.Ab3dEf.partial", ".x.Ab3dE.partial"];
        let old = std::time::SystemTime::now() - 2 * UNTOUCHED;
        for name in others.into_iter().chain([".x.Ab3dEf.partial"]) {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(old).unwrap();
        }
        std::fs::write(folder.path().join(".x.youngs.partial"), "half").unwrap();
        let running = Replacement::new(&target).unwrap();
        running.file.as_file().set_modified(old).unwrap();
        delete_abandoned(&target);
        assert!(!folder.path().join(".x.Ab3dEf.partial").exists());
        assert!(others.iter().all(|name| folder.path().join(name).exists()));
        assert!(folder.path().join(".x.youngs.partial").exists());
        running.finish().unwrap();
        assert!(target.exists());
    }
}

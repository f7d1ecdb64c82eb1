//! Files by descriptors, on Unix: names are looked up in a folder that was opened, and a link is never followed there.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::refused::Kind;

/// A folder, opened.
pub type Handle = File;

/// Neither a pipe is waited for nor does a terminal become ours; children do not inherit it.
const CAREFULLY: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Opens whatever `path` leads to for reading.
pub fn open(path: &Path) -> io::Result<File> {
    let opened = retry_on_intr(|| fs::open(path, OFlags::RDONLY | CAREFULLY, Mode::empty()));
    Ok(File::from(opened?))
}

/// Takes the flag off that kept opening from waiting: on some network file systems reading would heed it.
pub fn blocking(file: File) -> io::Result<File> {
    let flags = fs::fcntl_getfl(&file)?;
    fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Opens the folder that `path` leads to.
pub fn open_folder(path: &Path) -> io::Result<Handle> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(retry_on_intr(|| fs::open(path, flags, Mode::empty()))?))
}

/// Opens the folder `name` in `folder`.
pub fn open_folder_in(folder: &Handle, name: &OsStr) -> io::Result<Handle> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(retry_on_intr(|| fs::openat(folder, name, flags, Mode::empty()))?))
}

/// Makes the folder `name` in `folder`.
pub fn make_folder_in(folder: &Handle, name: &OsStr) -> io::Result<()> {
    Ok(fs::mkdirat(folder, name, Mode::from_raw_mode(0o777))?)
}

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// For reading.
    Read,
    /// For reading and writing; made if it does not exist. What is in it stays.
    Change,
    /// For writing; made with these permissions. Nothing may have the name.
    New(u32),
}

/// Opens the file `name` in `folder`.
pub fn open_in(folder: &Handle, name: &OsStr, how: How) -> io::Result<File> {
    let (flags, mode) = match how {
        How::Read => (OFlags::RDONLY, 0),
        How::Change => (OFlags::RDWR | OFlags::CREATE, 0o666),
        How::New(mode) => (OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, mode),
    };
    // The type of the bits differs between systems.
    #[allow(clippy::useless_conversion)]
    let mode = Mode::from_bits_truncate(mode.try_into().unwrap_or_default());
    let flags = flags | OFlags::NOFOLLOW | CAREFULLY;
    Ok(File::from(retry_on_intr(|| fs::openat(folder, name, flags, mode))?))
}

/// What `name` is in `folder`; `None` if there is nothing.
pub fn kind_in(folder: &Handle, name: &OsStr) -> io::Result<Option<Kind>> {
    let found = match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => fs::FileType::from_raw_mode(found.st_mode),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some(match found {
        fs::FileType::RegularFile => Kind::File,
        fs::FileType::Directory => Kind::Folder,
        fs::FileType::Symlink => Kind::Link,
        fs::FileType::Fifo => Kind::Pipe,
        fs::FileType::CharacterDevice => Kind::Device,
        fs::FileType::BlockDevice => Kind::BlockDevice,
        fs::FileType::Socket => Kind::Socket,
        fs::FileType::Unknown => Kind::Other,
    }))
}

/// Whether `file` has no other name than the one that it was opened by.
pub fn has_one_name(file: &File) -> io::Result<bool> {
    Ok(std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) <= 1)
}

/// Whether a file that is open, and locked, can be deleted.
pub const DELETES_OPEN_FILES: bool = true;

/// Whether `file` still has a name: nobody has deleted it.
pub fn has_a_name(file: &File) -> bool {
    file.metadata().is_ok_and(|data| std::os::unix::fs::MetadataExt::nlink(&data) > 0)
}

/// Takes the name of a file, or of a link, out of `folder`.
pub fn remove_in(folder: &Handle, name: &OsStr) -> io::Result<()> {
    Ok(fs::unlinkat(folder, name, AtFlags::empty())?)
}

/// Takes an empty folder out of `folder`.
pub fn remove_folder_in(folder: &Handle, name: &OsStr) -> io::Result<()> {
    Ok(fs::unlinkat(folder, name, AtFlags::REMOVEDIR)?)
}

/// Gives `from` the name `to`, which is then nothing else's.
pub fn rename_in(folder: &Handle, from: &OsStr, to: &OsStr) -> io::Result<()> {
    Ok(fs::renameat(folder, from, folder, to)?)
}

/// Whether two things lie on one disk.
pub fn on_one_disk(a: &Path, b: &Path) -> bool {
    let disk = |path: &Path| fs::stat(path).ok().map(|found| found.st_dev);
    disk(a).is_some() && disk(a) == disk(b)
}

/// Gives the file at `from`, which is no link, a second name in `folder`.
pub fn link_in(from: &Path, folder: &Handle, name: &OsStr) -> io::Result<()> {
    Ok(fs::linkat(fs::CWD, from, folder, name, AtFlags::empty())?)
}

/// The names in `folder`.
pub fn names_in(folder: &Handle) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(folder)? {
        let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Brings the names in `folder` to the disk; some network file systems do not let one do that.
pub fn sync(folder: &Handle) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match folder.sync_all() {
        Err(e) if ![InvalidInput, Unsupported, PermissionDenied].contains(&e.kind()) => Err(e),
        _ => Ok(()),
    }
}

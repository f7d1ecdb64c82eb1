//! File operations by descriptors, on Unix: names are looked up in an open folder, and a link there is never followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::refused::Kind;

/// An open folder.
pub type Handle = File;

/// Flags of every open: does not wait for a pipe, does not make a terminal the controlling one, and is not inherited by
/// child processes.
const OPEN_FLAGS: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Opens a path of any kind for reading; links are followed.
pub fn open(path: &Path) -> io::Result<File> {
    let opened = retry_on_intr(|| fs::open(path, OFlags::RDONLY | OPEN_FLAGS, Mode::empty()));
    Ok(File::from(opened?))
}

/// Clears the non-blocking flag: on some network file systems it would affect reads of a regular file.
pub fn blocking(file: File) -> io::Result<File> {
    let flags = fs::fcntl_getfl(&file)?;
    fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Opens the folder at `path`; links are followed.
pub fn open_folder(path: &Path) -> io::Result<Handle> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(retry_on_intr(|| fs::open(path, flags, Mode::empty()))?))
}

/// Opens the folder `name` in `folder`.
pub fn open_folder_in(folder: &Handle, name: &OsStr) -> io::Result<Handle> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(retry_on_intr(|| fs::openat(folder, name, flags, Mode::empty()))?))
}

/// Creates the folder `name` in `folder`.
pub fn make_folder_in(folder: &Handle, name: &OsStr) -> io::Result<()> {
    Ok(fs::mkdirat(folder, name, Mode::from_raw_mode(0o777))?)
}

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// For reading.
    Read,
    /// For reading and writing. The file is created if it does not exist; its content is kept.
    Change,
    /// For writing. The file is created with these permissions; the name must be unused.
    New(u32),
}

/// Opens the file `name` in `folder`.
pub fn open_in(folder: &Handle, name: &OsStr, how: How) -> io::Result<File> {
    let (flags, mode) = match how {
        How::Read => (OFlags::RDONLY, 0),
        How::Change => (OFlags::RDWR | OFlags::CREATE, 0o666),
        How::New(mode) => (OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, mode),
    };
    // The type of the mode bits differs between systems.
    #[allow(clippy::useless_conversion)]
    let mode = Mode::from_bits_truncate(mode.try_into().unwrap_or_default());
    let flags = flags | OFlags::NOFOLLOW | OPEN_FLAGS;
    Ok(File::from(retry_on_intr(|| fs::openat(folder, name, flags, mode))?))
}

/// Returns the kind of `name` in `folder`; `None` if the name does not exist.
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

/// Returns whether `file` has no other hard link.
pub fn has_one_name(file: &File) -> io::Result<bool> {
    Ok(std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) <= 1)
}

/// Whether an open, locked file can be deleted.
pub const DELETES_OPEN_FILES: bool = true;

/// Returns whether `file` still has a name, so nobody has deleted it.
pub fn has_a_name(file: &File) -> bool {
    file.metadata().is_ok_and(|data| std::os::unix::fs::MetadataExt::nlink(&data) > 0)
}

/// Deletes a file or a link in `folder`.
pub fn remove_in(folder: &Handle, name: &OsStr) -> io::Result<()> {
    Ok(fs::unlinkat(folder, name, AtFlags::empty())?)
}

/// Deletes an empty folder in `folder`.
pub fn remove_folder_in(folder: &Handle, name: &OsStr) -> io::Result<()> {
    Ok(fs::unlinkat(folder, name, AtFlags::REMOVEDIR)?)
}

/// Renames `from` to `to`, and replaces any existing file of that name.
pub fn rename_in(folder: &Handle, from: &OsStr, to: &OsStr) -> io::Result<()> {
    Ok(fs::renameat(folder, from, folder, to)?)
}

/// Returns whether two paths are on the same disk.
pub fn on_one_disk(a: &Path, b: &Path) -> bool {
    let disk = |path: &Path| fs::stat(path).ok().map(|found| found.st_dev);
    disk(a).is_some() && disk(a) == disk(b)
}

/// Creates a hard link in `folder` to the file at `from`, which is not a symbolic link.
pub fn link_in(from: &Path, folder: &Handle, name: &OsStr) -> io::Result<()> {
    Ok(fs::linkat(fs::CWD, from, folder, name, AtFlags::empty())?)
}

/// Returns the names in `folder`.
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

/// Syncs the names in `folder` to the disk, except on network file systems that do not support it.
pub fn sync(folder: &Handle) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match folder.sync_all() {
        Err(e) if ![InvalidInput, Unsupported, PermissionDenied].contains(&e.kind()) => Err(e),
        _ => Ok(()),
    }
}

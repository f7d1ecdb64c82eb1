//! File operations like those of `unix.rs` for systems without folder descriptors: checks the kind of a name before
//! using it, and refuses links.
//!
//! A process that can write to the folder can still put a link there between the check and the use.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::refused::{Kind, Refused};

/// A folder, represented by its path.
pub type Handle = PathBuf;

pub fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

pub fn blocking(file: File) -> io::Result<File> {
    Ok(file)
}

pub fn open_folder(path: &Path) -> io::Result<Handle> {
    match fs::metadata(path)?.is_dir() {
        true => Ok(path.to_path_buf()),
        false => Err(io::ErrorKind::NotADirectory.into()),
    }
}

pub fn open_folder_in(folder: &Handle, name: &OsStr) -> io::Result<Handle> {
    match kind_in(folder, name)? {
        None => Err(io::ErrorKind::NotFound.into()),
        Some(Kind::Folder) => Ok(folder.join(name)),
        Some(other) => Err(Refused::NotAFolder(other).into()),
    }
}

pub fn make_folder_in(folder: &Handle, name: &OsStr) -> io::Result<()> {
    fs::create_dir(folder.join(name))
}

#[derive(Clone, Copy, Debug)]
pub enum How {
    Read,
    Change,
    New(u32),
}

pub fn open_in(folder: &Handle, name: &OsStr, how: How) -> io::Result<File> {
    if let Some(other) = kind_in(folder, name)?.filter(|kind| *kind != Kind::File) {
        return Err(Refused::NotAFile(other).into());
    }
    let mut options = OpenOptions::new();
    match how {
        How::Read => options.read(true),
        How::Change => options.read(true).write(true).create(true).truncate(false),
        How::New(_) => options.read(true).write(true).create_new(true),
    };
    options.open(folder.join(name))
}

pub fn kind_in(folder: &Handle, name: &OsStr) -> io::Result<Option<Kind>> {
    match folder.join(name).symlink_metadata() {
        Ok(found) => Ok(Some(Kind::of(found.file_type()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

pub fn has_one_name(_: &File) -> io::Result<bool> {
    Ok(true)
}

pub const DELETES_OPEN_FILES: bool = false;

pub fn has_a_name(_: &File) -> bool {
    true
}

pub fn remove_in(folder: &Handle, name: &OsStr) -> io::Result<()> {
    fs::remove_file(folder.join(name))
}

pub fn remove_folder_in(folder: &Handle, name: &OsStr) -> io::Result<()> {
    fs::remove_dir(folder.join(name))
}

pub fn rename_in(folder: &Handle, from: &OsStr, to: &OsStr) -> io::Result<()> {
    fs::rename(folder.join(from), folder.join(to))
}

pub fn on_one_disk(_: &Path, _: &Path) -> bool {
    false
}

pub fn link_in(from: &Path, folder: &Handle, name: &OsStr) -> io::Result<()> {
    fs::hard_link(from, folder.join(name))
}

pub fn names_in(folder: &Handle) -> io::Result<Vec<OsString>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

pub fn sync(_: &Handle) -> io::Result<()> {
    Ok(())
}

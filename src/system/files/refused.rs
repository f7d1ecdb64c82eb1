//! The reasons why an existing file is not read or written.

use std::fmt;
use std::fs::FileType;
use std::io;
use std::path::PathBuf;

use crate::system::hinted::Hinted;
use crate::system::quote::quoted;
use crate::system::threads::{NO_THREAD, NoThread};

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link that was not followed.
    Link,
    /// A named pipe.
    Pipe,
    /// A character device.
    Device,
    /// A disk.
    BlockDevice,
    /// A socket.
    Socket,
    /// Anything else.
    Other,
}

impl Kind {
    /// Converts the system's file type.
    pub fn of(kind: FileType) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::FileTypeExt;
            match kind {
                kind if kind.is_fifo() => return Self::Pipe,
                kind if kind.is_char_device() => return Self::Device,
                kind if kind.is_block_device() => return Self::BlockDevice,
                kind if kind.is_socket() => return Self::Socket,
                _ => {}
            }
        }
        match kind {
            kind if kind.is_file() => Self::File,
            kind if kind.is_dir() => Self::Folder,
            kind if kind.is_symlink() => Self::Link,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "a regular file",
            Self::Folder => "a folder",
            Self::Link => "a symbolic link",
            Self::Pipe => "a pipe",
            Self::Device => "a device",
            Self::BlockDevice => "a block device",
            Self::Socket => "a socket",
            Self::Other => "neither a file nor a folder",
        })
    }
}

/// The reason why an existing file is not read or written. It travels inside an [`io::Error`] and provides its text;
/// the caller's error names the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a file, where a file is read or written.
    #[error("it is {0}, not a regular file")]
    NotAFile(Kind),
    /// Not a folder, where names are looked up in it.
    #[error("it is {0}, not a folder")]
    NotAFolder(Kind),
    /// A link in a checkpoint's folder, where something is written, created or locked.
    #[error("it is a symbolic link, and nothing is written through a link in a checkpoint's folder")]
    Link,
    /// The file is larger than the limit for files of this purpose.
    #[error("it is larger than the limit of {0} bytes")]
    TooLarge(u64),
    /// The file has more bytes than its reported size, like files of `/proc`.
    #[error("it is not a regular file: it has more than its reported size of {0} bytes")]
    Endless(u64),
    /// The file has no data now and may have some later, like `/proc/kmsg`: reading it would not end.
    #[error("it is not a regular file: reading it would wait for data")]
    Waiting,
    /// A dangling link, for example in a folder that was copied without the targets of its links.
    #[error("it is a symbolic link to {}, which does not exist", quoted(&.0.to_string_lossy()))]
    LeadsNowhere(PathBuf),
}

impl Refused {
    /// Returns the `Refused` inside `error`.
    pub fn inside(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().cloned()
    }

    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Link => Some("delete the link, or put what it points to in its place".into()),
            Self::LeadsNowhere(_) => Some(
                "the link's target is missing: copy the folder with `cp -rL`, or fetch it again with `mist download`"
                    .into(),
            ),
            _ => None,
        }
    }
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        let kind = match refused {
            Refused::TooLarge(_) | Refused::Endless(_) | Refused::Waiting => io::ErrorKind::InvalidData,
            Refused::NotAFile(_) | Refused::NotAFolder(_) | Refused::Link | Refused::LeadsNowhere(_) => {
                io::ErrorKind::InvalidInput
            }
        };
        io::Error::new(kind, refused)
    }
}

impl Hinted for io::Error {
    fn hint(&self) -> Option<String> {
        match self.kind() {
            // The limit is the process's (`ulimit -f`) or the file system's, such as FAT's 4 GiB.
            io::ErrorKind::FileTooLarge => {
                Some("`ulimit -f unlimited` takes away the limit; else choose another disk".into())
            }
            _ if self.get_ref().is_some_and(|inner| inner.is::<NoThread>()) => Some(NO_THREAD.into()),
            _ => Refused::inside(self)?.hint(),
        }
    }
}

//! Files: the one room in which they are opened, for reading and for writing. (Clippy's disallowed methods forbid it
//! elsewhere.)
//!
//! | file | one idea |
//! |---|---|
//! | `read` | regular files are read, up to a limit, and nothing else is |
//! | `folder` | names in a folder are written, locked and deleted without following a link |
//! | `claim` | one process at a time writes in a folder |
//! | `replacement` | nothing that looks finished is ever incomplete |
//! | `refused` | why a file that exists is neither read nor written |
//! | `pages` | writing in pieces that the system keeps in large pages |
//! | `at` | reading and writing at a position |
//! | `unix`, `other` | the system's calls |

mod at;
mod claim;
mod folder;
mod pages;
mod read;
mod refused;
mod replacement;

#[cfg(not(unix))]
#[allow(clippy::disallowed_methods)]
#[path = "other.rs"]
mod platform;
#[cfg(unix)]
#[path = "unix.rs"]
mod platform;

use std::io;
use std::path::Path;

use crate::system::threads::{NO_THREAD, NoThread};

pub use self::at::{read_at, write_all_at};
pub use self::claim::{Claim, Unclaimed};
pub use self::folder::{Folder, folder_of, make_private};
pub use self::pages::InLargePages;
pub use self::read::{Limited, exists, explained, input, of_system, open, read, stream, utf8};
pub use self::refused::{Kind, Refused};
pub use self::replacement::{Replacement, abandoned, delete_abandoned};

/// Whether these are the bytes of the note that a clone without `git lfs` holds in place of a large file.
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs.github.com/spec/")
}

/// Bytes that a file in `folder` may still take; the nearest folder that exists is asked.
///
/// # Errors
/// What the system reports.
pub fn free_space(folder: &Path) -> io::Result<u64> {
    let existing = folder.ancestors().find(|f| f.exists() && !f.as_os_str().is_empty());
    fs4::available_space(existing.unwrap_or(Path::new(".")))
}

/// Whether the file at `path` can get a second name in `folder`, which need not exist yet, as far as can be told.
pub fn on_one_disk(path: &Path, folder: &Path) -> bool {
    let existing = folder.ancestors().find(|f| f.exists() && !f.as_os_str().is_empty());
    platform::on_one_disk(path, existing.unwrap_or(Path::new(".")))
}

/// What the user can do about an error of reading or writing a file.
pub fn hint(error: &io::Error) -> Option<String> {
    match error.kind() {
        // Of a process (`ulimit -f`), or of a file system, as FAT's of 4 GiB.
        io::ErrorKind::FileTooLarge => {
            Some("`ulimit -f unlimited` takes away the limit; else choose another disk".into())
        }
        _ if error.get_ref().is_some_and(|inner| inner.is::<NoThread>()) => Some(NO_THREAD.into()),
        _ => Refused::inside(error)?.hint(),
    }
}

//! Files: the one room in which they are opened, for reading and for writing. (Clippy's disallowed methods forbid it
//! elsewhere.)
//!
//! Knows the system's calls. Never knows what a file is for.
//!
//! | file | one idea |
//! |---|---|
//! | `read` | regular files are read, up to a limit, and nothing else is |
//! | `folder` | names in a folder are written, locked and deleted without following a link |
//! | `claim` | one process at a time writes in a folder |
//! | `replacement` | nothing that looks finished is ever incomplete |
//! | `refused` | why a file that exists is neither read nor written |
//! | `disk` | the disk that a folder is on |
//! | `pages` | writing in pieces that the system keeps in large pages |
//! | `at` | reading and writing at a position |
//! | `unix`, `other` | the system's calls |

mod at;
mod claim;
mod disk;
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

pub use self::at::{read_at, write_all_at};
pub use self::claim::{Claim, Unclaimed};
pub use self::disk::{free_space, on_one_disk};
pub use self::folder::{Folder, folder_of, make_private};
pub use self::pages::InLargePages;
pub use self::read::{
    Limited, exists, explained, input, is_lfs_pointer, of_system, open, read, stream, utf8,
};
pub use self::refused::{Kind, Refused, hint};
pub use self::replacement::{Replacement, abandoned, delete_abandoned};

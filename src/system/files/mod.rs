//! Files: opening them for reading and for writing. `clippy.toml` forbids opening files elsewhere.
//!
//! Knows about system calls, but not what a file is for.
//!
//! | file | one idea |
//! |---|---|
//! | `read` | reads regular files, up to a limit, and refuses everything else |
//! | `lines` | reads an input line by line, up to a limit each |
//! | `folder` | writes, locks and deletes files in a folder without following links |
//! | `claim` | lets one process at a time write to a folder |
//! | `replacement` | replaces a file only when the new one is complete |
//! | `refused` | why a file that exists is not read or written |
//! | `disk` | queries about the disk that a folder is on |
//! | `pages` | writes in pieces that the system keeps in large pages |
//! | `at` | reads and writes at a position |
//! | `unix`, `other` | the system's calls |

mod at;
mod claim;
mod disk;
mod folder;
mod lines;
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
pub use self::lines::Lines;
pub use self::pages::InLargePages;
pub use self::read::{
    Limited, exists, explained, input, is_lfs_pointer, of_system, open, read, stream, utf8,
};
pub use self::refused::{Kind, Refused};
pub use self::replacement::{Replacement, abandoned, delete_abandoned, is_leftover};

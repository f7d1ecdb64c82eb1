//! Queries about the disk that a folder is on.

use std::io;
use std::path::Path;

use super::platform;

/// Returns the bytes that are free for a file in `folder`. If `folder` does not exist, queries its nearest existing
/// ancestor.
///
/// # Errors
/// The system's I/O error.
pub fn free_space(folder: &Path) -> io::Result<u64> {
    let existing = folder.ancestors().find(|f| f.exists() && !f.as_os_str().is_empty());
    fs4::available_space(existing.unwrap_or(Path::new(".")))
}

/// Returns whether a hard link to the file at `path` can be created in `folder`, which need not exist yet. `false` if
/// unknown.
pub fn on_one_disk(path: &Path, folder: &Path) -> bool {
    let existing = folder.ancestors().find(|f| f.exists() && !f.as_os_str().is_empty());
    platform::on_one_disk(path, existing.unwrap_or(Path::new(".")))
}

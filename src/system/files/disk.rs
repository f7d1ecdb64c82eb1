//! The disk that a folder is on.

use std::io;
use std::path::Path;

use super::platform;

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

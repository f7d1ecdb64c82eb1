//! Reads files as every layout needs them: memory-maps large files, reads small files as text, checks file names.

use std::path::Path;

use bytes::Bytes;

use super::error::Error;
use crate::system::files::{self, is_lfs_pointer};
use crate::system::map;

/// Maximum size of a JSON file beside the weights, in bytes. Indexes of shards are the largest; a tensor takes 100
/// bytes there.
const LARGEST_JSON: u64 = 16 << 20;

/// Returns whether a name from an untrusted file stays in a folder it is joined to, on every operating system.
pub(super) fn is_plain_file_name(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
    !name.is_empty() && name != "." && name != ".." && !name.contains(forbidden)
}

/// Memory-maps a file of weights.
///
/// # Errors
/// The file cannot be mapped, is empty, or is the pointer that `git lfs` leaves in place of a large file.
pub(super) fn map_weights(path: &Path) -> Result<Bytes, Error> {
    let bytes = map::map(path).map_err(Error::read(path))?;
    if bytes.is_empty() {
        return Err(Error::malformed(path, "the file is empty"));
    }
    match is_lfs_pointer(&bytes) {
        true => Err(Error::LfsPointer(path.into())),
        false => Ok(bytes),
    }
}

/// Reads the text of a JSON file of limited size.
///
/// # Errors
/// The file cannot be read, is too large, is not UTF-8, or is a pointer that `git lfs` leaves in place of a large file.
pub(super) fn read_text(path: &Path) -> Result<String, Error> {
    let bytes = files::read(path, LARGEST_JSON).map_err(Error::read(path))?;
    if is_lfs_pointer(&bytes) {
        return Err(Error::LfsPointer(path.into()));
    }
    String::from_utf8(bytes).map_err(|_| Error::malformed(path, "is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_not_plain() {
        for name in ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "C:x", "x\n"] {
            assert!(!is_plain_file_name(name), "{name:?}");
        }
        assert!(is_plain_file_name("model-00001-of-00002.safetensors"));
    }
}

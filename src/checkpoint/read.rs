//! Files as every layout reads them: large ones mapped, small ones as text; names that come from them.

use std::path::Path;

use bytes::Bytes;

use super::error::Error;
use crate::system::files::{self, is_lfs_pointer};
use crate::system::map;

/// Largest JSON file beside the weights. The largest are indexes, of 100 bytes a tensor.
const LARGEST_JSON: u64 = 16 << 20;

/// Whether a name from a file can be joined to a folder and stay in it, on every system.
pub(super) fn is_plain_file_name(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
    !name.is_empty() && name != "." && name != ".." && !name.contains(forbidden)
}

/// The bytes of a file of weights, mapped.
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

/// A JSON file's text, of a sane size.
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

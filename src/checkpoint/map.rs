//! Memory maps of files.

use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

use super::error::Error;
use crate::system::files::{self, is_lfs_pointer};
use crate::system::signals::{Watched, watch};

/// A map that is watched as long as it is one: the fields are dropped in this order.
struct WatchedMap {
    _watched: Watched,
    map: Mmap,
}

impl AsRef<[u8]> for WatchedMap {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

/// Maps a whole file for reading. The bytes stay mapped as long as any slice of them lives.
///
/// # Errors
/// The file is no regular one, cannot be opened or mapped, or it is the pointer that `git lfs` leaves in place of a large file.
pub fn map(path: &Path) -> Result<Bytes, Error> {
    let file = files::open(path).map_err(Error::read(path))?;
    if file.metadata().map_err(Error::read(path))?.len() == 0 {
        return Err(Error::malformed(path, "the file is empty"));
    }
    // SAFETY: the map is read-only. A file that another process truncates or rewrites meanwhile would break
    // the promise that the bytes do not change; our own writers never do that: they write to a temporary name
    // and rename, which leaves the mapped file as it was. Everything read from it is checked as untrusted, and pages
    // that are cut off end the process (see `signals`).
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) }.map_err(Error::read(path))?;
    // Large pages where the file system has them; what it says otherwise does not matter.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    let bytes = Bytes::from_owner(WatchedMap { _watched: watch(path, &map), map });
    match is_lfs_pointer(&bytes) {
        true => Err(Error::LfsPointer(path.into())),
        false => Ok(bytes),
    }
}

//! Memory maps of files.

use std::io;
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

use super::files;
use super::signals::{Watched, watch};

/// A map that is watched while it exists: the fields are dropped in this order.
struct WatchedMap {
    _watched: Watched,
    map: Mmap,
}

impl AsRef<[u8]> for WatchedMap {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

/// Maps a whole file for reading. The bytes stay mapped while any slice of them lives. An empty file gives an empty
/// slice.
///
/// # Errors
/// The file is not a regular file, or cannot be opened or mapped.
pub fn map(path: &Path) -> io::Result<Bytes> {
    let file = files::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the map is read-only. If another process truncated or rewrote the file, the bytes would change, which the
    // contract of `Mmap::map` forbids. Our own writers never do that: they write under a temporary name and rename,
    // which leaves the mapped file as it was. All data from the map is validated as untrusted, and an access to
    // truncated pages ends the process (see `signals`).
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) }?;
    // Uses large pages if the file system has them; the result does not matter.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    Ok(Bytes::from_owner(WatchedMap { _watched: watch(path, &map), map }))
}

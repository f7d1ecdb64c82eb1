//! Memory maps of files.

use std::io;
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

use super::files;
use super::signals::{Watched, watch};

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

/// Maps a whole file for reading. The bytes stay mapped as long as any slice of them lives. An empty file has none.
///
/// # Errors
/// The file is no regular one, or cannot be opened or mapped.
pub fn map(path: &Path) -> io::Result<Bytes> {
    let file = files::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the map is read-only. A file that another process truncates or rewrites meanwhile would break
    // the promise that the bytes do not change; our own writers never do that: they write to a temporary name
    // and rename, which leaves the mapped file as it was. Everything read from it is checked as untrusted, and pages
    // that are cut off end the process (see `signals`).
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) }?;
    // Large pages where the file system has them; what it says otherwise does not matter.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    Ok(Bytes::from_owner(WatchedMap { _watched: watch(path, &map), map }))
}

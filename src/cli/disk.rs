//! What a process has read from disks.

use std::path::Path;

use mist::system::files::of_system;

/// Bytes that were read from disks up to a moment, pages of mapped files among them.
#[derive(Clone, Copy)]
pub struct BytesRead(Option<u64>);

impl BytesRead {
    /// Up to now.
    pub fn now() -> Self {
        Self(read())
    }

    /// What was read since for each of so many tokens; `None` where there are none, or where the system does not tell.
    pub fn a_token(self, tokens: usize) -> Option<f64> {
        let since = read()?.saturating_sub(self.0?);
        (tokens > 0).then(|| since as f64 / tokens as f64)
    }
}

/// Linux keeps the count; other systems have no such file.
fn read() -> Option<u64> {
    let text = of_system(Path::new("/proc/self/io")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("read_bytes:"))?.trim().parse().ok()
}

//! Reports the system's statistics of this process: its peak of anonymous memory, the part of its maps in large pages,
//! and the bytes read from disks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::files::of_system;
use super::threads;

/// Records the peak of the process's anonymous memory. The system does not, so a thread polls every few milliseconds.
#[derive(Debug)]
pub struct PeakMemory(Arc<AtomicU64>);

impl PeakMemory {
    /// Begins to record, with a polling interval of 5 ms.
    pub fn watch() -> Self {
        Self::watch_every(Duration::from_millis(5))
    }

    /// Begins to record, with this polling interval. Each poll costs some tens of microseconds of the measured time.
    pub fn watch_every(interval: Duration) -> Self {
        let peak = Arc::new(AtomicU64::new(0));
        let watched = Arc::downgrade(&peak);
        let look = move || {
            while let Some(peak) = watched.upgrade() {
                peak.fetch_max(anonymous_bytes().unwrap_or(0), Ordering::Relaxed);
                drop(peak);
                thread::sleep(interval);
            }
        };
        // If the thread cannot start, only calls of `bytes` update the peak.
        let _ = threads::builder("memory", threads::STACK).and_then(|thread| thread.spawn(look));
        Self(peak)
    }

    /// Returns the peak so far in bytes; `None` if the system does not report anonymous memory.
    pub fn bytes(&self) -> Option<u64> {
        let now = anonymous_bytes()?;
        Some(self.0.fetch_max(now, Ordering::Relaxed).max(now))
    }
}

/// Returns `RssAnon` (Linux). Other systems do not distinguish it from mapped files.
fn anonymous_bytes() -> Option<u64> {
    let status = of_system(Path::new("/proc/self/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// Returns the fraction of mapped weights that is in large pages; `None` if no file is mapped with the hint for large
/// pages, or if the system does not report it (Linux does).
///
/// Pages that were read while little memory was free stay small as long as they are in memory.
pub fn in_large_pages() -> Option<f64> {
    large_pages_of(&of_system(Path::new("/proc/self/smaps")).ok()?)
}

/// Computes the fraction from the text of `/proc/self/smaps`. The flags of a map, in its last line, include `hg` if
/// large pages were requested.
fn large_pages_of(maps: &str) -> Option<f64> {
    let (mut all, mut large) = (0, 0);
    let mut total = [0, 0];
    for line in maps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            // Anonymous memory belongs to no file.
            ["Anonymous:", kibibytes, _] if kibibytes != "0" => all = 0,
            ["Rss:", kibibytes, _] => all = kibibytes.parse().ok()?,
            ["FilePmdMapped:", kibibytes, _] => large = kibibytes.parse().ok()?,
            ["VmFlags:", ..] if words.contains(&"hg") => total = [total[0] + all, total[1] + large],
            _ => {}
        }
    }
    let [all, large] = total;
    (all > 0).then(|| large as f64 / all as f64)
}

/// The number of bytes read from disks up to a moment, including pages of mapped files.
#[derive(Clone, Copy, Debug)]
pub struct BytesRead(Option<u64>);

impl BytesRead {
    /// Returns the number of bytes read up to now.
    pub fn now() -> Self {
        Self(bytes_read())
    }

    /// Returns the bytes read since then per token; `None` if `tokens` is 0 or the system does not report it.
    pub fn a_token(self, tokens: usize) -> Option<f64> {
        let since = bytes_read()?.saturating_sub(self.0?);
        (tokens > 0).then(|| since as f64 / tokens as f64)
    }
}

/// Returns the count that Linux keeps; other systems have no such file.
fn bytes_read() -> Option<u64> {
    let text = of_system(Path::new("/proc/self/io")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("read_bytes:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pages_are_those_of_maps_for_which_they_were_asked() {
        let map = |rss: u64, anonymous: u64, large: u64, flags: &str| {
            format!(
                "7f00-7f40 r--s 00000000 fe:00 12 /a\nSize: 9 kB\nRss:   {rss} kB\nAnonymous: {anonymous} kB\n\
                 AnonHugePages: {anonymous} kB\nFilePmdMapped:  {large} kB\nVmFlags: rd mr {flags} \n"
            )
        };
        let (weights, copies) = (map(6000, 0, 2048, "hg"), map(4096, 4096, 0, "ac hg"));
        let program = map(8000, 0, 0, "sd");
        let maps = format!("{weights}{program}{copies}{weights}");
        assert_eq!(large_pages_of(&maps), Some(2048.0 / 6000.0));
        assert_eq!(large_pages_of(&format!("{program}{copies}")), None);
    }
}

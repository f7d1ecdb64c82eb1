//! What the system reports of this process: the peak of its memory, file-backed pages not counted; how much of its maps is in
//! large pages; bytes read from disks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::files::of_system;
use super::threads;

/// Watches the process's anonymous memory. The system keeps no peak of it, so a thread looks every few
/// milliseconds.
#[derive(Debug)]
pub struct PeakMemory(Arc<AtomicU64>);

impl PeakMemory {
    /// Begins to watch.
    pub fn watch() -> Self {
        Self::watch_every(Duration::from_millis(5))
    }

    /// Begins to watch, looking so often: a look takes some tens of microseconds from what is measured.
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
        // Without another thread the peak is that of the moments at which it is asked for.
        let _ = threads::builder("memory", threads::STACK).and_then(|thread| thread.spawn(look));
        Self(peak)
    }

    /// The peak so far in bytes; `None` where the system does not report it.
    pub fn bytes(&self) -> Option<u64> {
        let now = anonymous_bytes()?;
        Some(self.0.fetch_max(now, Ordering::Relaxed).max(now))
    }
}

/// `RssAnon` of Linux; other systems do not tell it apart from mapped files.
fn anonymous_bytes() -> Option<u64> {
    let status = of_system(Path::new("/proc/self/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// The part of the mapped files for which large pages were asked, the weights, that is in such pages; `None` where none is
/// mapped, or the system does not report it (Linux does). What came to memory while little of it was free lies in small pages for
/// as long as it stays there.
pub fn in_large_pages() -> Option<f64> {
    large_pages_of(&of_system(Path::new("/proc/self/smaps")).ok()?)
}

/// The same from the system's list of maps: lines of numbers, the last with `hg` among its flags if large pages were asked for.
fn large_pages_of(maps: &str) -> Option<f64> {
    let (mut all, mut large) = (0, 0);
    let mut total = [0, 0];
    for line in maps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            // Anonymous memory is in no file.
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

/// Bytes that were read from disks up to a moment, pages of mapped files among them.
#[derive(Clone, Copy, Debug)]
pub struct BytesRead(Option<u64>);

impl BytesRead {
    /// Up to now.
    pub fn now() -> Self {
        Self(bytes_read())
    }

    /// What was read since for each of so many tokens; `None` where there are none, or where the system does not report it.
    pub fn a_token(self, tokens: usize) -> Option<f64> {
        let since = bytes_read()?.saturating_sub(self.0?);
        (tokens > 0).then(|| since as f64 / tokens as f64)
    }
}

/// Linux keeps the count; other systems have no such file.
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

//! The peak of this process's memory, file-backed pages not counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Watches the process's anonymous memory. The system keeps no peak of it, so a thread looks every few
/// milliseconds.
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
        thread::spawn(move || {
            while let Some(peak) = watched.upgrade() {
                peak.fetch_max(anonymous_bytes().unwrap_or(0), Ordering::Relaxed);
                drop(peak);
                thread::sleep(interval);
            }
        });
        Self(peak)
    }

    /// The peak so far in bytes; `None` where the system does not tell.
    pub fn bytes(&self) -> Option<u64> {
        let now = anonymous_bytes()?;
        Some(self.0.fetch_max(now, Ordering::Relaxed).max(now))
    }
}

/// `RssAnon` of Linux; other systems do not tell it apart from mapped files.
fn anonymous_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

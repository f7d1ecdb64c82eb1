//! Reports of a download's progress.

use super::FileName;
use super::plan::DownloadPlan;

/// Receives a download's progress on the caller's thread: first [`plan`](Self::plan), then for each file
/// [`begin`](Self::begin), any number of [`progress`](Self::progress), and [`end`](Self::end). Several files are fetched at
/// a time.
pub trait DownloadReport {
    /// Reports the plan, before any file is fetched.
    fn plan(&mut self, plan: &DownloadPlan);
    /// Begins a file of `size` bytes, `here` of which are on disk.
    fn begin(&mut self, file: &FileName, size: u64, here: u64);
    /// Reports the number of the file's bytes on disk. It falls if the file was damaged and is fetched again.
    fn progress(&mut self, file: &FileName, here: u64);
    /// Ends a file that is complete, or that must be fetched again.
    fn end(&mut self, file: &FileName);
    /// Reports a message for the user.
    fn note(&mut self, line: &str);
}

/// A report that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct SilentDownload;

impl DownloadReport for SilentDownload {
    fn plan(&mut self, _: &DownloadPlan) {}
    fn begin(&mut self, _: &FileName, _: u64, _: u64) {}
    fn progress(&mut self, _: &FileName, _: u64) {}
    fn end(&mut self, _: &FileName) {}
    fn note(&mut self, _: &str) {}
}

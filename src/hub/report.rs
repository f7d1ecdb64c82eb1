//! What a download tells whoever watches it.

use super::FileName;
use super::plan::Plan;

/// Hears how a download goes, on the thread that asked for it: [`plan`](Self::plan) first, then for each file
/// [`begin`](Self::begin), any number of [`progress`](Self::progress) and [`end`](Self::end). Several files are under
/// way at a time.
pub trait Report {
    /// What will be fetched; nothing has been yet.
    fn plan(&mut self, plan: &Plan);
    /// A file of `size` bytes is looked at or fetched from now on; `here` bytes of it are here.
    fn begin(&mut self, file: &FileName, size: u64, here: u64);
    /// `here` bytes of the file are here. Fewer than before when it came wrong and begins anew.
    fn progress(&mut self, file: &FileName, here: u64);
    /// The file is whole, or will be fetched after all.
    fn end(&mut self, file: &FileName);
    /// Something that a person may want to know, in one line.
    fn note(&mut self, line: &str);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Report for Silent {
    fn plan(&mut self, _: &Plan) {}
    fn begin(&mut self, _: &FileName, _: u64, _: u64) {}
    fn progress(&mut self, _: &FileName, _: u64) {}
    fn end(&mut self, _: &FileName) {}
    fn note(&mut self, _: &str) {}
}

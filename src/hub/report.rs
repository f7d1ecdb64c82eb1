//! What a download tells whoever watches it.

use super::plan::Plan;

/// Hears how a download goes. Called on the thread that downloads, in this order: [`plan`](Self::plan)
/// once, then for each file [`file`](Self::file) and any number of [`bytes`](Self::bytes).
pub trait Report {
    /// What will be fetched; nothing has been yet.
    fn plan(&mut self, plan: &Plan);
    /// A file of `size` bytes is looked at or fetched now.
    fn file(&mut self, name: &str, size: u64);
    /// `n` more bytes of the current file are here, or were found to be here.
    fn bytes(&mut self, n: u64);
    /// Something that a person may want to know, in one line.
    fn note(&mut self, line: &str);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Report for Silent {
    fn plan(&mut self, _: &Plan) {}
    fn file(&mut self, _: &str, _: u64) {}
    fn bytes(&mut self, _: u64) {}
    fn note(&mut self, _: &str) {}
}

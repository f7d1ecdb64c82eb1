//! The receiver of messages and progress while a model is opened.

/// Receives messages and progress while a model is opened, converted and loaded.
///
/// All calls are on the caller's thread. Every method has a default that does nothing.
pub trait Report {
    /// Receives a line for the user: a decision, or the path of a written file.
    fn note(&mut self, _line: &str) {}
    /// Receives a line with details, which the command shows with `--verbose`.
    fn detail(&mut self, _line: &str) {}
    /// Receives a warning.
    fn warn(&mut self, _line: &str) {}
    /// Begins a step of `total` parts. Each step ends before the next begins.
    fn begin(&mut self, _step: Step, _total: u64) {}
    /// Advances the step by `parts`.
    fn progress(&mut self, _parts: u64) {}
    /// Ends the step, complete or not.
    fn end(&mut self) {}
    /// Returns whether a conversion has to stop. It is called many times per second. A stopped conversion leaves no files.
    fn is_stopped(&mut self) -> bool {
        false
    }
}

/// A step that takes long enough for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Loads weights to their devices; the parts are layers.
    Loading,
    /// Writes a conversion; the parts are bytes of weights.
    Converting,
    /// Reads a conversion and compares it with its originals; the parts are bytes of weights.
    Verifying,
}

impl Step {
    /// Returns the name of the step, such as `Loading`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loading => "Loading",
            Self::Converting => "Converting",
            Self::Verifying => "Verifying",
        }
    }
}

/// A report that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Report for Silent {}

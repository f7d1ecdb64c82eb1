//! Reports of what is done while a model is opened.

/// Receives, on the caller's thread, what happens while a model is opened, converted and loaded. Every method has a default
/// that does nothing.
pub trait Report {
    /// A line for a person: a decision, or where something was written.
    fn note(&mut self, _line: &str) {}
    /// A line for a person who wants to know more.
    fn detail(&mut self, _line: &str) {}
    /// A line about something that may not be as it is meant.
    fn warn(&mut self, _line: &str) {}
    /// Begins a step of `total` parts. It ends before another begins.
    fn begin(&mut self, _step: Step, _total: u64) {}
    /// So many more parts of the step are done.
    fn progress(&mut self, _parts: u64) {}
    /// Ends the step, done or not.
    fn end(&mut self) {}
    /// Whether a conversion has to stop: it is asked many times a second, and what was begun then leaves nothing behind.
    fn is_stopped(&mut self) -> bool {
        false
    }
}

/// A long piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Weights go to their devices; its parts are layers.
    Loading,
    /// A conversion is written; its parts are bytes of weights.
    Converting,
    /// A conversion is read again and compared with its originals; its parts are bytes of weights.
    Verifying,
}

impl Step {
    /// The step in a word, such as `Loading`.
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

//! Writes generated text to stdout in pieces.

use std::io;
use std::ops::ControlFlow;

use super::filter::EscapeFilter;
use super::printer::Printer;
use super::tokens::TokenProgress;

/// Writes the pieces of a text to stdout, escaped on a terminal.
#[derive(Debug)]
pub struct Output<'a> {
    shown: Shown<'a>,
    /// Actions before the first output.
    before: Before<'a>,
}

/// Actions before the first output. They wait for the first piece, because the progress of prefill uses the same line.
#[derive(Debug, Default)]
struct Before<'a> {
    progress: Option<&'a TokenProgress>,
    label: &'a str,
    echo: &'a str,
}

/// The text so far and its output.
#[derive(Debug)]
struct Shown<'a> {
    printer: &'a Printer,
    filter: Option<EscapeFilter>,
    /// Whether the text is only collected, for example for JSON.
    collects: bool,
    text: String,
    /// The error in writing to stdout.
    failed: Option<io::Error>,
}

impl<'a> Output<'a> {
    /// Creates an output that shows pieces immediately, or only collects them (`collects`).
    pub fn new(collects: bool, printer: &'a Printer) -> Self {
        let filter = printer.stdout_is_terminal().then(EscapeFilter::default);
        let shown = Shown { printer, filter, collects, text: String::new(), failed: None };
        Self { shown, before: Before::default() }
    }

    /// Removes `progress` before the first output.
    pub fn after(mut self, progress: &'a TokenProgress) -> Self {
        self.before.progress = Some(progress);
        self
    }

    /// Shows `label` before the text. The label is not part of the text.
    pub fn labelled(mut self, label: &'a str) -> Self {
        self.before.label = label;
        self
    }

    /// Begins the text with `echo`, such as the prompt.
    pub fn echoing(mut self, echo: &'a str) -> Self {
        self.before.echo = echo;
        self
    }

    /// Removes the progress line and shows the label and the echo, once.
    fn begin(&mut self) {
        let Before { progress, label, echo } = std::mem::take(&mut self.before);
        if let Some(progress) = progress {
            progress.clear();
        }
        if !label.is_empty() && self.shown.failed.is_none() {
            self.shown.failed = self.shown.printer.data(label).err();
        }
        if !echo.is_empty() {
            self.shown.write(echo);
        }
    }

    /// Adds a piece, which may be empty. Breaks if stdout cannot be written to.
    pub fn push(&mut self, piece: &str) -> ControlFlow<()> {
        self.begin();
        self.shown.write(piece);
        match self.shown.failed.is_some() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Shows a collected text followed by `end`.
    ///
    /// # Errors
    /// stdout cannot be written to.
    pub fn show(mut self, end: &str) -> io::Result<()> {
        self.begin();
        let mut shown = self.shown;
        let filter = shown.filter.as_mut();
        let filtered = filter.map(|filter| filter.filter(&shown.text).into_owned() + filter.finish());
        shown.printer.data(&format!("{}{end}", filtered.as_ref().unwrap_or(&shown.text)))
    }

    /// Shows `end` after the text unless it is only collected. Returns the whole text, not escaped.
    ///
    /// # Errors
    /// This or an earlier write to stdout fails.
    pub fn finish(mut self, end: &str) -> io::Result<String> {
        self.begin();
        let mut shown = self.shown;
        if let Some(error) = shown.failed {
            return Err(error);
        }
        if !shown.collects {
            let held = shown.filter.as_mut().map_or("", EscapeFilter::finish);
            shown.printer.data(&format!("{held}{end}"))?;
        }
        Ok(shown.text)
    }
}

impl Shown<'_> {
    fn write(&mut self, piece: &str) {
        self.text.push_str(piece);
        if self.collects || self.failed.is_some() {
            return;
        }
        let shown = self.filter.as_mut().map_or(piece.into(), |filter| filter.filter(piece));
        self.failed = self.printer.data(&shown).err();
    }
}

//! Text that comes in pieces, on its way to stdout.

use std::io;
use std::ops::ControlFlow;

use super::filter::EscapeFilter;
use super::printer::Printer;
use super::tokens::TokenProgress;

/// One text: from pieces to stdout as they come, made safe where a person reads it.
#[derive(Debug)]
pub struct Output<'a> {
    shown: Shown<'a>,
    /// What happens before anything is shown.
    before: Before<'a>,
}

/// What the text waits for: while a prompt is computed the line of its progress must have the line to itself.
#[derive(Debug, Default)]
struct Before<'a> {
    progress: Option<&'a TokenProgress>,
    label: &'a str,
    echo: &'a str,
}

/// What became of the text so far.
#[derive(Debug)]
struct Shown<'a> {
    printer: &'a Printer,
    filter: Option<EscapeFilter>,
    /// Nothing is shown before the end, as for JSON.
    collects: bool,
    text: String,
    /// Why stdout could not be written to.
    failed: Option<io::Error>,
}

impl<'a> Output<'a> {
    /// A text that is shown as it comes, or (`collects`) not at all.
    pub fn new(collects: bool, printer: &'a Printer) -> Self {
        let filter = printer.stdout_is_terminal().then(EscapeFilter::default);
        let shown = Shown { printer, filter, collects, text: String::new(), failed: None };
        Self { shown, before: Before::default() }
    }

    /// Takes `progress` away before anything is shown.
    pub fn after(mut self, progress: &'a TokenProgress) -> Self {
        self.before.progress = Some(progress);
        self
    }

    /// Shows `label` before the text; it is no part of it.
    pub fn labelled(mut self, label: &'a str) -> Self {
        self.before.label = label;
        self
    }

    /// Begins with `echo`, which the model did not write, such as the prompt.
    pub fn echoing(mut self, echo: &'a str) -> Self {
        self.before.echo = echo;
        self
    }

    /// The prompt is computed.
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

    /// Takes the next piece, which may be empty; breaks when stdout cannot be written to.
    pub fn push(&mut self, piece: &str) -> ControlFlow<()> {
        self.begin();
        self.shown.write(piece);
        match self.shown.failed.is_some() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Shows a collected text at once, and `end` behind it.
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

    /// Shows `end` behind what was shown; the whole text, as the model wrote it.
    ///
    /// # Errors
    /// stdout could not be written to, now or before.
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

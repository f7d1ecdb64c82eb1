//! Shows the opening of a model on stderr: messages, and a bar for each step.

use std::sync::atomic::Ordering;

use super::interrupt::{Interrupt, InterruptError, Listening};
use super::printer::Printer;
use super::progress::Progress;
use crate::runtime::{Report, Step};

/// Shows messages and progress on stderr while a model is opened, converted and loaded.
#[derive(Debug)]
pub struct Running<'a> {
    printer: &'a Printer,
    bar: Option<Progress>,
    /// The handler by which Ctrl-C stops a conversion; `None` if Ctrl-C ends the process.
    interrupt: Option<(Interrupt, Listening)>,
}

impl<'a> Running<'a> {
    /// Creates a report during which Ctrl-C ends the process.
    pub fn new(printer: &'a Printer) -> Self {
        Self { printer, bar: None, interrupt: None }
    }

    /// Creates a report during which Ctrl-C stops a conversion, which then leaves no files.
    ///
    /// # Errors
    /// The handler of Ctrl-C cannot be installed.
    pub fn stoppable(printer: &'a Printer) -> Result<Self, InterruptError> {
        let interrupt = Interrupt::install()?;
        let listening = interrupt.listen();
        Ok(Self { printer, bar: None, interrupt: Some((interrupt, listening)) })
    }
}

impl Report for Running<'_> {
    fn note(&mut self, line: &str) {
        self.printer.note(line);
    }

    fn detail(&mut self, line: &str) {
        self.printer.detail(line);
    }

    fn warn(&mut self, line: &str) {
        self.printer.warn(line);
    }

    fn begin(&mut self, step: Step, total: u64) {
        self.bar = Some(match step {
            Step::Loading => self.printer.steps_bar(step.name(), total),
            Step::Converting | Step::Verifying => self.printer.bytes_bar(step.name(), total),
        });
    }

    fn progress(&mut self, parts: u64) {
        self.bar.iter().for_each(|bar| bar.add(parts));
    }

    fn end(&mut self) {
        self.bar = None;
    }

    fn is_stopped(&mut self) -> bool {
        self.interrupt.as_ref().is_some_and(|(interrupt, _)| interrupt.flag().load(Ordering::Relaxed))
    }
}

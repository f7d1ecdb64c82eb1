//! What the library reports, on stderr.

use std::sync::atomic::Ordering;

use mist::runtime::{Report, Step};
use mist::terminal::{Interrupt, InterruptError, Listening, Printer, Progress};

/// Shows what is done while a model is opened, converted and loaded.
pub struct Running<'a> {
    printer: &'a Printer,
    bar: Option<Progress>,
    /// Ctrl-C stops what is done.
    interrupt: Option<(Interrupt, Listening)>,
}

impl<'a> Running<'a> {
    /// Where Ctrl-C ends the process.
    pub fn new(printer: &'a Printer) -> Self {
        Self { printer, bar: None, interrupt: None }
    }

    /// Where Ctrl-C stops a conversion, which then leaves nothing behind.
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

//! Generated text on its way out, and the line about its speed.

use std::io;
use std::ops::ControlFlow;

use indicatif::HumanBytes;
use mist::checkpoint::Checkpoint;
use mist::generate::{TextStream, Timings};
use mist::placement;
use mist::terminal::{EscapeFilter, Printer};

/// One text: from ids to stdout as they come, made safe where a person reads it.
pub struct Output<'a> {
    stream: TextStream,
    shown: Shown<'a>,
}

/// What became of the text so far.
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
    pub fn new(stream: TextStream, collects: bool, printer: &'a Printer) -> Self {
        let filter = printer.stdout_is_terminal().then(EscapeFilter::default);
        Self { stream, shown: Shown { printer, filter, collects, text: String::new(), failed: None } }
    }

    /// Takes the next id; breaks when a stop text was found or stdout cannot be written to.
    pub fn push(&mut self, id: u32) -> ControlFlow<()> {
        self.shown.write(self.stream.push(id));
        match self.stream.stopped() || self.shown.failed.is_some() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Whether a stop text was found.
    pub fn stopped(&self) -> bool {
        self.stream.stopped()
    }

    /// Text that did not come from ids, such as the prompt.
    pub fn write(&mut self, piece: &str) {
        self.shown.write(piece);
    }

    /// Shows a collected text at once, and `end` behind it.
    ///
    /// # Errors
    /// stdout cannot be written to.
    pub fn show(self, end: &str) -> io::Result<()> {
        let Self { mut stream, mut shown } = self;
        shown.write(stream.finish());
        let filter = shown.filter.as_mut();
        let filtered = filter.map(|filter| filter.filter(&shown.text).into_owned() + filter.finish());
        shown.printer.data(&format!("{}{end}", filtered.as_ref().unwrap_or(&shown.text)))
    }

    /// Shows what was held back, and `end` behind it; the whole text, as the model wrote it.
    ///
    /// # Errors
    /// stdout could not be written to, now or before.
    pub fn finish(self, end: &str) -> io::Result<String> {
        let Self { mut stream, mut shown } = self;
        shown.write(stream.finish());
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

/// The line about what decoding reads, where a token does not read all weights, or reads some of them from the disk.
pub fn note_reading(checkpoint: &Checkpoint, disk_a_token: Option<f64>, printer: &Printer) {
    let disk = disk_a_token.filter(|bytes| *bytes >= 1.0);
    if checkpoint.config.experts.is_none() && disk.is_none() {
        return;
    }
    let weights = HumanBytes(placement::bytes_per_token(checkpoint));
    let disk =
        disk.map_or(String::new(), |bytes| format!(", {} of them from the disk", HumanBytes(bytes as u64)));
    printer.note(&format!("A token reads {weights} of weights{disk}."));
}

/// So many of something, in words: `1 token`, `2 tokens`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The line about a generation's speed.
pub fn note_timings(timings: &Timings, printer: &Printer) {
    let cached = match timings.cached_tokens {
        0 => String::new(),
        tokens => format!(" ({tokens} more in the cache)"),
    };
    printer.note(&format!(
        "Prompt: {}, {:.2} tokens/s{cached}. Generated: {}, {:.2} tokens/s. First token after {:.2} s.",
        counted(timings.prompt_tokens, "token"),
        timings.prompt_rate(),
        counted(timings.generated_tokens, "token"),
        timings.generate_rate(),
        timings.first_token.as_secs_f64(),
    ));
}

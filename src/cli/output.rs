//! Generated text on its way out, and the line about its speed.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use indicatif::HumanBytes;
use mist::checkpoint::open::Checkpoint;
use mist::generate::{Timings, Watch};
use mist::placement;
use mist::system::quote::counted;
use mist::terminal::{EscapeFilter, Interrupt, Printer, TokenProgress};

/// One text: from pieces to stdout as they come, made safe where a person reads it.
pub struct Output<'a> {
    shown: Shown<'a>,
    /// What happens before anything is shown.
    before: Before<'a>,
}

/// What the text waits for: while a prompt is computed the line of its progress must have the line to itself.
#[derive(Default)]
struct Before<'a> {
    progress: Option<&'a TokenProgress>,
    label: &'a str,
    echo: &'a str,
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

/// Shows how far prompts are on `progress`, and ends computing at Ctrl-C.
pub fn watch(interrupt: &Interrupt, progress: &Arc<TokenProgress>) -> Watch {
    let (flag, progress) = (interrupt.flag(), progress.clone());
    Watch::new(move || flag.load(Ordering::Relaxed), move |done, all| progress.report(done, all))
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

/// The line about a generation's speed; nothing where it was interrupted before the prompt was computed.
pub fn note_timings(timings: &Timings, printer: &Printer) {
    if timings.prompt_tokens > 0 {
        printer.note(&about(timings));
    }
}

/// What there is to say of a generation's speed: no rate of nothing.
fn about(timings: &Timings) -> String {
    let tokens = |count, rate: Option<f64>| {
        let rate = rate.map_or(String::new(), |rate| format!(", {}", per_second(rate)));
        format!("{}{rate}", counted(count, "token"))
    };
    let cached = match timings.cached_tokens {
        0 => String::new(),
        tokens => format!(" ({tokens} more in the cache)"),
    };
    let first = match timings.generated_tokens {
        0 => String::new(),
        _ => format!(" First token after {:.2} s.", timings.first_token.as_secs_f64()),
    };
    format!(
        "Prompt: {}{cached}. Generated: {}.{first}",
        tokens(timings.prompt_tokens, timings.prompt_rate()),
        tokens(timings.generated_tokens, timings.generate_rate()),
    )
}

/// A rate in words: of a model so slow that two digits say nothing, the time of a token.
pub fn per_second(rate: f64) -> String {
    match rate < 0.05 {
        true => format!("{:.0} s a token", 1.0 / rate),
        false => format!("{rate:.2} tokens/s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_of_nothing_are_not_shown() {
        let timings = |prompt_tokens, cached_tokens, generated_tokens| Timings {
            prompt_tokens,
            cached_tokens,
            prompt: Duration::from_secs(2),
            generated_tokens,
            generate: Duration::from_secs(if generated_tokens == 1 { 0 } else { 4 }),
            first_token: Duration::from_secs(3),
        };
        let line = |prompt, cached, generated| about(&timings(prompt, cached, generated));
        let rest = "Generated: 9 tokens, 2.00 tokens/s. First token after 3.00 s.";
        assert_eq!(line(4, 0, 9), format!("Prompt: 4 tokens, 2.00 tokens/s. {rest}"));
        assert_eq!(line(1, 7, 9), format!("Prompt: 1 token, 0.50 tokens/s (7 more in the cache). {rest}"));
        let prompt = "Prompt: 4 tokens, 2.00 tokens/s.";
        assert_eq!(line(4, 0, 1), format!("{prompt} Generated: 1 token. First token after 3.00 s."));
        assert_eq!(line(4, 0, 0), format!("{prompt} Generated: 0 tokens."));
        let at_once = Timings { prompt: Duration::ZERO, ..timings(4, 0, 0) };
        assert_eq!(about(&at_once), "Prompt: 4 tokens. Generated: 0 tokens.");
    }

    #[test]
    fn a_slow_rate_is_not_rounded_to_nothing() {
        let rates = [123.456, 0.05, 0.004].map(per_second);
        assert_eq!(rates, ["123.46 tokens/s", "0.05 tokens/s", "250 s a token"]);
    }
}

//! The only way to stdout and stderr. stdout is data; stderr is everything else.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};

use super::progress::{self, Bars, Progress};
use super::shared::Shared;
use super::table::Table;
use super::tokens::TokenProgress;
use crate::system::environment::{self, NO_COLOR, TERM};

/// Most bytes of a line on stderr: messages quote names from files and servers, which may be of any length.
const LONGEST_LINE: usize = 1 << 10;

/// Bytes of a long line that are written at once.
const PIECE: usize = 64 << 10;

/// Names the stream in its error: the system names no file.
fn on_stdout(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write to stdout: {error}"))
}

/// How much goes to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verbosity {
    Quiet,
    Default,
    Verbose,
}

/// Writes data to stdout and everything else to stderr, as `--quiet`, `--verbose` and `NO_COLOR` ask.
#[derive(Clone, Debug)]
pub struct Printer {
    verbosity: Verbosity,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    /// Whether the terminal on stderr obeys codes that move its cursor.
    obeys_codes: bool,
    stdout_is_coloured: bool,
    stderr_is_coloured: bool,
    shared: Shared,
}

impl Printer {
    /// A printer for this process's streams. `quiet` wins over `verbose`.
    pub fn new(quiet: bool, verbose: bool) -> Self {
        let takes_codes =
            |is_terminal| is_terminal && environment::value(TERM).is_none_or(|term| term != "dumb");
        let verbosity = match (quiet, verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Default,
        };
        let (stdout_is_terminal, stderr_is_terminal) =
            (io::stdout().is_terminal(), io::stderr().is_terminal());
        let is_coloured = |is_terminal| takes_codes(is_terminal) && environment::value(NO_COLOR).is_none();
        Self {
            verbosity,
            stdout_is_terminal,
            stderr_is_terminal,
            obeys_codes: takes_codes(stderr_is_terminal),
            stdout_is_coloured: is_coloured(stdout_is_terminal),
            stderr_is_coloured: is_coloured(stderr_is_terminal),
            shared: Shared::new(),
        }
    }

    /// Whether a person reads stdout.
    pub fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// Whether what stdout gets may have colours.
    pub fn stdout_is_coloured(&self) -> bool {
        self.stdout_is_coloured
    }

    /// Whether what stderr gets may have colours.
    pub fn stderr_is_coloured(&self) -> bool {
        self.stderr_is_coloured
    }

    /// Characters in a line of the terminal on stdout, where there is one that tells.
    pub fn stdout_columns(&self) -> Option<usize> {
        let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
        Some(usize::from(width.0))
    }

    /// Whether `--quiet` was given.
    pub fn is_quiet(&self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    /// Results: `text` to stdout as it is, flushed.
    ///
    /// # Errors
    /// What the stream reports; a closed pipe is [`io::ErrorKind::BrokenPipe`].
    pub fn data(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        self.shared.wrote(text);
        written.map_err(on_stdout)
    }

    /// A result on a line of its own, such as a JSON object.
    ///
    /// # Errors
    /// Those of [`data`](Self::data).
    pub fn result(&self, result: impl Display) -> io::Result<()> {
        self.data(&format!("{result}\n"))
    }

    /// A table of results. On a terminal columns that do not fit are left out; a person is told that `--json` has them.
    ///
    /// # Errors
    /// Those of [`data`](Self::data).
    pub fn table<const N: usize>(&self, table: &Table<N>) -> io::Result<()> {
        let columns = self.stdout_columns().unwrap_or(usize::MAX);
        self.data(&table.within(columns).to_string())?;
        if table.width() > columns {
            self.note("columns that do not fit are left out; --json has them all");
        }
        Ok(())
    }

    /// Prints a line of results piece by piece, as `write` writes them: a long one is never held whole.
    ///
    /// # Errors
    /// Those of [`data`](Self::data).
    pub fn data_line(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(PIECE, io::stdout().lock());
        let written = write(&mut out).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
        self.shared.wrote(if written.is_ok() { "\n" } else { " " });
        written.map_err(on_stdout)
    }

    /// A line for a person, on stderr; hidden by `--quiet`.
    pub fn note(&self, line: &str) {
        if self.verbosity >= Verbosity::Default {
            self.line("", "", line);
        }
    }

    /// A line that only `--verbose` shows, on stderr.
    pub fn detail(&self, line: &str) {
        if self.verbosity >= Verbosity::Verbose {
            self.line("", "", line);
        }
    }

    /// A warning on stderr; `--quiet` does not hide it.
    pub fn warn(&self, line: &str) {
        self.line("warning", "33", line);
    }

    /// An error, and what to do about it, on stderr: one line each.
    pub fn error(&self, message: &str, hint: Option<&str>) {
        self.line("error", "31", message);
        if let Some(hint) = hint {
            self.line("hint", "36", hint);
        }
    }

    /// What a person asked for, or is asked: on stderr as it stands, no newline added; `--quiet` does not
    /// hide it.
    pub fn show(&self, text: &str) {
        let text = match self.stderr_is_terminal {
            true => super::escaped(text),
            false => text.into(),
        };
        // A stderr that cannot be written to is nobody's to report to.
        let _ = write!(io::stderr().lock(), "{}{text}", self.shared.line_end());
    }

    /// A bar over `total` bytes; invisible in a pipe and with `--quiet`.
    pub fn bytes_bar(&self, label: &str, total: u64) -> Progress {
        self.bar(label, total, progress::BYTES)
    }

    /// A bar over `total` steps; invisible in a pipe and with `--quiet`.
    pub fn steps_bar(&self, label: &str, total: u64) -> Progress {
        self.bar(label, total, progress::STEPS)
    }

    /// A line about tokens that are computed one after another, which appears after a moment; never in a pipe and with
    /// `--quiet`.
    pub fn tokens(&self, label: &str) -> TokenProgress {
        TokenProgress::new(self.draws_bars(), label)
    }

    /// A bar over `total` bytes with one below it for each part that is under way; invisible in a pipe and with
    /// `--quiet`.
    pub fn bytes_bars(&self, label: &str, total: u64) -> Bars {
        Bars::new(self.draws_bars(), label, total)
    }

    fn bar(&self, label: &str, total: u64, template: &str) -> Progress {
        Progress::new(self.draws_bars(), label, total, template)
    }

    fn draws_bars(&self) -> bool {
        self.obeys_codes && self.verbosity >= Verbosity::Default
    }

    /// One line on stderr, cut at [`LONGEST_LINE`]. Newlines inside become spaces, so that an error stays one line; what else could
    /// steer a terminal is escaped, as messages quote names from files and servers. A stderr that cannot be
    /// written to is nobody's to report to.
    fn line(&self, kind: &str, code: &str, text: &str) {
        let line = format!("{}{}", self.shared.line_end(), self.as_line(kind, code, text));
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }

    /// The bytes of an error as [`error`](Self::error) shows it, for whoever ends the process without coming back here; a
    /// bar that may be on the line is wiped out.
    pub fn last_words(&self, message: &str) -> String {
        let line = self.as_line("error", "31", message);
        if self.draws_bars() { format!("\r\x1b[K{line}") } else { line }
    }

    fn as_line(&self, kind: &str, code: &str, text: &str) -> String {
        let mut text = text.trim_end().replace(['\n', '\r'], " ");
        if text.len() > LONGEST_LINE {
            text.truncate(text.floor_char_boundary(LONGEST_LINE));
            text.push('…');
        }
        let text = match self.stderr_is_terminal {
            true => super::escaped(&text),
            false => text.as_str().into(),
        };
        let prefix = match (kind, self.stderr_is_coloured) {
            ("", _) => String::new(),
            (_, true) => format!("\x1b[1;{code}m{kind}:\x1b[0m "),
            (_, false) => format!("{kind}: "),
        };
        format!("{prefix}{text}\n")
    }
}

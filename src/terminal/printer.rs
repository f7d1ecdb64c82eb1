//! Writes to stdout and stderr, for the whole program. stdout gets data, stderr everything else.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};

use super::progress::{self, Bars, Progress};
use super::shared::Shared;
use super::table::Table;
use super::tokens::TokenProgress;
use crate::system::environment::{self, NO_COLOR, TERM};

/// Maximum number of bytes of a line on stderr. Messages quote names of any length from files and servers.
const LONGEST_LINE: usize = 1 << 10;

/// Size of the buffer for long lines, in bytes.
const PIECE: usize = 64 << 10;

/// Adds the name of the stream to an error.
fn on_stdout(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write to stdout: {error}"))
}

/// The amount of messages on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verbosity {
    Quiet,
    Default,
    Verbose,
}

/// Writes data to stdout and everything else to stderr, according to `--quiet`, `--verbose` and `NO_COLOR`.
#[derive(Clone, Debug)]
pub struct Printer {
    verbosity: Verbosity,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    /// Whether stderr is a terminal that supports escape codes for the cursor.
    obeys_codes: bool,
    stdout_is_coloured: bool,
    stderr_is_coloured: bool,
    shared: Shared,
}

impl Printer {
    /// Creates a printer for the streams of this process. `quiet` overrides `verbose`.
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

    /// Returns whether stdout is a terminal.
    pub fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// Returns whether text on stdout may have colours.
    pub fn stdout_is_coloured(&self) -> bool {
        self.stdout_is_coloured
    }

    /// Returns whether text on stderr may have colours.
    pub fn stderr_is_coloured(&self) -> bool {
        self.stderr_is_coloured
    }

    /// Returns the width of the terminal on stdout in characters, if it is known.
    pub fn stdout_columns(&self) -> Option<usize> {
        let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
        Some(usize::from(width.0))
    }

    /// Returns whether `--quiet` was given.
    pub fn is_quiet(&self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    /// Writes results to stdout unchanged, and flushes.
    ///
    /// # Errors
    /// The stream cannot be written to; a closed pipe is [`io::ErrorKind::BrokenPipe`].
    pub fn data(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        self.shared.wrote(text);
        written.map_err(on_stdout)
    }

    /// Writes a result, such as a JSON object, and a newline.
    ///
    /// # Errors
    /// The errors of [`data`](Self::data).
    pub fn result(&self, result: impl Display) -> io::Result<()> {
        self.data(&format!("{result}\n"))
    }

    /// Writes a table of results. On a terminal omits columns that do not fit, and prints a note that `--json` has them.
    ///
    /// # Errors
    /// The errors of [`data`](Self::data).
    pub fn table<const N: usize>(&self, table: &Table<N>) -> io::Result<()> {
        let columns = self.stdout_columns().unwrap_or(usize::MAX);
        self.data(&table.within(columns).to_string())?;
        if table.width() > columns {
            self.note("columns that do not fit are left out; --json has them all");
        }
        Ok(())
    }

    /// Writes a line of results that `write` produces in pieces, so that a long line is never in memory as a whole.
    ///
    /// # Errors
    /// The errors of [`data`](Self::data).
    pub fn data_line(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(PIECE, io::stdout().lock());
        let written = write(&mut out).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
        self.shared.wrote(if written.is_ok() { "\n" } else { " " });
        written.map_err(on_stdout)
    }

    /// Prints a line to stderr, unless `--quiet` is given.
    pub fn note(&self, line: &str) {
        if self.verbosity >= Verbosity::Default {
            self.line("", "", line);
        }
    }

    /// Prints a line to stderr if `--verbose` is given.
    pub fn detail(&self, line: &str) {
        if self.verbosity >= Verbosity::Verbose {
            self.line("", "", line);
        }
    }

    /// Prints a warning to stderr, even with `--quiet`.
    pub fn warn(&self, line: &str) {
        self.line("warning", "33", line);
    }

    /// Prints an error and its hint to stderr, one line each.
    pub fn error(&self, message: &str, hint: Option<&str>) {
        self.line("error", "31", message);
        if let Some(hint) = hint {
            self.line("hint", "36", hint);
        }
    }

    /// Prints text without an added newline to stderr, such as a question or a requested list, even with `--quiet`.
    pub fn show(&self, text: &str) {
        let text = match self.stderr_is_terminal {
            true => super::escaped(text),
            false => text.into(),
        };
        // If stderr cannot be written to, there is no place to report that.
        let _ = write!(io::stderr().lock(), "{}{text}", self.shared.line_end());
    }

    /// Returns a progress bar over `total` bytes, which is hidden in a pipe and with `--quiet`.
    pub fn bytes_bar(&self, label: &str, total: u64) -> Progress {
        self.bar(label, total, progress::BYTES)
    }

    /// Returns a progress bar over `total` steps, which is hidden in a pipe and with `--quiet`.
    pub fn steps_bar(&self, label: &str, total: u64) -> Progress {
        self.bar(label, total, progress::STEPS)
    }

    /// Returns a progress line for tokens, which appears after a short delay and is hidden in a pipe and with `--quiet`.
    pub fn tokens(&self, label: &str) -> TokenProgress {
        TokenProgress::new(self.draws_bars(), label)
    }

    /// Returns a progress bar over `total` bytes with a bar below for each part in progress. They are hidden in a pipe and
    /// with `--quiet`.
    pub fn bytes_bars(&self, label: &str, total: u64) -> Bars {
        Bars::new(self.draws_bars(), label, total)
    }

    fn bar(&self, label: &str, total: u64, template: &str) -> Progress {
        Progress::new(self.draws_bars(), label, total, template)
    }

    fn draws_bars(&self) -> bool {
        self.obeys_codes && self.verbosity >= Verbosity::Default
    }

    /// Prints a line to stderr. Ignores errors, as there is no place to report them.
    fn line(&self, kind: &str, code: &str, text: &str) {
        let line = format!("{}{}", self.shared.line_end(), self.as_line(kind, code, text));
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }

    /// Returns an error in the form that [`error`](Self::error) prints, for code that ends the process without this printer.
    /// Its first bytes erase a progress bar on the line.
    pub fn last_words(&self, message: &str) -> String {
        let line = self.as_line("error", "31", message);
        if self.draws_bars() { format!("\r\x1b[K{line}") } else { line }
    }

    /// Formats a line, cut at [`LONGEST_LINE`]. Newlines become spaces and, on a terminal, control characters are escaped,
    /// because messages quote names from files and servers.
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

//! The chat's line editor: rustyline with a history file and messages of several lines.
//!
//! Three quotes at the start of a message open a block, and three quotes at the end of a line close it. Within the block
//! Enter starts a new line, and the whole message can be edited. On Unix a paste is inserted with its newlines and waits
//! for Enter (bracketed paste).
//!
//! Keys typed between two reads are kept for the next read by [`type_ahead`].

use std::io::ErrorKind;
use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::error::{ReadlineError, Signal};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Behavior, Cmd, ConditionalEventHandler, Event, EventContext, EventHandler, KeyEvent, Modifiers, Movement,
};

use super::history;
use crate::system::environment;
use crate::system::type_ahead::{self, TypeAhead};

const QUOTES: &str = "\"\"\"";

/// The result of reading a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A message as typed or pasted. It may be empty, or a command.
    Text(String),
    /// A message typed within three quotes, without the quotes. It is never a command.
    Quoted(String),
    /// Ctrl-C on an empty line.
    Interrupted,
    /// Ctrl-D on an empty line, or a closed terminal.
    End,
    /// A line that is not UTF-8, and is lost.
    NotText,
}

/// An error in reading from the keyboard.
#[derive(Debug, thiserror::Error)]
pub enum EditorError {
    /// The terminal cannot be opened or read.
    #[error("cannot read from the terminal: {0}")]
    Terminal(ReadlineError),
}

impl From<ReadlineError> for EditorError {
    fn from(error: ReadlineError) -> Self {
        Self::Terminal(error)
    }
}

/// Values of `TERM` for terminals without the escape codes that editing needs. rustyline reads whole lines from these.
const PLAIN_TERMINALS: [&str; 3] = ["dumb", "cons25", "emacs"];

/// Reads messages from the terminal.
///
/// stdin has to be a terminal. The prompt goes to the terminal even if stdout is redirected. While the editor exists, keys
/// typed between two reads are not echoed and are kept for the next read.
pub struct Editor {
    lines: rustyline::Editor<Quotes, DefaultHistory>,
    /// Keeps keys for the next read; `None` if the terminal does not support it.
    type_ahead: Option<TypeAhead>,
    /// Whether the terminal itself edits and echoes lines.
    is_plain: bool,
    /// The file of the history; `None` without a usable file, or after writing to it failed.
    history: Option<PathBuf>,
}

impl Editor {
    /// Creates an editor with the history of earlier chats, if it can be read.
    ///
    /// # Errors
    /// The terminal cannot be opened ([`EditorError::Terminal`]).
    pub fn new() -> Result<Self, EditorError> {
        let kind = environment::value(environment::TERM).unwrap_or_default();
        let is_plain = PLAIN_TERMINALS.iter().any(|plain| plain.eq_ignore_ascii_case(&kind));
        let type_ahead = TypeAhead::keep(!is_plain).ok();
        let config = rustyline::Config::builder()
            // The prompt goes to the terminal because stdout is data.
            .behavior(Behavior::PreferTerm)
            .max_history_size(history::ENTRIES)?
            // With `type_ahead` bracketed paste is always on.
            .bracketed_paste(cfg!(not(unix)) || type_ahead.is_none())
            .build();
        let mut lines = rustyline::Editor::with_config(config)?;
        lines.set_helper(Some(Quotes));
        lines.bind_sequence(KeyEvent::ctrl('C'), EventHandler::Conditional(Box::new(ClearOrLeave)));
        if cfg!(unix) && type_ahead.is_some() {
            lines.bind_sequence(KeyEvent::ctrl('Z'), EventHandler::Conditional(Box::new(Stop)));
        }
        // There is no completion, and a paste without brackets may contain tabs.
        lines.bind_sequence(KeyEvent::new('\t', Modifiers::NONE), Cmd::SelfInsert(1, '\t'));
        let history = history::path().filter(|file| history::prepare(file).is_ok());
        if let Some(file) = &history {
            // The file does not exist before the first chat.
            let _ = lines.load_history(file);
        }
        Ok(Self { lines, type_ahead, is_plain, history })
    }

    /// Reads a message. `prompt` may contain colours (`ESC [ … m`), which do not count for its width.
    ///
    /// # Errors
    /// The terminal cannot be read ([`EditorError::Terminal`]).
    pub fn read(&mut self, prompt: &str) -> Result<Input, EditorError> {
        let prompt = (without_colours(prompt), prompt);
        loop {
            let line = self.line(&prompt);
            match line {
                Ok(line) => {
                    self.remember(&line);
                    return Ok(input(&line));
                }
                Err(ReadlineError::Eof) => return Ok(Input::End),
                Err(ReadlineError::Signal(Signal::Resize)) => continue,
                #[cfg(unix)] // SIGINT from a source other than the keyboard.
                Err(ReadlineError::Signal(Signal::Interrupt)) => return Ok(Input::Interrupted),
                Err(ReadlineError::Interrupted) => return Ok(Input::Interrupted),
                Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                    return Ok(Input::NotText);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn line(&mut self, prompt: &(String, &str)) -> rustyline::Result<String> {
        let Some(type_ahead) = &self.type_ahead else {
            return self.lines.readline(prompt);
        };
        if self.is_plain {
            type_ahead.pause();
        }
        let line = self.lines.readline(prompt);
        // A shell may have changed the terminal's modes in the meantime, for example if the chat started in the
        // background.
        type_ahead.resume();
        line
    }

    /// Appends a message to the history file immediately, so that it is kept however the process ends.
    fn remember(&mut self, line: &str) {
        if line.trim().is_empty() || !matches!(self.lines.add_history_entry(line), Ok(true)) {
            return;
        }
        if let Some(file) = &self.history
            && self.lines.append_history(file).is_err()
        {
            self.history = None;
        }
    }
}

/// Converts a finished line to an [`Input`].
fn input(line: &str) -> Input {
    match Form::of(line) {
        Form::Closed(text) => Input::Quoted(text.to_string()),
        // `Open` only occurs if the terminal closed within a message.
        Form::Plain | Form::Open => Input::Text(line.trim_end_matches(['\n', '\r']).to_string()),
    }
}

/// The form of a message: without quotes, or with an open or closed block of quotes.
#[derive(Debug, PartialEq, Eq)]
enum Form<'a> {
    Plain,
    Open,
    /// The text between the quotes, without the newlines next to them.
    Closed(&'a str),
}

impl<'a> Form<'a> {
    fn of(typed: &'a str) -> Self {
        let Some(body) = typed.strip_prefix(QUOTES) else {
            return Self::Plain;
        };
        let Some(text) = body.trim_end().strip_suffix(QUOTES) else {
            return Self::Open;
        };
        let text = text.strip_prefix('\n').unwrap_or(text);
        Self::Closed(text.strip_suffix('\n').unwrap_or(text))
    }
}

/// Removes `ESC [ … letter` sequences from a coloured prompt, which leaves the visible text.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut shown = parts.next().unwrap_or_default().to_string();
    for part in parts {
        shown.push_str(
            part.trim_start_matches(|c: char| !('@'..='~').contains(&c)).get(1..).unwrap_or_default(),
        );
    }
    shown
}

/// The helper of rustyline: decides whether Enter ends the message. All other methods are defaults.
struct Quotes;

impl Validator for Quotes {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(match Form::of(context.input()) {
            Form::Open => ValidationResult::Incomplete,
            Form::Plain | Form::Closed(_) => ValidationResult::Valid(None),
        })
    }
}

impl Completer for Quotes {
    type Candidate = String;
}

impl Hinter for Quotes {
    type Hint = String;
}

impl Highlighter for Quotes {}
impl rustyline::Helper for Quotes {}

/// The handler of Ctrl-C: clears the typed text, which Ctrl-Y restores; on an empty line, ends the read.
struct ClearOrLeave;

impl ConditionalEventHandler for ClearOrLeave {
    fn handle(&self, _: &Event, _: rustyline::RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        Some(match context.line().is_empty() {
            true => Cmd::Interrupt,
            false => Cmd::Kill(Movement::WholeBuffer),
        })
    }
}

/// The handler of Ctrl-Z. It replaces that of rustyline, which signals the process, so that any thread may receive the
/// signal at any time.
struct Stop;

impl ConditionalEventHandler for Stop {
    fn handle(&self, _: &Event, _: rustyline::RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        type_ahead::stop();
        Some(Cmd::Repaint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_open_and_close_a_message() {
        for (typed, form) in [
            ("hello", Form::Plain),
            ("say \"\"\"a\"\"\"", Form::Plain),
            ("\"\"\"", Form::Open),
            ("\"\"\"\"\"", Form::Open),
            ("\"\"\"one\ntwo", Form::Open),
            ("\"\"\"a\"\"\" b", Form::Open),
            ("\"\"\"\"\"\"", Form::Closed("")),
            ("\"\"\"a\"\"\"", Form::Closed("a")),
            ("\"\"\"a\"\"\"  ", Form::Closed("a")),
            ("\"\"\"\none\ntwo\n\"\"\"", Form::Closed("one\ntwo")),
            ("\"\"\"one\n\n\"\"\"\n", Form::Closed("one\n")),
        ] {
            assert_eq!(Form::of(typed), form, "{typed:?}");
        }
    }

    #[test]
    fn a_quoted_command_is_a_message() {
        assert_eq!(input("/help"), Input::Text("/help".into()));
        assert_eq!(input("\"\"\"/help\"\"\""), Input::Quoted("/help".into()));
    }

    #[test]
    fn a_pastes_last_newline_is_not_part_of_the_message() {
        assert_eq!(input("one\ntwo\n"), Input::Text("one\ntwo".into()));
    }

    #[test]
    fn colours_of_a_prompt_have_no_width() {
        for (prompt, shown) in [
            (">> Prompt: ", ">> Prompt: "),
            ("\x1b[1;32m>>\x1b[0m Prompt: ", ">> Prompt: "),
            ("a\x1b[", "a"),
            ("a\x1b[1;é\x1b[0mb", "ab"),
        ] {
            assert_eq!(without_colours(prompt), shown, "{prompt:?}");
        }
    }
}

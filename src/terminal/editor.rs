//! The chat's line editor: rustyline, with a history file and messages over several lines.
//!
//! Three quotes at the start of a message open it, three quotes at the end of a line close it; between
//! them Enter is a new line, and the whole message can be edited. A paste is inserted as it is, whatever
//! its newlines, and waits for Enter (bracketed paste; unix).
//!
//! What is typed between two reads belongs to the next one: [`type_ahead`].

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

/// What came from the keyboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A message as it was typed or pasted; it may be empty, or a command.
    Text(String),
    /// A message that stood in three quotes, without them: a message whatever it looks like.
    Quoted(String),
    /// Ctrl-C with nothing typed.
    Interrupted,
    /// Ctrl-D with nothing typed, or the terminal is gone.
    End,
    /// Bytes that are not UTF-8: the line with them is lost.
    NotText,
}

/// The keyboard cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EditorError {
    /// What the terminal reports.
    #[error("cannot read from the terminal: {0}")]
    Terminal(#[from] ReadlineError),
}

/// Terminals without the escape codes that editing needs; rustyline reads whole lines from these.
const PLAIN_TERMINALS: [&str; 3] = ["dumb", "cons25", "emacs"];

/// Reads messages from the terminal. stdin has to be one; the prompt goes to the terminal even where
/// stdout goes elsewhere. While it lives, what is typed between two reads is not echoed and waits for the next.
pub struct Editor {
    lines: rustyline::Editor<Quotes, DefaultHistory>,
    /// `None` where the terminal cannot be set so.
    type_ahead: Option<TypeAhead>,
    /// Whether the terminal itself edits lines, and echoes them.
    is_plain: bool,
    /// Where messages are kept, until that fails once.
    history: Option<PathBuf>,
}

impl Editor {
    /// An editor with the history of earlier chats, as far as it can be read.
    ///
    /// # Errors
    /// [`EditorError::Terminal`] if the terminal cannot be opened.
    pub fn new() -> Result<Self, EditorError> {
        let kind = environment::value(environment::TERM).unwrap_or_default();
        let is_plain = PLAIN_TERMINALS.iter().any(|plain| plain.eq_ignore_ascii_case(&kind));
        let type_ahead = TypeAhead::keep(!is_plain).ok();
        let config = rustyline::Config::builder()
            // Straight to the terminal: stdout is data.
            .behavior(Behavior::PreferTerm)
            .max_history_size(history::ENTRIES)?
            // Where it is not on all the time.
            .bracketed_paste(cfg!(not(unix)) || type_ahead.is_none())
            .build();
        let mut lines = rustyline::Editor::with_config(config)?;
        lines.set_helper(Some(Quotes));
        lines.bind_sequence(KeyEvent::ctrl('C'), EventHandler::Conditional(Box::new(ClearOrLeave)));
        if cfg!(unix) && type_ahead.is_some() {
            lines.bind_sequence(KeyEvent::ctrl('Z'), EventHandler::Conditional(Box::new(Stop)));
        }
        // There is nothing to complete, and a paste that is not bracketed may hold some.
        lines.bind_sequence(KeyEvent::new('\t', Modifiers::NONE), Cmd::SelfInsert(1, '\t'));
        let history = history::path().filter(|file| history::prepare(file).is_ok());
        if let Some(file) = &history {
            // There is none before the first chat.
            let _ = lines.load_history(file);
        }
        Ok(Self { lines, type_ahead, is_plain, history })
    }

    /// One message. `prompt` may hold colours (`ESC [ … m`); they take no room.
    ///
    /// # Errors
    /// [`EditorError::Terminal`] if the terminal cannot be read.
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
                #[cfg(unix)] // An interrupt that does not come from the keyboard.
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
        // A shell may have set its own modes meanwhile, as where the chat began in the background.
        type_ahead.resume();
        line
    }

    /// Keeps a message at once, so that nothing is lost however the process ends.
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

/// A finished line as what it means to the caller.
fn input(line: &str) -> Input {
    match Form::of(line) {
        Form::Closed(text) => Input::Quoted(text.to_string()),
        // Open only where the terminal ended in the middle.
        Form::Plain | Form::Open => Input::Text(line.trim_end_matches(['\n', '\r']).to_string()),
    }
}

/// A message with respect to its quotes.
#[derive(Debug, PartialEq, Eq)]
enum Form<'a> {
    Plain,
    Open,
    /// What is between the quotes; the newlines next to them are not part of it.
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

/// `text` without `ESC [ … letter` sequences: what a terminal shows of a coloured prompt.
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

/// What rustyline asks: whether Enter ends the message. Everything else is its default.
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

/// Ctrl-C: clears what was typed (Ctrl-Y brings it back); with nothing typed, leaves.
struct ClearOrLeave;

impl ConditionalEventHandler for ClearOrLeave {
    fn handle(&self, _: &Event, _: rustyline::RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        Some(match context.line().is_empty() {
            true => Cmd::Interrupt,
            false => Cmd::Kill(Movement::WholeBuffer),
        })
    }
}

/// Ctrl-Z. rustyline sends the signal to the process, so that any thread may have it, and at any time.
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
    fn colours_of_a_prompt_take_no_room() {
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

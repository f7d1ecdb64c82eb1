//! Exit codes, and how an error is shown: one line what is wrong, one line what to do.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use mist::generate::SamplingError;
use mist::store::RemovalError;
use mist::system::quote::beginning;
use mist::system::{files, memory};
use mist::terminal::{InterruptError, Printer};
use mist::{chat, hub};

use super::{numbers, others};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Success,
    /// It failed, and has said why.
    Failure,
    /// The call is wrong.
    Usage,
    /// Ended by Ctrl-C.
    Interrupted,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        ExitCode::from(match status {
            Status::Success => 0,
            Status::Failure => 1,
            Status::Usage => 2,
            Status::Interrupted => 130,
        })
    }
}

/// The error of work that Ctrl-C ended, and that has said so.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// What to do about an error: attached with [`anyhow::Error::context`], shown on the `hint:` line.
#[derive(Debug)]
pub struct Hint(pub String);

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A wrong call: what was typed cannot be done on any machine, or names nothing. It ends with [`Status::Usage`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl Usage {
    /// A wrong call, and what to type instead.
    pub fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
        anyhow::Error::from(Self(message.into())).context(Hint(hint.into()))
    }
}

/// Shows an outcome and turns it into the process's exit code. A closed pipe is success.
pub fn report(outcome: anyhow::Result<Status>, printer: &Printer) -> ExitCode {
    let error = match outcome {
        Ok(status) => return status.into(),
        Err(error) => error,
    };
    if is_broken_pipe(&error) {
        return Status::Success.into();
    }
    // Whoever was interrupted has said how to go on.
    if error.is::<Interrupted>() || matches!(error.downcast_ref(), Some(hub::Error::Interrupted)) {
        return Status::Interrupted.into();
    }
    memory::end_alone();
    show(&error, printer);
    memory::end_reported();
    if is_wrong_call(&error) { Status::Usage } else { Status::Failure }.into()
}

/// Whether what was typed is at fault: each kind of error says so itself.
fn is_wrong_call(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<Usage>()
            || matches!(cause.downcast_ref(), Some(SamplingError::OutOfRange { .. }))
            || cause.downcast_ref::<mist::checkpoint::error::Error>().is_some_and(|e| e.is_wrong_call())
            || cause.downcast_ref::<mist::placement::Error>().is_some_and(|e| e.is_wrong_call())
            || cause.downcast_ref::<mist::hub::Error>().is_some_and(|e| e.is_wrong_call())
    })
}

/// Shows an error that ended a command, or something in it that could be tried again.
pub fn show(error: &anyhow::Error, printer: &Printer) {
    printer.error(&message(error), hint(error).as_deref());
}

/// Shows what clap says: help and version go to stdout with 0; a wrong call is told as every other error is, one
/// line what is wrong and one what to type, with 2. `called` is the command, as far as it could be told, of `program`.
pub fn usage(error: &clap::Error, called: &str, program: &clap::Command, printer: &Printer) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand) || !error.use_stderr() {
        let page = |is_coloured| match is_coloured {
            true => error.render().ansi().to_string(),
            false => error.render().to_string(),
        };
        // Nothing is left to do when even this cannot be written.
        if error.use_stderr() {
            let _ = io::stderr().write_all(page(printer.stderr_is_coloured()).as_bytes());
            return Status::Usage.into();
        }
        let _ = printer.data(&page(printer.stdout_is_coloured()));
        return Status::Success.into();
    }
    let mut text = error.render().to_string();
    if let Some(source) = error.source()
        && let Some(words) = numbers::worded(source)
    {
        text = text.replacen(&source.to_string(), words, 1);
    }
    let (message, hint) = usage_lines(&text, called);
    let (message, hint) = match others::explained(error, called, program) {
        Some((ours, hint)) => (ours.unwrap_or(message), hint),
        None => (message, hint),
    };
    printer.error(&message, Some(&hint));
    Status::Usage.into()
}

/// Clap's text as a message and a hint. Its paragraphs are the error, tips, the usage, and a pointer to `--help`.
fn usage_lines(text: &str, command: &str) -> (String, String) {
    let joined = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let paragraphs: Vec<String> = text.split("\n\n").map(joined).collect();
    let message = paragraphs.first().map_or("", String::as_str);
    let message = message.strip_prefix("error: ").unwrap_or(message).to_string();
    // That a flag may stand after `--` helps nobody who mistook its name.
    let mut tips = text.lines().filter_map(|line| line.trim_start().strip_prefix("tip: "));
    let tip = tips.find(|tip| !tip.starts_with("to pass '"));
    let hint = match tip {
        Some(tip) => match tip.strip_prefix('\'').and_then(|tip| tip.strip_suffix("' exists")) {
            Some(line) => format!("a flag follows its command: `mist {line}`"),
            None => tip.into(),
        },
        None => format!("`{command} --help` lists what there is"),
    };
    (message, hint)
}

/// Most bytes of one of an error's causes.
const LONGEST: usize = 4096;

/// The chain of causes in one line, hints and repetitions left out.
fn message(error: &anyhow::Error) -> String {
    let mut line = String::new();
    let hint = error.downcast_ref::<Hint>().map(|h| h.0.as_str());
    for cause in error.chain().map(|c| without_backtrace(&beginning(c, LONGEST).to_string())) {
        if Some(cause.as_str()) == hint || line.contains(&cause) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&cause);
    }
    line
}

/// An error's own text: candle's append a backtrace to it where `RUST_BACKTRACE` asks for one.
fn without_backtrace(text: &str) -> String {
    let is_frame = |line: &&str| line.trim_start().starts_with("0: ");
    text.lines().take_while(|line| !is_frame(line)).collect::<Vec<_>>().join(" ").trim_end().into()
}

/// A panic is a bug of ours: it is told in one line, and not by the runtime.
pub fn report_panics(printer: &Printer) {
    let printer = printer.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or(String::new(), |l| format!(" at {}:{}", l.file(), l.line()));
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic");
        printer.error(
            &format!("this is a bug in mist: {text}{place}"),
            Some("please report it with the command that you typed"),
        );
    }));
}

/// A mapped file that can no longer be read ends the process, which reports that in one line as well.
pub fn report_unreadable_maps(printer: &Printer) {
    let printer = printer.clone();
    mist::system::signals::report_unreadable_maps(move |path| {
        printer.last_words(&format!(
            "cannot read {}: the file was cut short, or its disk failed, while it was in use",
            path.display()
        ))
    });
}

/// Runs a command; a panic, which was told already, is a failure.
pub fn catch_panics(run: impl FnOnce() -> anyhow::Result<Status>) -> anyhow::Result<Status> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or(Ok(Status::Failure))
}

/// The hint that was attached to an error, or that an error of one of the library's rooms carries.
fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(Hint(text)) = error.downcast_ref::<Hint>() {
        return Some(text.clone());
    }
    error.chain().find_map(|cause| {
        let checkpoint = cause.downcast_ref::<mist::checkpoint::error::Error>().and_then(|e| e.hint());
        let placement = || cause.downcast_ref::<mist::placement::Error>().and_then(|e| e.hint());
        let text = || cause.downcast_ref::<mist::text::Error>().and_then(|e| e.hint());
        let hub = || cause.downcast_ref::<mist::hub::Error>().and_then(|e| e.hint());
        let command = || cause.downcast_ref::<chat::CommandError>().and_then(|e| e.hint());
        let turn = || cause.downcast_ref::<chat::ConversationError>().and_then(|e| e.hint());
        let fit = || cause.downcast_ref::<chat::FitError<mist::text::Error>>().and_then(|e| e.hint());
        let file = || cause.downcast_ref::<chat::FileError>().and_then(|e| e.hint());
        let removal = || cause.downcast_ref::<RemovalError>().and_then(|e| e.hint());
        let interrupt = || cause.downcast_ref::<InterruptError>().and_then(|e| e.hint());
        let system = || cause.downcast_ref::<io::Error>().and_then(files::hint);
        checkpoint
            .or_else(placement)
            .or_else(text)
            .or_else(hub)
            .or_else(command)
            .or_else(turn)
            .or_else(fit)
            .or_else(file)
            .or_else(removal)
            .or_else(interrupt)
            .or_else(system)
    })
}

/// Whether whoever read stdout is gone.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_call_is_one_line_and_one_hint() {
        let unknown = "error: unexpected argument '--tempo' found\n\n  tip: a similar argument exists: '--temperature'\n\n\
                       Usage: mist generate --temperature <T>\n\nFor more information, try '--help'.\n";
        let expected = ("unexpected argument '--tempo' found", "a similar argument exists: '--temperature'");
        assert_eq!(usage_lines(unknown, "mist generate"), (expected.0.into(), expected.1.into()));
        let missing = "error: the following required arguments were not provided:\n  --file <TEXT.txt>\n\n\
                       Usage: mist evaluate --file <TEXT.txt>\n\nFor more information, try '--help'.\n";
        let (message, hint) = usage_lines(missing, "mist evaluate");
        assert_eq!(message, "the following required arguments were not provided: --file <TEXT.txt>");
        assert_eq!(hint, "`mist evaluate --help` lists what there is");
        let escaped = "error: unexpected argument '-x' found\n\n  tip: to pass '-x' as a value, use '-- -x'\n\n\
                       Usage: mist chat [MODEL]\n\nFor more information, try '--help'.\n";
        assert_eq!(usage_lines(escaped, "mist chat").1, "`mist chat --help` lists what there is");
    }
}

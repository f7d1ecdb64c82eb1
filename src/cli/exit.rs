//! Exit codes, and the report of an error: one line with the message and one with the hint.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use mist::hub;
use mist::system::hinted::Hinted;
use mist::system::memory;
use mist::terminal::{self, Printer, command};

/// The outcome of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The command succeeded.
    Success,
    /// The command failed, and has printed the reason.
    Failure,
    /// The command line is invalid.
    Usage,
    /// Ctrl-C ended the command.
    Interrupted,
}

/// The exit codes and their descriptions in the manual.
pub const MANUAL: [(&str, &str); 4] = [
    ("0", "Done; also where whoever read the output has closed it."),
    ("1", "It failed, and stderr says why."),
    ("2", "The call is wrong."),
    ("130", "Ended by Ctrl-C."),
];

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

/// The error for work that Ctrl-C ended, which has already been reported.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// A hint for an error, attached with [`anyhow::Error::context`] and printed on the `hint:` line.
#[derive(Debug)]
pub struct Hint(pub String);

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An invalid command line, which cannot succeed on any machine. The command ends with [`Status::Usage`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl Usage {
    /// Returns the error for an invalid command line, with a hint for what to type instead.
    pub fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
        anyhow::Error::from(Self(message.into())).context(Hint(hint.into()))
    }
}

/// Prints an outcome's error and returns the exit code. A closed pipe counts as success.
pub fn report(outcome: anyhow::Result<Status>, printer: &Printer) -> ExitCode {
    let error = match outcome {
        Ok(status) => return status.into(),
        Err(error) => error,
    };
    if is_broken_pipe(&error) {
        return Status::Success.into();
    }
    // The interrupted work has printed how to continue.
    if error.is::<Interrupted>() || error.chain().any(is_interrupted) {
        return Status::Interrupted.into();
    }
    memory::end_alone();
    show(&error, printer);
    memory::end_reported();
    if is_wrong_call(&error) { Status::Usage } else { Status::Failure }.into()
}

/// Returns whether a cause is the library's error for Ctrl-C.
fn is_interrupted(cause: &(dyn Error + 'static)) -> bool {
    matches!(cause.downcast_ref(), Some(hub::Error::Interrupted))
        || matches!(cause.downcast_ref(), Some(mist::Error::Interrupted))
}

/// Returns whether an error is caused by an invalid command line.
fn is_wrong_call(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Usage>())
        || error.chain().filter_map(terminal::hinted).any(Hinted::is_wrong_call)
}

/// Returns the hint that is attached to an error, or that of a library error among its causes.
fn hint(error: &anyhow::Error) -> Option<String> {
    let attached = error.downcast_ref::<Hint>().map(|hint| hint.0.clone());
    attached.or_else(|| error.chain().find_map(terminal::hint))
}

/// Prints the error of a command, or of a step in it that the user can repeat.
pub fn show(error: &anyhow::Error, printer: &Printer) {
    printer.error(&message(error), hint(error).as_deref());
}

/// Prints the result of clap, and returns the exit code.
///
/// Help and version go to stdout, with code 0. An invalid command line is reported as a message and a hint, with code
/// 2. `called` is the command of `program`, if it was recognised.
pub fn usage(error: &clap::Error, called: &str, program: &clap::Command, printer: &Printer) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand) || !error.use_stderr() {
        let page = |is_coloured| match is_coloured {
            true => error.render().ansi().to_string(),
            false => error.render().to_string(),
        };
        // If this cannot be written, there is no place to report that.
        if error.use_stderr() {
            let _ = io::stderr().write_all(page(printer.stderr_is_coloured()).as_bytes());
            return Status::Usage.into();
        }
        let _ = printer.data(&page(printer.stdout_is_coloured()));
        return Status::Success.into();
    }
    let (message, hint) = command::explained(error, called, program);
    printer.error(&message, Some(&hint));
    Status::Usage.into()
}

/// Returns the chain of causes as one line, without the hint.
fn message(error: &anyhow::Error) -> String {
    let hint = error.downcast_ref::<Hint>().map(|hint| hint.0.as_str());
    terminal::one_line(error.chain(), hint)
}

/// Runs a command and converts a panic to a failure. The panic hook has already reported it.
pub fn catch_panics(run: impl FnOnce() -> anyhow::Result<Status>) -> anyhow::Result<Status> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or(Ok(Status::Failure))
}

/// Returns whether an error is caused by a closed pipe.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

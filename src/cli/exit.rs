//! Exit codes, and how an error is shown: one line what is wrong, one line what to do.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use mist::hub;
use mist::system::hinted::Hinted;
use mist::system::memory;
use mist::terminal::{self, Printer, command};

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

/// The exit codes, as the manual has them.
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
    if error.is::<Interrupted>() || error.chain().any(is_interrupted) {
        return Status::Interrupted.into();
    }
    memory::end_alone();
    show(&error, printer);
    memory::end_reported();
    if is_wrong_call(&error) { Status::Usage } else { Status::Failure }.into()
}

/// Whether Ctrl-C ended work of the library's.
fn is_interrupted(cause: &(dyn Error + 'static)) -> bool {
    matches!(cause.downcast_ref(), Some(hub::Error::Interrupted))
        || matches!(cause.downcast_ref(), Some(mist::Error::Interrupted))
}

/// Whether what was typed is at fault: each kind of error says so itself.
fn is_wrong_call(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Usage>()) || hinted(error).any(Hinted::is_wrong_call)
}

/// The hint that was attached to an error, or that an error of one of the library's rooms carries.
fn hint(error: &anyhow::Error) -> Option<String> {
    let attached = error.downcast_ref::<Hint>().map(|hint| hint.0.clone());
    attached.or_else(|| hinted(error).find_map(Hinted::hint))
}

/// Those of an error's causes that know what to do about them.
fn hinted(error: &anyhow::Error) -> impl Iterator<Item = &dyn Hinted> {
    error.chain().filter_map(terminal::hinted)
}

/// Shows an error that ended a command, or something in it that could be tried again.
pub fn show(error: &anyhow::Error, printer: &Printer) {
    printer.error(&message(error), hint(error).as_deref());
}

/// Shows what clap says: help and version go to stdout with 0; a wrong call is reported as every other error is, one
/// line what is wrong and one what to type, with 2. `called` is the command, as far as it could be read, of `program`.
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
    let (message, hint) = command::explained(error, called, program);
    printer.error(&message, Some(&hint));
    Status::Usage.into()
}

/// The chain of causes in one line, without the hint.
fn message(error: &anyhow::Error) -> String {
    let hint = error.downcast_ref::<Hint>().map(|hint| hint.0.as_str());
    terminal::one_line(error.chain(), hint)
}

/// Runs a command; a panic, which was reported already, is a failure.
pub fn catch_panics(run: impl FnOnce() -> anyhow::Result<Status>) -> anyhow::Result<Status> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or(Ok(Status::Failure))
}

/// Whether whoever read stdout is gone.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

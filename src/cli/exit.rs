//! Exit codes, and how an error is shown: one line what is wrong, one line what to do.

use std::io;
use std::process::ExitCode;

use mist::terminal::Printer;

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

/// What to do about an error: attached with [`anyhow::Error::context`], shown on the `hint:` line.
#[derive(Debug)]
pub struct Hint(pub String);

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
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
    printer.error(&message(&error), hint(&error).as_deref());
    Status::Failure.into()
}

/// Shows clap's own error or help text: help and version go to stdout with 0, the rest to stderr with 2.
pub fn usage(error: &clap::Error) -> ExitCode {
    // Nothing is left to do when even this cannot be written.
    let _ = error.print();
    match error.use_stderr() {
        true => Status::Usage.into(),
        false => Status::Success.into(),
    }
}

/// The chain of causes in one line, hints and repetitions left out.
fn message(error: &anyhow::Error) -> String {
    let mut line = String::new();
    let hint = error.downcast_ref::<Hint>().map(|h| h.0.as_str());
    for cause in error.chain().map(|c| c.to_string()) {
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

/// The hint that was attached to an error, or that an error of one of the library's rooms carries.
fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(Hint(text)) = error.downcast_ref::<Hint>() {
        return Some(text.clone());
    }
    error.chain().find_map(|cause| {
        let checkpoint = cause.downcast_ref::<mist::checkpoint::Error>().and_then(|e| e.hint());
        let placement = || cause.downcast_ref::<mist::placement::Error>().and_then(|e| e.hint());
        let text = || cause.downcast_ref::<mist::text::Error>().and_then(|e| e.hint());
        let hub = || cause.downcast_ref::<mist::hub::Error>().and_then(|e| e.hint());
        checkpoint.or_else(placement).or_else(text).or_else(hub)
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

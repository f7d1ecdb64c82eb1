//! `mist completions`: prints a completion script for a shell.

use clap::{Args, Command};
use clap_complete::Shell;
use mist::terminal::{Printer, command};

use super::exit::Status;

/// Print a completion script for a shell.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  mist completions bash > ~/.local/share/bash-completion/completions/mist")]
pub struct CompletionsArgs {
    /// The shell that will read the script.
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs `mist completions` for the command tree `program`.
pub fn run(args: &CompletionsArgs, program: Command, printer: &Printer) -> anyhow::Result<Status> {
    printer.data(&command::script(args.shell, program))?;
    Ok(Status::Success)
}

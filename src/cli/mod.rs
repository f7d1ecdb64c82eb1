//! The command line: arguments as typed, one file a verb, errors and exit codes in one place.

mod arguments;
pub mod download;
mod exit;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use exit::{Hint, Status};
use mist::terminal::Printer;

/// Mistral-family language models from the hub to running text.
#[derive(Debug, Parser)]
#[command(name = "mist", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    /// Only errors, warnings and results.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more about what is done.
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Download(download::DownloadArgs),
}

/// Runs the command that was typed; the only place where an outcome becomes an exit code.
pub fn main() -> ExitCode {
    let typed = arguments::normalise(std::env::args_os().collect::<Vec<OsString>>(), &Cli::command());
    let cli = match Cli::command().try_get_matches_from(typed).and_then(|m| Cli::from_arg_matches(&m)) {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    let printer = Printer::new(cli.quiet, cli.verbose);
    let outcome: anyhow::Result<Status> = match &cli.command {
        Command::Download(args) => download::run(args, &printer),
    };
    exit::report(outcome, &printer)
}

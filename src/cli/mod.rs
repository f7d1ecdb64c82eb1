//! The command line: one file per command, and the conversion of errors to messages and exit codes.

mod bench;
mod catalogue;
mod chat;
mod completions;
mod convert;
mod devices;
mod download;
mod evaluate;
mod exit;
mod generate;
mod inspect;
mod list;
mod located;
mod man;
mod model;
mod output;
mod remove;
mod sampling;
mod tokenize;
mod values;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use exit::Status;
use mist::cpu;
use mist::system::{signals, threads};
use mist::terminal::{self, Printer, command as words};

/// Display order of the global flags: after the flags of a command and before `--help`.
const LAST: usize = 900;

/// Mistral-family language models from the hub to running text.
#[derive(Debug, Parser)]
#[command(
    name = "mist",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "Example:\n  mist chat"
)]
struct Cli {
    /// Print only errors, warnings and results.
    #[arg(short, long, global = true, display_order = LAST, help_heading = "Output")]
    quiet: bool,
    /// Print more details.
    #[arg(short, long, global = true, display_order = LAST, help_heading = "Output")]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Download(download::DownloadArgs),
    List(list::ListArgs),
    Remove(remove::RemoveArgs),
    Convert(convert::ConvertArgs),
    Chat(chat::ChatArgs),
    Generate(generate::GenerateArgs),
    /// Generate text with the model's layers spread over several devices.
    #[command(
        mut_arg("devices", |devices| devices.help(generate::SEQUENTIAL_DEVICES)),
        after_help = generate::SEQUENTIAL_EXAMPLE
    )]
    GenerateSequential(generate::GenerateArgs),
    Evaluate(evaluate::EvaluateArgs),
    Bench(bench::BenchArgs),
    Tokenize(tokenize::TokenizeArgs),
    Inspect(inspect::InspectArgs),
    Devices(devices::DevicesArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Stack size of the thread that runs a command, in bytes. That of the first thread depends on `ulimit -s`.
const STACK: usize = 8 << 20;

/// Runs the typed command on a new thread.
pub fn main() -> ExitCode {
    signals::ignore_file_size_limit();
    mist::system::memory::share_arena_in_little_address_space();
    match threads::builder("main", STACK).and_then(|thread| thread.spawn(run_typed)) {
        // A panic is an error that the hook has already reported.
        Ok(thread) => thread.join().unwrap_or(Status::Failure.into()),
        // If no thread can be started, the command runs on the first thread.
        Err(_) => run_typed(),
    }
}

/// Parses the arguments, runs the command, and converts its outcome to an exit code.
fn run_typed() -> ExitCode {
    let command = Cli::command();
    let typed = words::normalise(std::env::args_os().collect(), &command);
    let called = words::called(&typed, &command);
    let cli = match command.clone().try_get_matches_from(typed).and_then(|m| Cli::from_arg_matches(&m)) {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error, &called, &command, &Printer::new(false, false)),
    };
    let printer = Printer::new(cli.quiet, cli.verbose);
    terminal::report_panics(&printer);
    terminal::report_unreadable_maps(&printer);
    let outcome = cpu::choose_from_environment().map_err(anyhow::Error::from);
    let outcome = outcome.and_then(|_| exit::catch_panics(|| run(&cli.command, &printer)));
    exit::report(outcome, &printer)
}

fn run(command: &Command, printer: &Printer) -> anyhow::Result<Status> {
    match command {
        Command::Download(args) => download::run(args, printer),
        Command::List(args) => list::run(args, printer),
        Command::Remove(args) => remove::run(args, printer),
        Command::Convert(args) => convert::run(args, printer),
        Command::Chat(args) => chat::run(args, printer),
        Command::Generate(args) => generate::run(args, printer),
        Command::GenerateSequential(args) => generate::run_sequential(args, printer),
        Command::Evaluate(args) => evaluate::run(args, printer),
        Command::Bench(args) => bench::run(args, printer),
        Command::Tokenize(args) => tokenize::run(args, printer),
        Command::Inspect(args) => inspect::run(args, printer),
        Command::Devices(args) => devices::run(args, printer),
        Command::Completions(args) => completions::run(args, Cli::command(), printer),
        Command::Man(args) => man::run(args, Cli::command(), printer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_nothing_wrong_with_the_commands() {
        Cli::command().debug_assert();
    }
}

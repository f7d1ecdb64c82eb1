//! The command line: arguments as typed, one file a verb, errors and exit codes in one place.

mod arguments;
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
mod man;
mod memory;
mod model;
mod output;
mod quantized;
mod table;
mod tokenize;
mod values;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use exit::{Hint, Status};
use mist::kernels::cpu;
use mist::terminal::Printer;

/// After a command's own flags, and before `--help`.
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
    /// Only errors, warnings and results.
    #[arg(short, long, global = true, display_order = LAST)]
    quiet: bool,
    /// Say more about what is done.
    #[arg(short, long, global = true, display_order = LAST)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Download(download::DownloadArgs),
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
    Tokenize(tokenize::TokenizeArgs),
    Inspect(inspect::InspectArgs),
    Devices(devices::DevicesArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Runs the command that was typed; the only place where an outcome becomes an exit code.
pub fn main() -> ExitCode {
    let command = typed_command();
    let typed = arguments::normalise(std::env::args_os().collect(), &command);
    let called = arguments::called(&typed, &command);
    let cli = match command.try_get_matches_from(typed).and_then(|m| Cli::from_arg_matches(&m)) {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error, &called, &Printer::new(false, false)),
    };
    let printer = Printer::new(cli.quiet, cli.verbose);
    exit::report_panics(&printer);
    let outcome = cpu::choose_from_environment().map_err(anyhow::Error::msg);
    let outcome = outcome.and_then(|_| exit::catch_panics(|| run(&cli.command, &printer)));
    exit::report(outcome, &printer)
}

/// The commands as they are typed.
fn typed_command() -> clap::Command {
    arguments::with_optional_values(Cli::command())
}

fn run(command: &Command, printer: &Printer) -> anyhow::Result<Status> {
    match command {
        Command::Download(args) => download::run(args, printer),
        Command::Convert(args) => convert::run(args, printer),
        Command::Chat(args) => chat::run(args, printer),
        Command::Generate(args) => generate::run(args, printer),
        Command::GenerateSequential(args) => generate::run_sequential(args, printer),
        Command::Evaluate(args) => evaluate::run(args, printer),
        Command::Tokenize(args) => tokenize::run(args, printer),
        Command::Inspect(args) => inspect::run(args, printer),
        Command::Devices(args) => devices::run(args, printer),
        Command::Completions(args) => completions::run(args, Cli::command(), printer),
        Command::Man(args) => man::run(args, typed_command(), printer),
    }
}

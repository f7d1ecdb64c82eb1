//! The command line: arguments as typed, one file a verb, errors and exit codes in one place.

mod arguments;
mod bench;
mod catalogue;
mod chat;
mod completions;
mod convert;
mod devices;
mod disk;
mod download;
mod evaluate;
mod exit;
mod generate;
mod inspect;
mod list;
mod located;
mod man;
mod memory;
mod missing;
mod model;
mod numbers;
mod opened;
mod others;
mod output;
mod placing;
mod quantized;
mod remove;
mod report;
mod sampling;
mod speech;
mod table;
mod tokenize;
mod values;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use exit::{Hint, Status};
use mist::cpu;
use mist::system::{signals, threads};
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
    #[arg(short, long, global = true, display_order = LAST, help_heading = "Output")]
    quiet: bool,
    /// Say more about what is done.
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

/// The stack that a command runs on, whatever `ulimit -s` says of the first thread's.
const STACK: usize = 8 << 20;

/// Runs the command that was typed, on a thread of its own.
pub fn main() -> ExitCode {
    signals::ignore_file_size_limit();
    mist::system::memory::share_arena_in_little_address_space();
    match threads::builder("main", STACK).and_then(|thread| thread.spawn(run_typed)) {
        // A panic has been reported.
        Ok(thread) => thread.join().unwrap_or(Status::Failure.into()),
        // Without another thread the first one's stack must do.
        Err(_) => run_typed(),
    }
}

/// The only place where an outcome becomes an exit code.
fn run_typed() -> ExitCode {
    let command = Cli::command();
    let typed = arguments::normalise(std::env::args_os().collect(), &command);
    let called = arguments::called(&typed, &command);
    let cli = match command.clone().try_get_matches_from(typed).and_then(|m| Cli::from_arg_matches(&m)) {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error, &called, &command, &Printer::new(false, false)),
    };
    let printer = Printer::new(cli.quiet, cli.verbose);
    exit::report_panics(&printer);
    exit::report_unreadable_maps(&printer);
    let outcome = cpu::choose_from_environment().map_err(anyhow::Error::msg);
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

    /// The words of a line, of which some may be in double quotes.
    fn words(line: &str) -> Vec<std::ffi::OsString> {
        let mut words = Vec::new();
        for (i, piece) in line.split('"').enumerate() {
            match i % 2 {
                0 => words.extend(piece.split_whitespace().map(Into::into)),
                _ => words.push(piece.into()),
            }
        }
        words
    }

    #[test]
    fn every_help_ends_with_one_example_of_the_command_that_can_be_typed() {
        let mut command = Cli::command();
        command.build();
        let verbs = command.get_subcommands().filter(|verb| verb.get_name() != "help");
        for verb in verbs {
            let text = verb.get_after_help().unwrap().to_string();
            let line = text.strip_prefix("Example:\n  ").unwrap();
            assert!(text.lines().all(|line| line.len() <= 80), "wraps on a narrow terminal: {text}");
            let line = line.replace("\\\n", " ");
            // What follows is the shell's.
            let line = line.split(" > ").next().unwrap();
            let matches = command.clone().try_get_matches_from(words(line)).unwrap();
            assert_eq!(matches.subcommand_name(), Some(verb.get_name()));
        }
    }

    #[test]
    fn clap_finds_nothing_wrong_with_the_commands() {
        Cli::command().debug_assert();
    }
}

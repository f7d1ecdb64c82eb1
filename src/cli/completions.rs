//! `mist completions`: a script by which a shell completes commands, flags and their values.

use std::fmt::Write;

use clap::{Arg, Args, Command, ValueHint};
use clap_complete::{Shell, generate};
use mist::terminal::Printer;

use super::exit::Status;

/// Print the script by which a shell completes commands, flags and values.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  mist completions bash > ~/.local/share/bash-completion/completions/mist")]
pub struct CompletionsArgs {
    /// The shell that will read the script.
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs `mist completions`. In `command` a boolean flag takes no value: a shell that knew of the optional one would
/// offer `true` and `false` after the flag, and no other flag.
pub fn run(args: &CompletionsArgs, command: Command, printer: &Printer) -> anyhow::Result<Status> {
    printer.data(&script(args.shell, command))?;
    Ok(Status::Success)
}

fn script(shell: Shell, command: Command) -> String {
    let mut command = command.mut_subcommands(|verb| verb.mut_args(no_files));
    let name = command.get_name().to_string();
    // To memory: the generator panics where it cannot write.
    let mut script = Vec::new();
    generate(shell, &mut command, &name, &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if shell == Shell::Fish {
        script.push_str(&fish_positionals(&command));
    }
    if !script.ends_with('\n') {
        script.push('\n');
    }
    script
}

/// A value that is no path is none of the files that are there, which shells offer for what they know nothing of.
fn no_files(arg: Arg) -> Arg {
    match arg.get_value_hint() {
        // The hint of an argument without a value is asked for by nobody.
        ValueHint::Unknown => arg.value_hint(ValueHint::Other),
        _ => arg,
    }
}

/// The lines on what is not a flag: for fish, clap_complete writes none for values, and none that ever hold for what
/// follows `help`. No command takes a bare path.
fn fish_positionals(command: &Command) -> String {
    let mut lines = String::new();
    for verb in command.get_subcommands() {
        let values = verb.get_positionals().flat_map(Arg::get_possible_values);
        let values = values.map(|value| value.get_name().to_string());
        let verbs = verb.get_subcommands().map(|verb| verb.get_name().to_string());
        let words: Vec<String> = values.chain(verbs).collect();
        let offered = if words.is_empty() { String::new() } else { format!(" -a \"{}\"", words.join(" ")) };
        let (name, verb) = (command.get_name(), verb.get_name());
        let is_verb = format!("__fish_{name}_using_subcommand {verb}");
        // Writing to a string does not fail.
        let _ = writeln!(lines, "complete -c {name} -n \"{is_verb}\" -f{offered}");
    }
    lines
}

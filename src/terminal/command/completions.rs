//! Completion scripts for shells. They complete commands, flags and values, and query the names of models.

use std::fmt::Write;

use clap::{Arg, Command, ValueHint};
use clap_complete::{Shell, generate};

/// Returns the completion script for a shell. In `command`, switches must not take an optional value: after a switch, the
/// shell would offer `true` and `false` and no other flag.
pub fn script(shell: Shell, command: Command) -> String {
    let mut command = command.mut_subcommands(|verb| verb.mut_args(no_files));
    let name = command.get_name().to_string();
    // The generator panics if it cannot write, so it writes to memory.
    let mut script = Vec::new();
    generate(shell, &mut command, &name, &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => {
            script =
                bash_models(&command) + &script.replace("complete -F _mist ", "complete -F _mist_models ")
        }
        Shell::Zsh => script = zsh_models(&script),
        Shell::Fish => script.push_str(&fish_positionals(&command)),
        _ => {}
    }
    if !script.ends_with('\n') {
        script.push('\n');
    }
    script
}

/// Keeps shells from offering files for a value without a hint, because such a value is not a path.
fn no_files(arg: Arg) -> Arg {
    match arg.get_value_hint() {
        // This also sets the hint of arguments without a value, which has no effect.
        ValueHint::Unknown => arg.value_hint(ValueHint::Other),
        _ => arg,
    }
}

/// The shell command that prints the names of the models on this machine. It runs when Tab is pressed.
const NAMES: &str = "mist list --names 2>/dev/null";

/// Returns whether a command takes the name of a model on this machine as its first argument.
fn takes_model(verb: &Command) -> bool {
    verb.get_positionals().any(|arg| arg.get_id() == "model" || arg.get_id() == "name")
}

/// Returns a bash function that wraps the generated one and adds the names of models to the files.
fn bash_models(command: &Command) -> String {
    let verbs = command.get_subcommands().filter(|verb| takes_model(verb));
    let verbs: Vec<&str> =
        verbs.flat_map(|verb| verb.get_visible_aliases().chain([verb.get_name()])).collect();
    format!(
        "_mist_models() {{
    _mist \"$@\"
    local current=\"${{COMP_WORDS[COMP_CWORD]}}\" before=\"${{COMP_WORDS[COMP_CWORD-1]}}\"
    case \"${{COMP_WORDS[1]}}:$before\" in
        {first})
            [[ $current == -* ]] && return 0
            [[ $before == \"${{COMP_WORDS[1]}}\" ]] && COMPREPLY=( $(compgen -f -- \"$current\") )
            COMPREPLY+=( $(compgen -W \"$({NAMES})\" -- \"$current\") ) ;;
    esac
}}
",
        first = verbs
            .iter()
            .map(|verb| format!("{verb}:{verb}|{verb}:-m|{verb}:--checkpoint-dir"))
            .collect::<Vec<_>>()
            .join("|")
    )
}

/// Adds a zsh function to the script that offers names of models as well as files.
fn zsh_models(script: &str) -> String {
    let of_model =
        |line: &str| ["MODEL:_files", "'::model -- ", "':name -- "].iter().any(|mark| line.contains(mark));
    let with_models = |line: &str| match of_model(line) {
        true => line.replace(":_files'", ":_mist_models'").replace("alone:'", "alone:_mist_names'"),
        false => line.into(),
    };
    let mut lines: Vec<String> = script.lines().map(with_models).collect();
    // After the first line, which names the command of the script.
    lines.insert(
        1,
        format!(
            "
_mist_names() {{
    local -a names
    names=(${{(f)\"$({NAMES})\"}})
    compadd -a names
}}

_mist_models() {{
    _mist_names
    _files
}}"
        ),
    );
    lines.join("\n")
}

/// Returns lines of a fish script for positional arguments. clap_complete writes none for their values, and only lines
/// that never match after `help`.
fn fish_positionals(command: &Command) -> String {
    let mut lines = String::new();
    for verb in command.get_subcommands() {
        let values = verb.get_positionals().flat_map(Arg::get_possible_values);
        let values = values.map(|value| value.get_name().to_string());
        let verbs = verb.get_subcommands().map(|verb| verb.get_name().to_string());
        let words: Vec<String> = values.chain(verbs).collect();
        let is_path = verb.get_positionals().any(|arg| arg.get_value_hint() == ValueHint::FilePath);
        let files = if is_path { "" } else { " -f" };
        let offered = match takes_model(verb) {
            true => format!(" -a \"({NAMES})\""),
            false if words.is_empty() => String::new(),
            false => format!(" -a \"{}\"", words.join(" ")),
        };
        let (name, verb) = (command.get_name(), verb.get_name());
        let is_verb = format!("__fish_{name}_using_subcommand {verb}");
        // Writing to a string does not fail.
        let _ = writeln!(lines, "complete -c {name} -n \"{is_verb}\"{files}{offered}");
    }
    lines
}

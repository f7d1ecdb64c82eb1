//! What is done to the commands and to arguments before clap reads them, so that the calls of lit-gpt's
//! tutorials run as they are: `--repo_id` is `--repo-id`, and `--from_safetensors true` is a flag with a value.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, Command};

/// Every flag of `command` and its subcommands takes an optional `=true` or `=false`.
pub fn with_optional_values(command: Command) -> Command {
    command.mut_args(optional_value).mut_subcommands(with_optional_values)
}

fn optional_value(flag: Arg) -> Arg {
    if !matches!(flag.get_action(), ArgAction::SetTrue) {
        return flag;
    }
    flag.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .value_parser(clap::value_parser!(bool))
        .value_name("BOOL")
        .default_missing_value("true")
        .default_value("false")
        .hide_possible_values(true)
        .hide_default_value(true)
}

/// Known flags in kebab-case, and a boolean flag's separate `true` or `false` joined to it. Joining here keeps
/// `mist download --from-safetensors org/name` from taking the name for the flag's value. What follows a flag that
/// takes a value is that value, and stays as it was typed.
pub fn normalise(typed: Vec<OsString>, command: &Command) -> Vec<OsString> {
    let known = flags(command);
    let mut out: Vec<OsString> = Vec::with_capacity(typed.len());
    let mut rest_is_literal = false;
    // What the argument before this one leaves to be said.
    let mut expected = Takes::Nothing;
    for argument in typed {
        let text = argument.to_str().filter(|_| !rest_is_literal && expected != Takes::Value);
        match (text, expected, out.last_mut()) {
            (Some("true" | "false"), Takes::OptionalBool, Some(flag)) => {
                flag.push(OsStr::new("="));
                flag.push(&argument);
                expected = Takes::Nothing;
            }
            (Some(text), ..) => {
                rest_is_literal = text == "--";
                let flag = kebab(text, &known);
                expected = known
                    .iter()
                    .find(|f| flag.to_str() == Some(&f.typed))
                    .map_or(Takes::Nothing, |f| f.takes);
                out.push(flag);
            }
            (None, ..) => {
                expected = Takes::Nothing;
                out.push(argument);
            }
        }
    }
    out
}

/// `--checkpoint_dir=a_b` as `--checkpoint-dir=a_b`, if that is a flag; anything else as it is.
fn kebab(text: &str, known: &[Flag]) -> OsString {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    let kebab = name.replace('_', "-");
    match (known.iter().any(|flag| flag.typed == kebab), value) {
        (true, Some(value)) => format!("{kebab}={value}").into(),
        (true, None) => kebab.into(),
        (false, _) => text.into(),
    }
}

/// The command that was called, such as `mist generate`, as far as the arguments tell.
pub fn called(typed: &[OsString], command: &Command) -> String {
    let verb = typed.iter().skip(1).filter_map(|a| a.to_str()).find_map(|a| command.find_subcommand(a));
    verb.map_or_else(|| "mist".into(), |verb| format!("mist {}", verb.get_name()))
}

/// A flag as it is typed, and what may follow it.
struct Flag {
    typed: String,
    takes: Takes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    OptionalBool,
    Value,
}

/// The long flags of all commands.
fn flags(command: &Command) -> Vec<Flag> {
    let flag = |arg: &Arg| {
        let takes = match (arg.is_require_equals_set(), arg.get_action()) {
            (true, _) => Takes::OptionalBool,
            (false, ArgAction::Set | ArgAction::Append) => Takes::Value,
            (false, _) => Takes::Nothing,
        };
        Some(Flag { typed: format!("--{}", arg.get_long()?), takes })
    };
    let own = command.get_arguments().filter_map(flag);
    own.chain(command.get_subcommands().flat_map(flags)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let download = Command::new("download")
            .arg(Arg::new("repo").long("repo-id"))
            .arg(Arg::new("safe").long("from-safetensors").action(ArgAction::SetTrue))
            .arg(Arg::new("name"));
        with_optional_values(Command::new("mist").subcommand(download))
    }

    fn run(typed: &str) -> Option<(bool, Option<String>)> {
        let typed = normalise(typed.split(' ').map(OsString::from).collect(), &command());
        let matches = command().try_get_matches_from(typed).ok()?;
        let (_, matches) = matches.subcommand()?;
        Some((*matches.get_one("safe")?, matches.get_one::<String>("name").cloned()))
    }

    #[test]
    fn a_flag_stands_alone_or_with_true_or_false_and_eats_nothing_else() {
        let name = || Some("a/b_c".to_string());
        assert_eq!(run("mist download"), Some((false, None)));
        assert_eq!(run("mist download --from_safetensors"), Some((true, None)));
        assert_eq!(run("mist download --from_safetensors true a/b_c"), Some((true, name())));
        assert_eq!(run("mist download --from-safetensors=false a/b_c"), Some((false, name())));
        assert_eq!(run("mist download --from-safetensors a/b_c"), Some((true, name())));
        assert_eq!(run("mist download --repo_id x true"), Some((false, Some("true".into()))));
        assert_eq!(run("mist download --from-safetensors maybe"), Some((true, Some("maybe".into()))));
        assert_eq!(run("mist download --from-safetensors=maybe"), None);
    }

    #[test]
    fn only_the_names_of_flags_change() {
        let normal = |text: &str| normalise(text.split(' ').map(OsString::from).collect(), &command());
        assert_eq!(normal("--repo_id=my_models"), ["--repo-id=my_models"]);
        assert_eq!(normal("my_models --no_such_flag"), ["my_models", "--no_such_flag"]);
        assert_eq!(normal("--repo_id --repo_id"), ["--repo-id", "--repo_id"]);
        assert_eq!(
            normal("--repo_id --repo_id --from_safetensors"),
            ["--repo-id", "--repo_id", "--from-safetensors"]
        );
        assert_eq!(normal("--repo_id --from-safetensors true"), ["--repo-id", "--from-safetensors", "true"]);
        assert_eq!(normal("-- --repo_id"), ["--", "--repo_id"]);
    }
}

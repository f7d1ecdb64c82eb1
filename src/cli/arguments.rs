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

/// Flags in kebab-case, and a boolean flag's separate `true` or `false` joined to it. Joining here keeps
/// `mist download --from-safetensors org/name` from taking the name for the flag's value.
pub fn normalise(typed: Vec<OsString>, command: &Command) -> Vec<OsString> {
    let flags = flags(command);
    let mut out: Vec<OsString> = Vec::with_capacity(typed.len());
    let mut rest_is_literal = false;
    for argument in typed {
        let Some(text) = argument.to_str().filter(|_| !rest_is_literal) else {
            out.push(argument);
            continue;
        };
        rest_is_literal = text == "--";
        let last =
            out.last_mut().filter(|last| last.to_str().is_some_and(|last| flags.iter().any(|f| f == last)));
        match (last, text) {
            (Some(flag), "true" | "false") => {
                flag.push(OsStr::new("="));
                flag.push(&argument);
            }
            _ => out.push(kebab(text)),
        }
    }
    out
}

/// `--checkpoint_dir=a_b` as `--checkpoint-dir=a_b`; anything else as it is.
fn kebab(text: &str) -> OsString {
    let Some(flag) = text.strip_prefix("--").filter(|f| !f.is_empty()) else {
        return text.into();
    };
    match flag.split_once('=') {
        Some((name, value)) => format!("--{}={value}", name.replace('_', "-")).into(),
        None => format!("--{}", flag.replace('_', "-")).into(),
    }
}

/// The command that was called, such as `mist generate`, as far as the arguments tell.
pub fn called(typed: &[OsString], command: &Command) -> String {
    let verb = typed.iter().skip(1).filter_map(|a| a.to_str()).find_map(|a| command.find_subcommand(a));
    verb.map_or_else(|| "mist".into(), |verb| format!("mist {}", verb.get_name()))
}

/// The boolean flags as they are typed, over all commands.
fn flags(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter(|a| a.is_require_equals_set()).filter_map(|a| a.get_long());
    let own = own.map(|name| format!("--{name}"));
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
        let normal = |text: &str| normalise(vec![text.into()], &command());
        assert_eq!(normal("--checkpoint_dir=my_models"), ["--checkpoint-dir=my_models"]);
        assert_eq!(normal("my_models"), ["my_models"]);
        let literal = normalise(["--", "--a_b"].map(OsString::from).to_vec(), &command());
        assert_eq!(literal, ["--", "--a_b"]);
    }
}

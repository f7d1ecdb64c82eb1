//! Converts typed arguments to the form that clap parses, so that calls in the style of other programs work.
//!
//! Calls of lit-gpt's tutorials run unchanged: `--repo_id` becomes `--repo-id`, and the switch `--from_safetensors` may have
//! a value `true`. A flag of llama.cpp with one dash and several letters is not split into several flags.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

use super::others;

/// Converts known flags to kebab-case, and removes the values of switches.
///
/// `--json=true` and `--json true` become `--json`; with `false` the switch is removed. A switch takes no other word as its
/// value, so that `mist download --from-safetensors org/name` keeps the name. A word after a flag that takes a value is
/// never changed.
pub fn normalise(typed: Vec<OsString>, command: &Command) -> Vec<OsString> {
    let known = flags(command);
    let mut out: Vec<OsString> = Vec::with_capacity(typed.len());
    let mut rest_is_literal = false;
    // What the previous argument takes: the next argument may be its value.
    let mut expected = Takes::Nothing;
    for argument in typed {
        let text = argument.to_str().filter(|_| !rest_is_literal && expected != Takes::Value);
        match (text, expected) {
            (Some(value), Takes::Switch) if truth(value).is_some() => {
                if truth(value) == Some(false) {
                    out.pop();
                }
                expected = Takes::Nothing;
            }
            (Some(text), _) => {
                rest_is_literal = text == "--";
                let flag = kebab(text, &known);
                let (name, value) =
                    flag.split_once('=').map_or((&*flag, None), |(name, value)| (name, Some(value)));
                let takes = known.iter().find(|f| f.typed == name).map_or(Takes::Nothing, |f| f.takes);
                let truth = value.and_then(truth).filter(|_| takes == Takes::Switch);
                expected = if value.is_some() { Takes::Nothing } else { takes };
                match truth {
                    Some(true) => out.push(name.into()),
                    Some(false) => {}
                    None => out.push(flag.into()),
                }
            }
            (None, _) => {
                expected = Takes::Nothing;
                out.push(argument);
            }
        }
    }
    out
}

/// Parses the value of a switch, ignoring case because Python writes `True`.
fn truth(value: &str) -> Option<bool> {
    ["true", "false"].iter().position(|known| value.eq_ignore_ascii_case(known)).map(|i| i == 0)
}

/// Converts `--checkpoint_dir=a_b` to `--checkpoint-dir=a_b` if that is a known flag; returns other text unchanged.
fn kebab(text: &str, known: &[Flag]) -> String {
    if let Some(long) = others::long_form(text) {
        return long.into();
    }
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    let kebab = name.replace('_', "-");
    match (known.iter().any(|flag| flag.typed == kebab), value) {
        (true, Some(value)) => format!("{kebab}={value}"),
        (true, None) => kebab,
        (false, _) => text.into(),
    }
}

/// Returns the called command, such as `mist generate`, or `mist` if the arguments name no command.
pub fn called(typed: &[OsString], command: &Command) -> String {
    let verb = typed.iter().skip(1).filter_map(|a| a.to_str()).find_map(|a| command.find_subcommand(a));
    verb.map_or_else(|| "mist".into(), |verb| format!("mist {}", verb.get_name()))
}

/// A flag as typed, and the kind of value that it takes.
struct Flag {
    typed: String,
    takes: Takes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    /// An optional `true` or `false`.
    Switch,
    Value,
}

/// Returns the long flags of all commands, and the short flags that take values.
fn flags(command: &Command) -> Vec<Flag> {
    let flag = |arg: &Arg| {
        let takes = match arg.get_action() {
            ArgAction::SetTrue => Takes::Switch,
            ArgAction::Set | ArgAction::Append => Takes::Value,
            _ => Takes::Nothing,
        };
        let long = arg.get_long_and_visible_aliases().unwrap_or_default();
        let aliases = arg.get_all_aliases().unwrap_or_default();
        let short = arg.get_short().filter(|_| takes == Takes::Value).map(|short| format!("-{short}"));
        let typed = long.into_iter().chain(aliases).map(|name| format!("--{name}")).chain(short);
        typed.map(|typed| Flag { typed, takes }).collect::<Vec<_>>()
    };
    let own = command.get_arguments().filter(|arg| !arg.is_positional()).flat_map(flag);
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
        Command::new("mist").subcommand(download)
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
        assert_eq!(run("mist download --from_safetensors False a/b_c"), Some((false, name())));
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
        assert_eq!(normal("--from_safetensors=TRUE x"), ["--from-safetensors", "x"]);
        assert_eq!(normal("--from_safetensors=maybe x"), ["--from-safetensors=maybe", "x"]);
        assert_eq!(normal("-hf a/b"), ["--hf", "a/b"]);
        assert_eq!(normal("--repo_id --from-safetensors true"), ["--repo-id", "--from-safetensors", "true"]);
        assert_eq!(normal("-- --repo_id"), ["--", "--repo_id"]);
    }
}

//! What is done to arguments before clap reads them, so that the calls of lit-gpt's tutorials run as they
//! are: `--repo_id` is `--repo-id`, and `--from_safetensors true` is `--from-safetensors=true`.

use std::ffi::{OsStr, OsString};

use clap::{ArgAction, Command};

/// Flags in kebab-case, and a boolean flag's separate `true` or `false` joined to it.
///
/// Boolean flags with a value are those declared with `num_args = 0..=1` and `require_equals`; joining here
/// keeps `mist download --from-safetensors org/name` from taking the name for the flag's value.
pub fn normalise(typed: Vec<OsString>, command: &Command) -> Vec<OsString> {
    let booleans = optional_booleans(command);
    let mut out: Vec<OsString> = Vec::with_capacity(typed.len());
    let mut rest_is_literal = false;
    for argument in typed {
        let Some(text) = argument.to_str().filter(|_| !rest_is_literal) else {
            out.push(argument);
            continue;
        };
        rest_is_literal = text == "--";
        let follows_boolean = out.last().and_then(|o| o.to_str()).is_some_and(|last| {
            last.strip_prefix("--").is_some_and(|name| booleans.iter().any(|b| b == name))
        });
        match (follows_boolean, text) {
            (true, "true" | "false") => {
                if let Some(last) = out.last_mut() {
                    last.push(OsStr::new("="));
                    last.push(&argument);
                }
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

/// The long names of the flags that take an optional `true` or `false`, over all commands.
fn optional_booleans(command: &Command) -> Vec<String> {
    let own = command
        .get_arguments()
        .filter(|a| a.is_require_equals_set() && matches!(a.get_action(), ArgAction::Set))
        .filter_map(|a| a.get_long())
        .map(str::to_string);
    let nested = command.get_subcommands().flat_map(optional_booleans);
    own.chain(nested).collect()
}

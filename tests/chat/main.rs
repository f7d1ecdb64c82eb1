//! `mist chat` in a pipe, as a process: what is on stdout, what on stderr, and how it ends.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(name)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Runs `mist chat` in `folder`, greedily, with `input` on stdin.
fn chat_in(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut mist = Command::new(env!("CARGO_BIN_EXE_mist"))
        .current_dir(folder)
        .args(["chat", "--device", "cpu", "--temperature", "0"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    mist.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    mist.wait_with_output().unwrap()
}

/// The same with the checkpoint at `path`; what it wrote to stdout and stderr.
fn chat(path: &Path, arguments: &[&str], input: &str) -> (String, String) {
    let arguments = [&["--checkpoint-dir", path.to_str().unwrap()], arguments].concat();
    let output = chat_in(Path::new("."), &arguments, input);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// The turns that stderr tells of.
fn turns(stderr: &str) -> usize {
    stderr.lines().filter(|line| line.starts_with("Prompt: ")).count()
}

#[test]
fn every_line_that_is_not_empty_is_a_turn_and_none_is_a_command() {
    let model = fixture("mistral-window");
    let (first, _) = chat(&model, &["--max-new-tokens", "4", "--prompt", "one"], "not read");
    let (all, stderr) = chat(&model, &["--max-new-tokens", "4"], "one\n\n  \n/exit\n//\nlast");
    assert_eq!(turns(&stderr), 4, "{stderr}");
    assert!(first.ends_with('\n') && all.ends_with('\n') && all.len() > first.len());
    assert!(all.starts_with(&first), "{all:?} {first:?}");
}

#[test]
fn a_reply_depends_on_what_was_said_before_it() {
    let model = fixture("mistral-window");
    let (alone, _) = chat(&model, &["--max-new-tokens", "8"], "two\n");
    let (after, _) = chat(&model, &["--max-new-tokens", "8"], "one\ntwo\n");
    assert!(!after.ends_with(&alone), "{after:?} {alone:?}");
    let (told, _) = chat(&model, &["--max-new-tokens", "8", "--system", "Be brief."], "two\n");
    assert_ne!(told, alone);
}

#[test]
fn a_full_context_ends_the_reply_and_drops_turns_and_says_so_even_if_quiet() {
    let (_, stderr) = chat(&fixture("llama-gqa"), &["--quiet"], "hello\nhow are you\n");
    assert_eq!(
        stderr,
        "warning: the reply ended because the context of 1024 tokens is full\n\
         warning: the context of 1024 tokens is full: the oldest turn is dropped\n"
    );
}

#[test]
fn a_model_without_a_chat_template_continues_every_line_on_its_own() {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture("llama-gqa"), folder.path());
    let path = folder.path().join("tokenizer_config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("chat_template").unwrap();
    std::fs::write(&path, config.to_string()).unwrap();
    let chat = |input| chat(folder.path(), &["--max-new-tokens", "8"], input);
    let ((one, _), (two, _), (both, stderr)) = (chat("one\n"), chat("two\n"), chat("one\ntwo\n"));
    assert_eq!(both, one + &two);
    assert!(stderr.contains("warning: the model has no chat template"), "{stderr}");
}

#[test]
fn the_only_checkpoint_is_taken_and_of_several_none() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join("checkpoints/org").join(name);
    copy(&fixture("llama-gqa"), &at("one"));
    let output = chat_in(folder.path(), &["--max-new-tokens", "1"], "hello\n");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    copy(&fixture("llama-gqa"), &at("two"));
    let output = chat_in(folder.path(), &[], "hello\n");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: there are 2 checkpoints in checkpoints: org/one, org/two\nhint: add --checkpoint-dir org/one\n"
    );
}

#[test]
fn a_message_that_does_not_fit_is_an_error_with_a_hint() {
    let arguments = ["--checkpoint-dir", &fixture("llama-gqa").display().to_string(), "--quiet"];
    let output = chat_in(Path::new("."), &arguments, &"long ".repeat(3000));
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.ends_with("there is room for\nhint: a shorter message, or a shorter system prompt, may fit\n"),
        "{stderr}"
    );
}

//! `mist chat` in a pipe.

use std::path::Path;

use super::support::{Ended, Mist, copy_folder, copy_of, model};
use super::transcript::Transcript;

/// Runs `mist chat` in `folder`, greedily, with `input` on stdin.
fn chat_in(folder: &Path, arguments: &[&str], input: &str) -> Ended {
    let chat = ["chat", "--device", "cpu", "--temperature", "0"];
    Mist::new(folder).args(chat).args(arguments).stdin(input).run()
}

/// The same with the checkpoint at `path`; what it wrote to stdout and stderr.
fn chat(path: &Path, arguments: &[&str], input: &str) -> (String, String) {
    let arguments = [&["--checkpoint-dir", path.to_str().unwrap()], arguments].concat();
    let ended = chat_in(Path::new("."), &arguments, input);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    (ended.text(), ended.stderr)
}

/// The turns that stderr tells of.
fn turns(stderr: &str) -> usize {
    stderr.lines().filter(|line| line.starts_with("Prompt: ")).count()
}

#[test]
fn every_line_that_is_not_empty_is_a_turn_and_none_is_a_command() {
    let model = model("mistral-window");
    let (first, _) = chat(&model, &["--max-new-tokens", "4", "--prompt", "one"], "not read");
    let (all, stderr) = chat(&model, &["--max-new-tokens", "4"], "one\n\n  \n/exit\n//\nlast");
    assert_eq!(turns(&stderr), 4, "{stderr}");
    assert!(first.ends_with('\n') && all.ends_with('\n') && all.len() > first.len());
    assert!(all.starts_with(&first), "{all:?} {first:?}");
}

#[test]
fn a_reply_depends_on_what_was_said_before_it() {
    let model = model("mistral-window");
    let (alone, _) = chat(&model, &["--max-new-tokens", "8"], "two\n");
    let (after, _) = chat(&model, &["--max-new-tokens", "8"], "one\ntwo\n");
    assert!(!after.ends_with(&alone), "{after:?} {alone:?}");
    let (told, _) = chat(&model, &["--max-new-tokens", "8", "--system", "Be brief."], "two\n");
    assert_ne!(told, alone);
}

#[test]
fn a_full_context_ends_the_reply_and_drops_turns_and_says_so_even_if_quiet() {
    // Which replies end before the context is full hangs on the last bits: those of f32.
    let (_, stderr) = chat(&model("llama-gqa"), &["--quiet", "--cache-dtype", "f32"], "hello\nhow are you\n");
    assert_eq!(
        stderr,
        "warning: the reply ended because the context of 1024 tokens is full\n\
         warning: the context of 1024 tokens is full: the oldest turn is dropped\n"
    );
}

#[test]
fn a_model_without_a_chat_template_continues_every_line_on_its_own() {
    let folder = copy_of("llama-gqa");
    let path = folder.path().join("tokenizer_config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("chat_template").unwrap();
    std::fs::write(&path, config.to_string()).unwrap();
    let chat = |input| chat(folder.path(), &["--max-new-tokens", "8"], input);
    let ((one, _), (two, _), (both, stderr)) = (chat("one\n"), chat("two\n"), chat("one\ntwo\n"));
    assert_eq!(both, one + &two);
    assert!(stderr.contains("warning: the model has no chat format"), "{stderr}");
}

#[test]
fn the_only_checkpoint_is_taken_and_of_several_none() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join("checkpoints/org").join(name);
    copy_folder(&model("llama-gqa"), &at("one"));
    let ended = chat_in(folder.path(), &["--max-new-tokens", "1"], "hello\n");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    copy_folder(&model("llama-gqa"), &at("two"));
    let ended = chat_in(folder.path(), &[], "hello\n");
    assert_eq!((ended.code, ended.stdout.len()), (Some(2), 0));
    assert_eq!(
        ended.stderr,
        "error: there are 2 checkpoints on this machine: org/one, org/two\nhint: name one: -m org/one\n"
    );
}

#[test]
fn a_message_that_does_not_fit_is_an_error_with_a_hint() {
    let model = model("llama-gqa");
    let arguments = ["--checkpoint-dir", model.to_str().unwrap(), "--quiet"];
    let ended = chat_in(Path::new("."), &arguments, &"long ".repeat(3000));
    assert_eq!((ended.code, ended.stdout.len()), (Some(1), 0));
    let hint = "there is room for\nhint: a shorter message, or a shorter system prompt, may fit\n";
    assert!(ended.stderr.ends_with(hint), "{ended:?}");
}

#[test]
fn what_a_script_sees() {
    let mut t = Transcript::new();
    let flags = "--temperature 0 --max-new-tokens 6";
    let lines = "The keeper\n\n/help\nAnd then?";
    t.run_with(&format!("chat --checkpoint-dir tiny/llama {flags}"), |m| m.stdin(lines));
    t.run_with(&format!("chat --checkpoint-dir tiny/llama {flags} --quiet"), |m| m.stdin(""));
    t.run(&format!(
        "chat --checkpoint-dir tiny/llama {flags} --quiet --system 'Be brief.' --prompt 'The keeper'"
    ));
    t.run_with(&format!("chat {flags}"), |m| m.stdin(lines));
    let config = t.folder().join("checkpoints/tiny/llama/tokenizer_config.json");
    std::fs::write(config, r#"{"bos_token": "<s>", "eos_token": "</s>"}"#).unwrap();
    t.run(&format!(
        "chat --checkpoint-dir tiny/llama {flags} --quiet --system 'Be brief.' --prompt 'The keeper'"
    ));
    let long = "The keeper wrote. ".repeat(400);
    t.run_with(&format!("chat --checkpoint-dir tiny/llama {flags}"), |m| m.stdin(long.as_bytes()));
    t.run_with(&format!("chat --checkpoint-dir tiny/mixtral {flags}"), |m| m.stdin(long.as_bytes()));
    std::fs::remove_dir_all(t.folder().join("checkpoints")).unwrap();
    t.run_with(&format!("chat {flags}"), |m| m.env("HF_HUB_OFFLINE", "1"));
    t.matches("chat");
}

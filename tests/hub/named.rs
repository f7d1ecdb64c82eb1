//! A model that is named in a command and is not on this machine: fetched if that was agreed to.

use std::fs;
use std::path::Path;

use crate::support::{Ended, Hub, Run, Served, command, large, small};

const GREEDY: [&str; 7] = ["-p", "The keeper", "-n", "4", "--temperature", "0", "--quiet"];

fn fixture(file: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file)).unwrap()
}

/// A repository in Hugging Face's layout.
fn published() -> Vec<Served> {
    let text = |file: &str| String::from_utf8(fixture(&format!("models/llama-gqa/{file}"))).unwrap();
    vec![
        small("config.json", &text("config.json")),
        small("tokenizer.json", &text("tokenizer.json")),
        large("model.safetensors", fixture("models/llama-gqa/model.safetensors")),
    ]
}

/// A repository of GGUF files.
fn files() -> Vec<Served> {
    let file = fixture("gguf/llama-gqa-quants.gguf");
    vec![large("x.Q4_0.gguf", file.clone()), large("x.Q8_0.gguf", file)]
}

fn run(hub: &Hub, folder: &Path, args: &[&str], more: &[&str]) -> Ended {
    let mut command = command(&hub.server.address, folder, args);
    command.args(more);
    Run::start(command).end()
}

#[test]
fn a_model_that_is_missing_is_fetched_where_that_was_agreed_to() {
    let (hub, folder) = (Hub::start(published()), tempfile::tempdir().unwrap());
    let asked = run(&hub, folder.path(), &["generate", "org/name"], &GREEDY);
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.stderr.contains("is not on this machine\nhint: "), "{asked:?}");
    assert!(!folder.path().join("checkpoints/org").exists());
    let first = run(&hub, folder.path(), &["generate", "org/name", "--yes"], &GREEDY);
    assert_eq!(first.code, Some(0), "{first:?}");
    let again = run(&hub, folder.path(), &["generate", &format!("{}/org/name", hub.server.address)], &GREEDY);
    assert_eq!((again.code, &again.stdout), (Some(0), &first.stdout), "{again:?}");
    let quantized = run(&hub, folder.path(), &["generate", "org/name:q8_0"], &GREEDY);
    assert_eq!(quantized.code, Some(0), "{quantized:?}");
    assert!(folder.path().join("checkpoints/org/name/q8_0/mist.json").is_file());
}

#[test]
fn a_gguf_file_is_fetched_by_its_quantization() {
    let (hub, folder) = (Hub::start(files()), tempfile::tempdir().unwrap());
    let several = run(&hub, folder.path(), &["generate", "org/name", "--yes"], &GREEDY);
    assert_eq!(several.code, Some(2), "{several:?}");
    assert!(several.stderr.ends_with("hint: name one by its quantization: org/name:Q4_0\n"), "{several:?}");
    let one = run(&hub, folder.path(), &["generate", "org/name:q8_0", "-y"], &GREEDY);
    assert_eq!(one.code, Some(0), "{one:?}");
    let here = folder.path().join("checkpoints/org/name");
    assert!(here.join("x.Q8_0.gguf").is_file() && !here.join("x.Q4_0.gguf").exists());
    // Another file of it, and one that there is not: nothing else is fetched or made in its place.
    let other = run(&hub, folder.path(), &["generate", "org/name:Q4_0", "-y"], &GREEDY);
    assert_eq!(other.code, Some(0), "{other:?}");
    let missing = run(&hub, folder.path(), &["generate", "org/name:Q6_K", "-y"], &GREEDY);
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert!(missing.stderr.contains("has no GGUF file Q6_K"), "{missing:?}");
}

#[test]
fn what_cannot_be_had_is_found_out_before_anything_is_fetched() {
    let (hub, folder) = (Hub::start(published()), tempfile::tempdir().unwrap());
    let none = run(&hub, folder.path(), &["generate", "org/name:Q3_K_M", "-y"], &GREEDY);
    assert_eq!(none.code, Some(2), "{none:?}");
    assert_eq!(hub.sent("model.safetensors"), 0);
    let one = Hub::start(files().into_iter().take(1).collect());
    let other = run(&one, folder.path(), &["generate", "org/name:Q8_0", "-y"], &GREEDY);
    assert_eq!(other.code, Some(1), "{other:?}");
    assert_eq!(one.sent("x.Q4_0.gguf"), 0);
}

#[test]
fn a_download_takes_the_same_names() {
    let (hub, folder) = (Hub::start(published()), tempfile::tempdir().unwrap());
    let ended = run(&hub, folder.path(), &["download", "org/name:q8_0"], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        folder.path().join("checkpoints/org/name/q8_0/mist.json").is_file()
            || folder.path().join("checkpoints/org/name/mist.json").is_file()
    );
    let (hub, folder) = (Hub::start(files()), tempfile::tempdir().unwrap());
    let ended = run(&hub, folder.path(), &["download", "org/name:Q4_0"], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(folder.path().join("checkpoints/org/name/x.Q4_0.gguf").is_file());
}

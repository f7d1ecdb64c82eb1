//! Files made to hurt, through the binary: each must end with exit 1, one line that names what is wrong, no panic, and
//! within two gigabytes of address space and 30 seconds of processor time. One function an attack; where somebody
//! has suffered it before, it says who.
//!
//! | file | what is hostile |
//! |---|---|
//! | `gguf` | counts, lengths, spans, alignments and sizes in a GGUF header |
//! | `safetensors` | the same in safetensors files, and what a header leaves out |
//! | `folder` | the index, `config.json`, `mist.json` |
//! | `memory` | what takes more memory than its bytes |
//! | `quoted` | long texts where a message repeats them |
//! | `mistral` | SentencePiece models and `tekken.json` |
//! | `layouts` | Mistral's own layout and litgpt's: `params.json`, YAML, names, shards |
//! | `pickle` | PyTorch's files: programs, archives |
//! | `files` | links, and files that change while they are read |
//! | `links` | links in the place of what is written |
//! | `opened` | pipes, devices and folders in the place of what is read |
//! | `signals` | files cut short while they are mapped |
//! | `threads` | systems that give no more threads |
//! | `tokenizer` | `tokenizer.json`, vocabularies, chat templates |
//! | `templates` | chat templates that recurse |
//! | `values` | weights that are no numbers |
//! | `settings` | settings that contradict each other, that are left out, or that change nothing |
//! | `truncation` | every prefix of every file |
//! | `bytes` | the tools to make such files |
// The lint knows functions marked as tests, not their helpers; a helper that fails here is a failed test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]
#![cfg(unix)]

mod bytes;
mod files;
mod folder;
mod gguf;
mod layouts;
mod links;
mod memory;
mod mistral;
mod opened;
mod pickle;
mod quoted;
mod safetensors;
mod settings;
mod signals;
#[path = "../support/mod.rs"]
mod support;
mod templates;
mod threads;
mod tokenizer;
mod truncation;
mod values;

use std::path::Path;

use support::{Ended, Mist};

/// Runs a command under limits of address space and processor time.
fn run(folder: &Path, command: &str) -> Ended {
    // No limit of address space on macOS: it has none.
    let script = r#"ulimit -v 2097152 2>/dev/null; ulimit -t 30; exec "$0" "$@""#;
    Mist::shell(folder, script).args(command.split(' ')).run()
}

/// Runs a command that must fail with one clean line that holds all of `parts`.
#[track_caller]
fn refused(folder: &Path, command: &str, parts: &[&str]) {
    let ended = run(folder, command);
    let error = clean_error(&ended);
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

/// The error line of a run that failed as it should: exit 1, nothing on stdout, an error of one line and at most a
/// hint after it.
#[track_caller]
fn clean_error(ended: &Ended) -> &str {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.is_empty(), "{ended:?}");
    let mut lines = ended.stderr.lines().skip_while(|line| !line.starts_with("error: "));
    let error = lines.next().unwrap_or_else(|| panic!("no error line in {ended:?}"));
    let rest: Vec<&str> = lines.collect();
    assert!(rest.len() <= 1 && rest.iter().all(|line| line.starts_with("hint: ")), "{ended:?}");
    assert!(error.len() < 1100, "{} bytes: {error}", error.len());
    // Three stand where a long name was cut.
    assert!(!error.ends_with('.') || error.ends_with("..."), "{error}");
    for word in ["panicked", "unwrap", "RUST_BACKTRACE", "attempt to"] {
        assert!(!ended.stderr.contains(word), "{ended:?}");
    }
    error
}

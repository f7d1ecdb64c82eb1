//! The library's front door, beside the commands: what a program gets is what a command prints.
//!
//! | file | what |
//! |---|---|
//! | `generated` | texts, in pieces and as a whole |
//! | `opened` | models by path and by name, quantized, and what is wrong with others |
//! | `said` | conversations |
//! | `examples` | the programs of `examples/`, as they are called |
// The lint knows functions marked as tests, not their helpers; a helper that fails here is a failed test.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod examples;
mod generated;
mod opened;
mod said;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use mist::{Model, Options, Sampling};
use support::{Ended, Mist};

/// The checkpoint that the documentation's examples run on.
fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/tiny-mistral")
}

/// What a command prints.
#[track_caller]
fn mist(folder: &Path, args: &[&str], stdin: &str) -> Ended {
    let ended = Mist::new(folder).args(args).stdin(stdin).run();
    assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
    ended
}

/// The most likely tokens, so many.
fn greedy(tokens: usize) -> Options {
    Options { max_new_tokens: Some(tokens), ..Sampling::greedy().into() }
}

#[test]
fn models_and_texts_go_to_other_threads() {
    fn goes<T: Send>() {}
    fn is_shared<T: Sync>() {}
    goes::<mist::Model>();
    is_shared::<mist::Model>();
    goes::<mist::Pieces>();
    goes::<mist::Chat>();
    goes::<mist::Error>();
    is_shared::<mist::Error>();
    let model = Model::open(tiny()).unwrap();
    let texts: Vec<_> = (0..2)
        .map(|_| {
            let model = model.clone();
            std::thread::spawn(move || model.generate("A sail", greedy(12)).unwrap().text().unwrap())
        })
        .map(|thread| thread.join().unwrap())
        .collect();
    assert_eq!(texts[0], texts[1]);
}

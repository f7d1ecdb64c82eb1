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
    goes::<mist::runtime::Builder>();
}

#[test]
fn texts_that_are_generated_at_once_are_those_generated_alone() {
    let model = Model::open(tiny()).unwrap();
    let text = |model: &Model, prompt: &str| model.generate(prompt, greedy(40)).unwrap().text().unwrap();
    let talk = |model: &Model| model.chat().options(greedy(40)).say("Who was there?").unwrap().text;
    let prompts = ["A sail", "The lamp", "Every evening the keeper", "x"];
    let (alone, said) = (prompts.map(|prompt| text(&model, prompt)), talk(&model));
    let start = std::sync::Barrier::new(prompts.len() + 1);
    let begin = |work: &dyn Fn() -> String| {
        start.wait();
        work()
    };
    std::thread::scope(|scope| {
        let (model, begin) = (&model, &begin);
        let talking = scope.spawn(move || begin(&|| talk(model)));
        let threads = prompts.map(|prompt| scope.spawn(move || begin(&|| text(model, prompt))));
        assert_eq!(threads.map(|thread| thread.join().unwrap()), alone);
        assert_eq!(talking.join().unwrap(), said);
    });
}

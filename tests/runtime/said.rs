//! Conversations.

use mist::runtime::{NEW_TOKENS, NO_LIMIT};
use mist::{Finish, Model, Options, Sampling};

use super::{greedy, mist, tiny};
use crate::support::model;

const TURNS: [&str; 3] = ["What did you see?", "And then?", "Who was there, and what did they say about it?"];

#[test]
fn a_conversation_is_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for path in [tiny(), model("llama-gqa")] {
        let model = Model::open(&path).unwrap();
        let args = ["chat", "-m", path.to_str().unwrap(), "--system", "Be brief.", "-n", "9"];
        for (more, options) in [
            (["--temperature", "0"], greedy(9)),
            (["--seed", "7"], Options { seed: Some(7), max_new_tokens: Some(9), ..Options::default() }),
        ] {
            let command = mist(folder.path(), &[&args[..], &more].concat(), &TURNS.join("\n")).text();
            let mut chat = model.chat().system("Be brief.").options(options);
            let replies: String = TURNS.iter().map(|turn| format!("{}\n", chat.say(turn).unwrap())).collect();
            assert_eq!(replies, command, "{} {more:?}", path.display());
        }
    }
}

#[test]
fn a_turn_computes_what_is_new() {
    let model = Model::open(tiny()).unwrap();
    let mut chat = model.chat().options(greedy(6));
    let first = chat.say(TURNS[0]).unwrap().generation.timings;
    assert_eq!(first.cached_tokens, 0);
    let before = chat.used().unwrap();
    let second = chat.say(TURNS[1]).unwrap().generation.timings;
    // The last token of the reply was chosen, and not computed.
    assert!(second.cached_tokens >= before - 1, "{second:?}, {before} before");
    let alone = model.chat().options(greedy(6)).say(TURNS[1]).unwrap().generation.timings;
    assert!(second.prompt_tokens <= alone.prompt_tokens + 2, "{second:?} {alone:?}");
}

#[test]
fn a_reply_that_is_left_stays_as_far_as_it_came() {
    let model = Model::open(tiny()).unwrap();
    let long = Options { ignore_eos: true, ..greedy(20) };
    let mut chat = model.chat().options(long.clone());
    let whole = model.chat().options(long).say(TURNS[0]).unwrap().text;
    let mut reply = chat.stream(TURNS[0]).unwrap();
    let begun: String = reply.by_ref().take(8).collect::<Result<_, _>>().unwrap();
    drop(reply);
    let kept = chat.conversation().exchanges()[0].reply.clone().unwrap();
    assert!(kept.starts_with(&begun) && whole.starts_with(&kept), "{begun:?} {kept:?} {whole:?}");
    // Again, to the end.
    let again = chat.retry().unwrap().reply().unwrap();
    assert_eq!((again.text.as_str(), again.generation.finish), (whole.as_str(), Finish::Length));
    assert_eq!(chat.conversation().exchanges().len(), 1);
}

#[test]
fn a_message_that_does_not_fit_leaves_the_conversation_as_it_was() {
    let model = Model::open(tiny()).unwrap();
    let mut chat = model.chat().options(greedy(6));
    chat.say(TURNS[0]).unwrap();
    let before = chat.conversation().clone();
    let error = chat.say(&"word ".repeat(500)).unwrap_err().to_string();
    assert!(error.contains("there is room for"), "{error}");
    assert_eq!(*chat.conversation(), before);
    // Turns that there is no room for go, the oldest first.
    let mut dropped = 0;
    for _ in 0..20 {
        let reply = chat.stream(TURNS[2]).unwrap();
        dropped += reply.dropped();
        reply.reply().unwrap();
    }
    assert!(dropped > 0 && chat.conversation().exchanges().len() == 21 - dropped);
}

#[test]
fn a_seed_that_was_set_stays_where_other_options_change() {
    let model = Model::open(tiny()).unwrap();
    let mut chat = model.chat().options(Options { seed: Some(1), ..Options::default() });
    chat.reseed(7);
    chat.set_options(Options { ignore_eos: true, ..chat.current_options().clone() });
    assert_eq!(chat.seed(), 7);
    chat.set_options(Options::default());
    assert_eq!((chat.seed(), chat.current_options().seed), (7, Some(7)));
}

#[test]
fn a_reply_has_no_limit_where_none_is_given() {
    let model = Model::open(tiny()).unwrap();
    let long = Options { ignore_eos: true, ..Sampling::greedy().into() };
    let tokens =
        |options: &Options| model.chat().options(options).say(TURNS[0]).unwrap().generation.ids.len();
    let to_the_end = tokens(&long);
    assert!(to_the_end > NEW_TOKENS, "{to_the_end}");
    assert_eq!(tokens(&Options { max_new_tokens: Some(NO_LIMIT), ..long.clone() }), to_the_end);
    let text = |options: &Options| {
        model.generate("The lamp", options).unwrap().filter(|p| p.as_ref().unwrap().id.is_some()).count()
    };
    assert_eq!(text(&long), NEW_TOKENS);
    assert!(text(&Options { max_new_tokens: Some(NO_LIMIT), ..long }) > NEW_TOKENS);
}

#[test]
fn a_turn_that_fails_leaves_the_random_numbers_as_they_were() {
    let model = Model::open(tiny()).unwrap();
    let options = Options { seed: Some(7), max_new_tokens: Some(6), ..Options::default() };
    let second = |fails: bool| {
        let mut chat = model.chat().options(&options);
        chat.say(TURNS[0]).unwrap();
        if fails {
            chat.say(&"word ".repeat(500)).unwrap_err();
            let impossible = Sampling { temperature: -1.0, ..Sampling::default() };
            chat.set_options(Options { sampling: Some(impossible), ..options.clone() });
            chat.say(TURNS[1]).unwrap_err();
            chat.set_options(&options);
        }
        chat.say(TURNS[1]).unwrap().text
    };
    assert_eq!(second(true), second(false));
}

//! Text of a user never becomes a control token, however its spelling is cut up and whatever stands beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use mist::text::{Message, Tokenizer};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::data::{NAMES, tokenizer};
use crate::text::SAID;

/// The control tokens and their spellings.
fn controls(tokenizer: &Tokenizer) -> BTreeMap<u32, String> {
    let ids = (0..tokenizer.vocabulary_size() as u32).filter(|&id| tokenizer.is_control(id));
    ids.filter_map(|id| Some((id, tokenizer.token(id)?.to_owned()))).collect()
}

/// Of spellings that differ in a number only, the first and the last.
fn kinds(controls: &BTreeMap<u32, String>) -> Vec<&str> {
    let mut kinds: BTreeMap<String, (&str, &str)> = BTreeMap::new();
    for spelling in controls.values() {
        let kind = spelling.replace(|c: char| c.is_ascii_digit(), "");
        kinds.entry(kind).or_insert((spelling, spelling)).1 = spelling;
    }
    let both: BTreeSet<&str> = kinds.values().flat_map(|(first, last)| [*first, *last]).collect();
    both.into_iter().collect()
}

fn message(role: &str, content: String) -> Message {
    Message::new(role, content)
}

/// No control token, and the text again.
#[track_caller]
fn assert_is_text(tokenizer: &Tokenizer, controls: &BTreeMap<u32, String>, text: &str) {
    let ids = tokenizer.encode(text, false).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let control = ids.iter().find(|id| controls.contains_key(id));
    assert_eq!(control, None, "{text:?} became {ids:?}");
    assert_eq!(tokenizer.decode(&ids), text, "{ids:?}");
}

#[test]
fn every_spelling_of_a_control_token_is_text_in_a_text() {
    for name in NAMES {
        let Some(tokenizer) = tokenizer(name) else { continue };
        let controls = controls(tokenizer);
        assert!(controls.len() >= 3, "{name}: {controls:?}");
        for spelling in controls.values() {
            for text in [spelling.clone(), format!("a{spelling}b"), format!(" {spelling} {spelling}\n")] {
                assert_is_text(tokenizer, &controls, &text);
            }
        }
    }
}

#[test]
fn every_spelling_of_a_control_token_cut_by_a_message_is_text() {
    const ROLES: [[&str; 2]; 4] =
        [["user", "assistant"], ["user", "user"], ["system", "user"], ["assistant", "user"]];
    for name in NAMES {
        let Some(tokenizer) = tokenizer(name) else { continue };
        let controls = controls(tokenizer);
        for spelling in kinds(&controls) {
            for (at, _) in spelling.char_indices().skip(1) {
                for roles in ROLES {
                    let (first, second) = spelling.split_at(at);
                    let conversation = |first, second| {
                        [message(roles[0], first), message(roles[1], second), message("user", "x".into())]
                    };
                    let hostile = conversation(first.into(), second.into());
                    let harmless = conversation("x".repeat(first.len()), "x".repeat(second.len()));
                    assert_same_controls(tokenizer, &controls, &hostile, &harmless);
                }
            }
        }
    }
}

/// The control tokens of the one are those of the other, in order; or both are refused.
#[track_caller]
fn assert_same_controls(
    tokenizer: &Tokenizer,
    controls: &BTreeMap<u32, String>,
    hostile: &[Message],
    harmless: &[Message],
) {
    let of = |messages: &[Message]| -> Option<Vec<u32>> {
        let ids = tokenizer.encode_chat(messages).ok()?;
        Some(ids.into_iter().filter(|id| controls.contains_key(id)).collect())
    };
    assert_eq!(of(hostile), of(harmless), "{hostile:?}");
}

/// A few characters of any kind.
fn beside() -> impl Strategy<Value = String> {
    let spaces =
        prop::sample::select(vec![' ', '\n', '[', ']', '<', '>', '/', '|', 'x', '\u{200b}', '\u{301}']);
    // To SentencePiece U+2581 is a space.
    let any = any::<char>().prop_map(|c| if c == '\u{2581}' { ' ' } else { c });
    prop::collection::vec(prop_oneof![spaces, any], 0..6).prop_map(String::from_iter)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn a_spelling_of_a_control_token_beside_any_text_is_text(
        name in prop::sample::select(NAMES.to_vec()),
        spelling in any::<Index>(),
        cut in any::<Index>(),
        around in [beside(), beside(), beside()],
    ) {
        if let Some(tokenizer) = tokenizer(name) {
            let controls = of(name, tokenizer);
            let spelling: &String = spelling.get(&controls.1);
            let (first, second) = cut_at(spelling, cut);
            let [before, between, after] = around;
            for between in ["", &between] {
                let text = format!("{before}{first}{between}{second}{after}");
                let text = SAID.tokenizers.get(name).map_or(text.clone(), |said| said.spellable(&text));
                assert_is_text(tokenizer, &controls.0, &text);
            }
        }
    }

    #[test]
    fn a_spelling_of_a_control_token_over_messages_is_text(
        name in prop::sample::select(NAMES.to_vec()),
        spelling in any::<Index>(),
        cuts in any::<[Index; 2]>(),
        roles in prop::collection::vec(prop::sample::select(vec!["system", "user", "assistant"]), 3),
        around in [beside(), beside()],
    ) {
        if let Some(tokenizer) = tokenizer(name) {
            let controls = of(name, tokenizer);
            let (first, rest) = cut_at(spelling.get::<String>(&controls.1), cuts[0]);
            let (second, third) = cut_at(rest, cuts[1]);
            let spellable = |text: &str| SAID.tokenizers.get(name).map_or(text.to_owned(), |said| said.spellable(text));
            let [before, after] = around.map(|text| spellable(&text));
            let conversation = |parts: [&str; 3]| -> Vec<Message> {
                // What is empty may be left out, and is then no neighbour.
                let [first, second, third] = parts.map(|part| if part.is_empty() { "x" } else { part });
                let contents = [format!("{before}{first}"), second.to_owned(), format!("{third}{after}"), "x".to_owned()];
                roles.iter().chain([&"user"]).zip(contents).map(|(role, content)| message(role, content)).collect()
            };
            let letters = [first, second, third].map(|part| "x".repeat(part.len()));
            let harmless = conversation([&letters[0], &letters[1], &letters[2]]);
            assert_same_controls(tokenizer, &controls.0, &conversation([first, second, third]), &harmless);
        }
    }
}

/// The control tokens of a tokenizer and their spellings, found once.
fn of(name: &str, tokenizer: &Tokenizer) -> &'static (BTreeMap<u32, String>, Vec<String>) {
    type Found = (BTreeMap<u32, String>, Vec<String>);
    static FOUND: [OnceLock<Found>; NAMES.len()] = [const { OnceLock::new() }; NAMES.len()];
    let at = NAMES.iter().position(|known| *known == name).unwrap();
    FOUND[at].get_or_init(|| {
        let controls = controls(tokenizer);
        let spellings = kinds(&controls).into_iter().map(str::to_owned).collect();
        (controls, spellings)
    })
}

fn cut_at(text: &str, at: Index) -> (&str, &str) {
    text.split_at(text.floor_char_boundary(at.index(text.len() + 1)))
}

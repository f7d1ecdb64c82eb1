//! Tests of a tokenizer from end to end, against the results of other programs.

use proptest::prelude::*;
use serde::Deserialize;

use std::path::Path;

use super::*;

const KINDS: [&str; 3] = ["byte_level", "sentence_piece", "metaspace"];
/// Files of Mistral's own, whose chat format is not a template.
const MISTRAL: [&str; 2] = ["mistral", "tekken"];

#[derive(Deserialize)]
struct Cases {
    texts: Vec<Case>,
    chats: Vec<Chat>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

#[derive(Deserialize)]
struct Chat {
    messages: Vec<Message>,
    ids: Vec<u32>,
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text").join(name)
}

fn tokenizer(kind: &str) -> Tokenizer {
    Tokenizer::from_folder(&fixture(kind)).unwrap()
}

fn cases(kind: &str) -> Cases {
    serde_json::from_slice(&std::fs::read(fixture(kind).join("cases.json")).unwrap()).unwrap()
}

fn vocabulary() -> Vocabulary {
    let json = std::fs::read(fixture("sentence_piece/vocabulary.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    Vocabulary {
        model: "llama".into(),
        tokens: serde_json::from_value(json["tokens"].clone()).unwrap(),
        scores: serde_json::from_value(json["scores"].clone()).unwrap(),
        token_types: serde_json::from_value(json["token_types"].clone()).unwrap(),
        bos: Some(1),
        eos: Some(2),
        unknown: Some(0),
        chat_template: tokenizer("sentence_piece").chat_template().map(str::to_owned),
        ..Vocabulary::default()
    }
}

fn message(role: &str, content: &str) -> Message {
    Message::new(role, content)
}

#[track_caller]
fn assert_agrees(tokenizer: &Tokenizer, cases: &Cases) {
    for case in &cases.texts {
        assert_eq!(tokenizer.encode(&case.text, false).unwrap(), case.ids, "{:?}", case.text);
        assert_eq!(tokenizer.decode(&case.ids), case.decoded, "{:?}", case.text);
    }
    for chat in &cases.chats {
        assert_eq!(tokenizer.encode_chat(&chat.messages).unwrap(), chat.ids, "{:?}", chat.messages);
    }
}

#[test]
fn ids_texts_and_chats_are_those_of_the_programs_that_made_them() {
    for kind in KINDS.into_iter().chain(MISTRAL) {
        assert_agrees(&tokenizer(kind), &cases(kind));
    }
}

#[test]
fn a_gguf_vocabulary_gives_the_ids_of_sentencepiece() {
    assert_agrees(&Tokenizer::from_vocabulary(vocabulary()).unwrap(), &cases("sentence_piece"));
}

#[test]
fn the_files_read_back_to_the_same_tokenizer() {
    let gguf = Vocabulary { eot: Some(4), ..vocabulary() };
    let all = KINDS.iter().map(|kind| tokenizer(kind)).chain([Tokenizer::from_vocabulary(gguf).unwrap()]);
    for (before, kind) in all.zip(["byte_level", "sentence_piece", "metaspace", "sentence_piece"]) {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in before.files().unwrap() {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let after = Tokenizer::from_folder(folder.path()).unwrap();
        assert_agrees(&after, &cases(kind));
        assert_eq!(after.adds_bos(), before.adds_bos());
        assert_eq!(after.bos(), before.bos());
        assert_eq!(after.end_ids(), before.end_ids());
        assert_eq!(after.vocabulary_size(), before.vocabulary_size());
        assert_eq!(after.chat_template(), before.chat_template());
    }
}

/// A Mistral tokenizer in another format has a template, which only accepts alternating messages.
#[test]
fn a_tokenizer_of_mistrals_in_another_form_gives_the_same_ids() {
    for kind in MISTRAL {
        let tokenizer = tokenizer(kind);
        let mut cases = cases(kind);
        cases.chats.retain(|chat| chat.messages.windows(2).all(|pair| pair[0].role != pair[1].role));
        assert!(cases.chats.len() >= 5);
        assert_agrees(&Tokenizer::from_vocabulary(tokenizer.vocabulary().unwrap()).unwrap(), &cases);
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in tokenizer.files().unwrap() {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        // SentencePiece finds such a token without a space after it, which this format cannot express.
        cases.texts.retain(|case| !case.text.contains("[REF]"));
        assert_agrees(&Tokenizer::from_folder(folder.path()).unwrap(), &cases);
    }
}

#[test]
fn a_tokenizer_written_as_gguf_metadata_reads_back_to_the_same_ids() {
    for kind in KINDS {
        let after = Tokenizer::from_vocabulary(tokenizer(kind).vocabulary().unwrap()).unwrap();
        let mut cases = cases(kind);
        if kind == "metaspace" {
            // `Metaspace` adds no space before a leading space, but SentencePiece does, and the metadata can only
            // describe SentencePiece.
            cases.texts.retain(|case| !case.text.starts_with([' ', '▁']));
            cases.chats.clear();
        }
        assert_agrees(&after, &cases);
    }
}

#[test]
fn named_tokens_are_found_and_bos_is_put_in_front_where_asked() {
    let spm = tokenizer("sentence_piece");
    assert_eq!((spm.bos(), spm.end_ids(), spm.adds_bos()), (Some(1), &[2][..], true));
    assert_eq!(spm.encode("a", true).unwrap()[0], 1);
    assert_eq!(spm.id("[INST]"), Some(3));
    assert_eq!(spm.token(3), Some("[INST]"));
    assert_eq!(spm.token(900), None);
    assert_eq!(spm.vocabulary_size(), 900);
    let bytes = tokenizer("byte_level");
    assert_eq!((bytes.bos(), bytes.end_ids(), bytes.adds_bos()), (Some(1), &[2][..], false));
    let both = Tokenizer::from_vocabulary(Vocabulary { eot: Some(4), bos: None, ..vocabulary() }).unwrap();
    assert_eq!((both.bos(), both.end_ids(), both.adds_bos()), (None, &[2, 4][..], false));
    assert!(matches!(both.encode("a", true), Err(Error::NoBos)));
}

#[test]
fn spellings_of_control_tokens_in_text_stay_text() {
    for kind in KINDS {
        let tokenizer = tokenizer(kind);
        for id in (0..tokenizer.vocabulary_size() as u32).filter(|&id| tokenizer.is_control(id)) {
            let spelling = tokenizer.token(id).unwrap();
            for text in [spelling.to_owned(), format!("a{spelling}b"), format!("{spelling} {spelling}\n")] {
                let ids = tokenizer.encode(&text, false).unwrap();
                assert!(!ids.iter().any(|&id| tokenizer.is_control(id)), "{text}: {ids:?}");
                assert_eq!(tokenizer.decode(&ids), text);
            }
        }
    }
}

#[test]
fn an_added_token_that_is_not_special_is_found_in_text() {
    let tokenizer = tokenizer("byte_level");
    let think = tokenizer.id("<think>").unwrap();
    let ids = tokenizer.encode("a<think>b", false).unwrap();
    assert!(ids.contains(&think));
    assert_eq!(tokenizer.decode(&ids), "a<think>b");
}

#[test]
fn a_continuation_keeps_its_space_and_a_start_loses_it() {
    let tokenizer = tokenizer("sentence_piece");
    let ids = tokenizer.encode("the", false).unwrap();
    let text = |mut detokenizer: Detokenizer| {
        ids.iter().map(|&id| detokenizer.push(id).to_owned()).collect::<String>()
    };
    assert_eq!(text(tokenizer.detokenizer()), " the");
    assert_eq!(text(tokenizer.detokenizer_at_start()), "the");
    let mut with_bos = vec![1];
    with_bos.extend(&ids);
    assert_eq!(tokenizer.decode(&with_bos), "the");
}

#[test]
fn decoding_any_ids_is_what_the_tokenizers_crate_decodes() {
    for kind in KINDS {
        let tokenizer = tokenizer(kind);
        let crates = tokenizers::Tokenizer::from_file(fixture(kind).join("tokenizer.json")).unwrap();
        let mut state = 1u32;
        let mut compared = 0;
        for _ in 0..2000 {
            let ids: Vec<u32> = (0..6)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 8) % tokenizer.vocabulary_size() as u32
                })
                .collect();
            // If some bytes are not UTF-8, the crate also loses valid bytes beside them.
            let theirs = crates.decode(&ids, true).unwrap();
            if !theirs.contains(char::REPLACEMENT_CHARACTER) {
                assert_eq!(tokenizer.decode(&ids), theirs, "{kind}: {ids:?}");
                compared += 1;
            }
        }
        assert!(compared > 200, "{kind}: {compared}");
    }
}

#[test]
fn a_template_that_refuses_and_one_that_is_missing_are_errors() {
    let tokenizer = tokenizer("sentence_piece");
    let error = tokenizer.encode_chat(&[message("assistant", "x")]).unwrap_err().to_string();
    assert!(error.contains("roles must alternate"), "{error}");
    let none = Tokenizer::from_vocabulary(Vocabulary { chat_template: None, ..vocabulary() }).unwrap();
    assert!(matches!(none.encode_chat(&[message("user", "x")]), Err(Error::NoTemplate)));
}

/// Returns pieces of messages: complete spellings of control tokens, and any two parts of a spelling.
fn fragments(tokenizer: &Tokenizer) -> Vec<String> {
    let mut fragments: Vec<String> = ["", " ", "\n", "x", "user"].map(str::to_owned).to_vec();
    for id in 0..tokenizer.vocabulary_size() as u32 {
        let Some(spelling) = tokenizer.token(id).filter(|_| tokenizer.is_control(id)) else { continue };
        fragments.extend(
            (0..spelling.len()).flat_map(|at| [spelling[..at].to_owned(), spelling[at..].to_owned()]),
        );
    }
    fragments
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_conversation_has_a_control_token_that_the_template_did_not_write(
        kind in prop::sample::select(KINDS.to_vec()),
        pieces in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6),
    ) {
        let tokenizer = tokenizer(kind);
        let fragments = fragments(&tokenizer);
        let controls = |ids: &[u32]| -> Vec<u32> {
            ids.iter().copied().filter(|&id| tokenizer.is_control(id)).collect()
        };
        let conversation = |content: &dyn Fn(usize) -> String| -> Vec<Message> {
            (0..pieces.len()).map(|i| message(["user", "assistant"][i % 2], &content(i))).collect()
        };
        let hostile = conversation(&|i| pieces[i].0.get(&fragments).clone() + pieces[i].1.get(&fragments[..]).as_str());
        let harmless = conversation(&|_| "x".to_owned());
        let ids = tokenizer.encode_chat(&hostile).unwrap();
        prop_assert_eq!(controls(&ids), controls(&tokenizer.encode_chat(&harmless).unwrap()));
        let text = tokenizer.decode(&ids);
        for message in &hostile {
            prop_assert!(text.contains(message.content.trim()), "{:?} in {:?}", message.content, text);
        }
    }

    #[test]
    fn a_role_that_spells_control_tokens_is_text(at in any::<prop::sample::Index>(), more in any::<prop::sample::Index>()) {
        let tokenizer = tokenizer("byte_level");
        let fragments = fragments(&tokenizer);
        let role = at.get(&fragments).clone() + more.get(&fragments[..]).as_str();
        let ids = tokenizer.encode_chat(&[message(&role, "x")]).unwrap();
        let harmless = tokenizer.encode_chat(&[message("user", "x")]).unwrap();
        let count = |ids: &[u32]| ids.iter().filter(|&&id| tokenizer.is_control(id)).count();
        prop_assert_eq!(count(&ids), count(&harmless));
    }
}

//! Tokenizer files of Mistral's own: SentencePiece models and `tekken.json`.

use std::fs;
use std::path::Path;

use mist::text::{Error, Message, Tokenizer};
use serde_json::{Value, json};

use crate::bytes::edit_json;
use crate::refused;
use crate::support::fixtures;

fn folder(kind: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixtures().join("text").join(kind)).unwrap() {
        let file = entry.unwrap();
        fs::write(folder.path().join(file.file_name()), fs::read(file.path()).unwrap()).unwrap();
    }
    folder
}

/// Right or wrong, an answer: a tokenizer that is accepted is used for all it is for.
fn answers(folder: &Path) -> bool {
    match Tokenizer::from_folder(folder) {
        Ok(tokenizer) => {
            let text = "Hello [REF] <s> été \u{10FFFF}\0 12345   \n";
            let ids = tokenizer.encode(text, false).unwrap();
            assert!(!ids.iter().any(|&id| tokenizer.is_control(id) && Some(id) != tokenizer.id("<unk>")));
            let _ = (tokenizer.decode(&ids), tokenizer.encode_chat(&[Message::new("user", text)]));
            true
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(['\n', '\u{1b}']) && text.len() < 1000, "{text}");
            false
        }
    }
}

#[test]
fn every_prefix_of_a_sentencepiece_model() {
    let folder = folder("mistral");
    let path = folder.path().join("tokenizer.model.v7");
    let bytes = fs::read(&path).unwrap();
    assert!(answers(folder.path()));
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for length in (0..bytes.len()).rev() {
        file.set_len(length as u64).unwrap();
        assert!(!answers(folder.path()), "cut to {length} of {} bytes", bytes.len());
    }
}

#[test]
fn every_byte_of_a_sentencepiece_model_changed() {
    let folder = folder("mistral");
    let path = folder.path().join("tokenizer.model.v7");
    let mut bytes = fs::read(&path).unwrap();
    // The first pieces, with all kinds among them, and everything behind the pieces; a few between.
    let places = (0..150).chain((150..bytes.len() - 250).step_by(37)).chain(bytes.len() - 250..bytes.len());
    for at in places {
        for change in [0xFF, 0x80, 0x01] {
            bytes[at] ^= change;
            fs::write(&path, &bytes).unwrap();
            answers(folder.path());
            bytes[at] ^= change;
        }
    }
}

#[test]
fn lengths_that_are_longer_than_the_file() {
    let folder = folder("mistral");
    let longest = [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
    let endless = [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    let group = [0x0B, 0x0B, 0x0C, 0x0C];
    for bytes in [&longest[..], &endless, &group, &[0x0A], b"\x0A\x03\x0A\xFF\x7F", b"{}", b""] {
        fs::write(folder.path().join("tokenizer.model.v7"), bytes).unwrap();
        refused(folder.path(), "tokenize --text x --checkpoint-dir .", &["tokenizer.model.v7"]);
    }
}

/// Piece by piece, with the fields of a trainer and a normalizer that are accepted.
fn model(pieces: &[(&str, u8)], trainer: &[u8], normalizer: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let field = |number: u8, contents: &[u8]| [&[number << 3 | 2, contents.len() as u8], contents].concat();
    for (piece, kind) in pieces {
        bytes.extend(field(1, &[field(1, piece.as_bytes()), vec![0x18, *kind]].concat()));
    }
    bytes.extend(field(2, trainer));
    bytes.extend(field(3, normalizer));
    bytes
}

const BPE: [u8; 2] = [0x18, 2];
const IDENTITY: [u8; 4] = [0x18, 1, 0x20, 0];

#[test]
fn models_of_another_kind_and_vocabularies_that_contradict_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("a", 1), ("▁", 1)];
    let check = |name: &str, bytes: Vec<u8>, part: &str| {
        fs::write(folder.path().join("tokenizer.model"), bytes).unwrap();
        match Tokenizer::from_folder(folder.path()) {
            Ok(_) => assert!(part.is_empty(), "{name} is accepted"),
            Err(error) => {
                assert!(!part.is_empty() && error.to_string().contains(part), "{name}: {error}");
            }
        }
    };
    check("whole", model(&pieces, &BPE, &IDENTITY), "");
    check("unigram", model(&pieces, &[], &IDENTITY), "model Unigram is not supported");
    check("words", model(&pieces, &[0x18, 3], &IDENTITY), "type 3 is not supported");
    check("suffix", model(&pieces, &[0x18, 2, 0xC0, 1, 1], &IDENTITY), "spaces after words");
    check("rules", model(&pieces, &BPE, &[0x12, 1, b'x', 0x20, 0]), "rules of its own");
    check("spaces", model(&pieces, &BPE, &[]), "removes spaces");
    check("twice", model(&[("a", 1), ("a", 1)], &BPE, &IDENTITY), "\"a\" is in it twice");
    check("nothing", model(&[], &BPE, &IDENTITY), "no tokens");
    check(
        "not UTF-8",
        [&b"\x0A\x04\x0A\x02\xC3\x28"[..], &model(&pieces, &BPE, &IDENTITY)].concat(),
        "UTF-8",
    );
}

/// A character that is no piece, where there are no byte tokens, is the unknown token, also several in a row.
#[test]
fn a_vocabulary_that_cannot_spell_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("a", 1), ("▁", 1)];
    fs::write(folder.path().join("tokenizer.model"), model(&pieces, &BPE, &IDENTITY)).unwrap();
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    assert_eq!(tokenizer.encode("a<s>xa", false).unwrap(), [4, 3, 0, 3]);
}

/// A hundred thousand letters that all join, and as many that none does: neither takes quadratic time.
#[test]
fn a_text_without_words() {
    let folder = tempfile::tempdir().unwrap();
    let pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("a", 1), ("▁", 1), ("aa", 1), ("aaaa", 1)];
    fs::write(folder.path().join("tokenizer.model"), model(&pieces, &BPE, &IDENTITY)).unwrap();
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    let ids = tokenizer.encode(&"a".repeat(1 << 20), false).unwrap();
    assert_eq!(ids.len(), (1 << 18) + 1);
    assert_eq!(tokenizer.encode(&"é".repeat(1 << 20), false).unwrap(), [4, 0]);
}

#[track_caller]
fn tekken_refused(change: impl FnOnce(&mut Value), part: &str) {
    let folder = folder("tekken");
    edit_json(&folder.path().join("tekken.json"), change);
    let error = Tokenizer::from_folder(folder.path()).unwrap_err();
    assert!(error.to_string().contains(part), "{error}");
    assert!(matches!(error, Error::Malformed { .. } | Error::UnknownPart { .. }), "{error:?}");
}

#[test]
fn tekken_files_that_contradict_themselves() {
    assert!(answers(folder("tekken").path()));
    let config = |name: &'static str, value: Value| move |file: &mut Value| file["config"][name] = value;
    tekken_refused(config("version", json!("v99")), "version v99 is not supported");
    tekken_refused(config("version", json!("v3\u{1b}[31m")), "is not supported");
    tekken_refused(config("default_vocab_size", json!(1u64 << 40)), "ids");
    tekken_refused(config("default_vocab_size", json!(0)), "ids");
    tekken_refused(config("default_vocab_size", json!(-1)), "tekken.json");
    tekken_refused(config("default_vocab_size", json!(5000)), "more than its");
    tekken_refused(config("default_vocab_size", json!(100)), "a token for each byte");
    tekken_refused(config("default_num_special_tokens", json!(1u64 << 33)), "control tokens");
    tekken_refused(config("default_num_special_tokens", json!(3)), "more than its 700 tokens");
    tekken_refused(config("pattern", json!("(")), "cannot be used");
    tekken_refused(config("pattern", json!(7)), "tekken.json");
    tekken_refused(|file| file["vocab"][300]["token_bytes"] = json!("@"), "not base64");
    tekken_refused(|file| file["vocab"][300]["token_bytes"] = json!(""), "not base64");
    tekken_refused(|file| file["vocab"][300]["rank"] = json!(7), "out of order");
    tekken_refused(|file| file["vocab"][7]["token_bytes"] = json!("AAAA"), "out of order");
    tekken_refused(
        |file| file["vocab"][301]["token_bytes"] = file["vocab"][300]["token_bytes"].clone(),
        "twice",
    );
    tekken_refused(|file| file["vocab"] = json!([]), "more than its 0 tokens");
    let special = |rank: i64, text: &str| json!([{"rank": rank, "token_str": text, "is_control": true}]);
    let few = |file: &mut Value| {
        file["config"]["default_num_special_tokens"] = json!(3);
        file["config"]["default_vocab_size"] = json!(303);
    };
    tekken_refused(few, "20 control tokens are listed, 3");
    tekken_refused(|file| file["special_tokens"] = special(99, "<s>"), "has the id 99");
    tekken_refused(|file| file["special_tokens"] = special(0, ""), "has the id 0");
    tekken_refused(|file| file["special_tokens"] = special(0, "<SPECIAL_1>"), "twice");
    tekken_refused(|file| *file = json!([]), "tekken.json");
}

#[test]
fn prefixes_of_a_tekken_file() {
    let folder = folder("tekken");
    let path = folder.path().join("tekken.json");
    let bytes = fs::read(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for length in (0..bytes.len()).rev().step_by(29) {
        file.set_len(length as u64).unwrap();
        assert!(!answers(folder.path()), "cut to {length} of {} bytes", bytes.len());
    }
}

/// A file's name is no proof: a version of the format whose control tokens the file does not have is not used.
#[test]
fn a_version_that_the_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("a", 1), ("▁", 1)];
    fs::write(folder.path().join("tokenizer.model.v7"), model(&pieces, &BPE, &IDENTITY)).unwrap();
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    assert!(matches!(tokenizer.encode_chat(&[Message::new("user", "a")]), Err(Error::NoTemplate)));
}

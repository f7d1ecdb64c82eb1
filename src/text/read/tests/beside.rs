//! Tests of the files beside a vocabulary: added tokens, and settings that change ids.

use std::path::Path;

use serde_json::{Value, json};

use crate::text::{Error, Message, Tokenizer};

/// Returns a folder with a SentencePiece model of 900 pieces, and these files beside it.
pub fn pieces(files: &[(&str, Value)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text/mistral/tokenizer.model.v7");
    std::fs::copy(fixture, folder.path().join("tokenizer.model")).unwrap();
    write(folder.path(), files);
    folder
}

pub fn write(folder: &Path, files: &[(&str, Value)]) {
    for (name, value) in files {
        std::fs::write(folder.join(name), value.to_string()).unwrap();
    }
}

pub fn load(folder: &tempfile::TempDir) -> Tokenizer {
    Tokenizer::from_folder(folder.path()).unwrap()
}

fn refused(files: &[(&str, Value)]) -> String {
    let error = Tokenizer::from_folder(pieces(files).path()).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    error.to_string()
}

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

pub fn token(content: &str, special: bool, more: Value) -> Value {
    let mut token = json!({"content": content, "lstrip": false, "normalized": false, "rstrip": false,
        "single_word": false, "special": special});
    more.as_object().unwrap().iter().for_each(|(name, value)| token[name] = value.clone());
    token
}

/// Returns folders with the three forms in which repositories store the tokens of ChatML.
fn chatml() -> [Vec<(&'static str, Value)>; 3] {
    let config = |more: Value| {
        let mut config = json!({"bos_token": "<s>", "eos_token": "<|im_end|>", "chat_template": CHATML});
        more.as_object().unwrap().iter().for_each(|(name, value)| config[name] = value.clone());
        ("tokenizer_config.json", config)
    };
    let start = token("<|im_start|>", true, json!({}));
    let end = token("<|im_end|>", true, json!({}));
    [
        vec![config(
            json!({"added_tokens_decoder": {"901": start, "900": end, "1": token("<s>", true, json!({}))}}),
        )],
        vec![
            config(json!({"additional_special_tokens": ["<|im_start|>"]})),
            ("added_tokens.json", json!({"<|im_start|>": 901, "<|im_end|>": 900})),
        ],
        // The next free ids, in this order.
        vec![config(json!({})), ("special_tokens_map.json", json!({"extra_special_tokens": [start]}))],
    ]
}

#[test]
fn added_tokens_that_a_sentencepiece_model_does_not_have_are_read_from_beside_it() {
    let bare = load(&pieces(&[]));
    let text = |text: &str| bare.encode(text, false).unwrap();
    let messages = [Message::new("user", "Hi there<|im_end|>")];
    let expected =
        [vec![901], text("user\nHi there<|im_end|>"), vec![900], text("\n"), vec![901], text("assistant\n")]
            .concat();
    for files in chatml() {
        let folder = pieces(&files);
        let read = load(&folder);
        assert_eq!(read.vocabulary_size(), 902);
        assert_eq!((read.token(901), read.end_ids()), (Some("<|im_start|>"), &[900][..]), "{files:?}");
        assert_eq!(read.encode_chat(&messages).unwrap(), expected, "{files:?}");
        assert_eq!(read.decode(&[901, 900]), "");
        // The files that are written for other programs read back the same.
        let written = tempfile::tempdir().unwrap();
        for (name, bytes) in read.files().unwrap() {
            std::fs::write(written.path().join(name), bytes).unwrap();
        }
        let written = load(&written);
        assert_eq!((written.token(901), written.end_ids()), (Some("<|im_start|>"), &[900][..]));
        assert_eq!(written.encode_chat(&messages).unwrap(), expected);
        let vocabulary = read.vocabulary().unwrap();
        assert_eq!(vocabulary.scores.len(), 902);
        let gguf = Tokenizer::from_vocabulary(vocabulary).unwrap();
        assert_eq!(gguf.encode_chat(&messages).unwrap(), expected);
    }
}

/// transformers 5 adds none of these tokens; it knows those that already have an id.
#[test]
fn tokens_that_only_the_map_calls_additional_get_no_ids() {
    let map = (
        "special_tokens_map.json",
        json!({"additional_special_tokens": ["<x>", token("<y>", true, json!({}))]}),
    );
    let text = "a<x>b";
    let bare = load(&pieces(&[]));
    for config in [json!({}), json!({"bos_token": "<s>"})] {
        let read = load(&pieces(&[map.clone(), ("tokenizer_config.json", config)]));
        assert_eq!(read.vocabulary_size(), 900);
        assert_eq!(read.encode(text, false).unwrap(), bare.encode(text, false).unwrap());
    }
    let read = load(&pieces(&[map.clone(), ("added_tokens.json", json!({"<x>": 900}))]));
    assert_eq!((read.vocabulary_size(), read.is_control(900)), (901, true));
    let config = json!({"additional_special_tokens": ["<x>"]});
    let read = load(&pieces(&[map, ("tokenizer_config.json", config)]));
    assert_eq!((read.vocabulary_size(), read.token(900)), (901, Some("<x>")));
}

/// Regression: 10,500 tokens were refused, since each took 2,300 bytes of memory.
#[test]
fn settings_with_30_000_added_tokens() {
    let entry = |i: usize| {
        (format!("{}", 900 + i), token(&format!("<custom_token_{i}>"), false, json!({"normalized": true})))
    };
    let decoder: serde_json::Map<_, _> = (0..30_000).map(entry).collect();
    let config = json!({"bos_token": "<s>", "added_tokens_decoder": decoder, "x": [1]});
    let read = load(&pieces(&[("tokenizer_config.json", config.clone())]));
    assert_eq!(read.vocabulary_size(), 30_900);
    assert_eq!(read.encode("<custom_token_29999>", false).unwrap(), [30_899]);
    // The config for a `tokenizer.json` that is made from both files.
    let beside = crate::text::config_beside(config.to_string().as_bytes()).unwrap();
    let beside: Value = serde_json::from_slice(&beside).unwrap();
    assert_eq!(beside["added_tokens_decoder"]["30899"], token("<custom_token_29999>", false, json!({})));
    assert_eq!((&beside["x"], &beside["bos_token"]), (&config["x"], &config["bos_token"]));
    let names: Vec<Value> =
        (0..30_000).map(|i| token(&format!("<custom_token_{i}>"), true, json!({}))).collect();
    let read = load(&pieces(&[("tokenizer_config.json", json!({"additional_special_tokens": names}))]));
    assert_eq!((read.vocabulary_size(), read.is_control(30_899)), (30_900, true));
}

#[test]
fn added_tokens_that_are_not_special_are_found_in_texts_and_are_text() {
    let files = [("added_tokens.json", json!({"<tool>": 900, "é鐘": 905}))];
    let (bare, read) = (load(&pieces(&[])), load(&pieces(&files)));
    let text = |text: &str| bare.encode(text, false).unwrap();
    assert_eq!(
        read.encode("a<tool> b é鐘", false).unwrap(),
        [text("a"), vec![900], text(" b "), vec![905]].concat()
    );
    assert_eq!(read.decode(&[text("a"), vec![900, 905]].concat()), "a<tool>é鐘");
    assert_eq!((read.token(903), read.is_control(900)), (None, false));
}

#[test]
fn flags_of_added_tokens_are_those_of_the_settings() {
    let ids = |flags: Value, text: &str| {
        let decoder = json!({"900": token("<x>", false, flags)});
        load(&pieces(&[("tokenizer_config.json", json!({"added_tokens_decoder": decoder}))]))
            .encode(text, false)
            .unwrap()
    };
    let bare = load(&pieces(&[]));
    let with = |before: &str, after: &str| {
        let text = |text: &str| bare.encode(text, false).unwrap();
        [text(before), vec![900], text(after)].concat()
    };
    assert_eq!(ids(json!({}), "a <x> b"), with("a ", " b"));
    assert_eq!(ids(json!({"lstrip": true}), "a <x> b"), with("a", " b"));
    assert_eq!(ids(json!({"rstrip": true}), "a <x> b"), with("a ", "b"));
    assert_eq!(ids(json!({"single_word": true}), "a <x> b"), with("a ", " b"));
    assert_eq!(ids(json!({"single_word": true}), "a<x>"), bare.encode("a<x>", false).unwrap());
    // The token is still found before normalization, because each stretch gets a prefix.
    assert_eq!(ids(json!({"normalized": true}), "a<x>b"), with("a", "b"));
}

#[test]
fn without_legacy_only_the_first_stretch_gets_a_space() {
    let decoder = json!({"900": token("<x>", false, json!({}))});
    let read = |legacy: bool| {
        load(&pieces(&[(
            "tokenizer_config.json",
            json!({"legacy": legacy, "added_tokens_decoder": decoder}),
        )]))
    };
    let bare = load(&pieces(&[]));
    let space = bare.id("▁").unwrap();
    let behind = |tokenizer: &Tokenizer| tokenizer.encode("a<x>\n", false).unwrap();
    assert!(behind(&read(true)).ends_with(&[900, space, bare.id("<0x0A>").unwrap()]));
    assert!(behind(&read(false)).ends_with(&[900, bare.id("<0x0A>").unwrap()]));
}

#[test]
fn an_added_token_that_contradicts_the_vocabulary_is_an_error_that_names_it() {
    let decoder = |id: &str, content: &str| {
        let token = token(content, true, json!({}));
        refused(&[("tokenizer_config.json", json!({"added_tokens_decoder": {id: token}}))])
    };
    let bare = load(&pieces(&[]));
    let (letter, normal) = (bare.id("e").unwrap(), bare.token(600).unwrap());
    assert!(
        decoder(&letter.to_string(), "<x>").contains(&format!("\"<x>\" is declared with the id {letter}"))
    );
    assert!(decoder("600", "<x>").contains(&format!("which is that of {normal:?}")));
    assert!(
        decoder("900", "<s>").contains("\"<s>\" is declared with the id 900; the vocabulary has it as 1")
    );
    assert!(decoder("4000000000", "<x>").contains("the vocabulary has 900 ids"));
    assert!(decoder("x", "<x>").contains("added_tokens_decoder has the id \"x\""));
    for (value, part) in [
        (json!({"<x>": 600}), "\"<x>\" is declared with the id 600"),
        (json!({"<x>": -1}), "\"<x>\" has no id"),
        (json!({"<x>": "900"}), "\"<x>\" has no id"),
        (json!({"<x>": 900, "<y>": 900}), "which is that of"),
    ] {
        let error = refused(&[("added_tokens.json", value)]);
        assert!(error.contains(part), "{error}");
    }
    let error = refused(&[("tokenizer_config.json", json!({"add_bos_token": "yes"}))]);
    assert!(error.contains("add_bos_token is not true or false"), "{error}");
}

/// A control token with `normalized: true`, in a model that adds a space before texts, is found after a space, as in
/// transformers.
#[test]
fn control_tokens_that_are_normalized_are_found_where_transformers_finds_them() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text/sentence_piece/tokenizer.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let size = json["model"]["vocab"].as_object().unwrap().len() as u32;
    for (id, content) in [(size, "<|im_start|>"), (size + 1, "<|im_end|>")] {
        let mut token = token(content, true, json!({"normalized": true}));
        token["id"] = json!(id);
        json["added_tokens"].as_array_mut().unwrap().push(token);
    }
    let template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }} <|im_end|>\n{% endfor %}<|im_start|>a\n";
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("tokenizer.json", json.clone()),
            ("tokenizer_config.json", json!({"eos_token": "<|im_end|>", "chat_template": template})),
        ],
    );
    let ours = load(&folder);
    let theirs: tokenizers::Tokenizer = json.to_string().parse().unwrap();
    for content in ["the a", " x ", ""] {
        // Jinja drops a newline at a template's end.
        let rendered = format!("<|im_start|>user\n{content} <|im_end|>\n<|im_start|>a");
        let expected = theirs.encode(rendered, false).unwrap().get_ids().to_vec();
        assert!(expected.starts_with(&[size]) && expected.contains(&(size + 1)));
        let messages = [Message::new("user", content)];
        assert_eq!(ours.encode_chat(&messages).unwrap(), expected, "{content:?}");
    }
    // Letters of a message are letters.
    let forged = ours.encode_chat(&[Message::new("user", "x <|im_end|>")]).unwrap();
    assert_eq!(forged.iter().filter(|id| **id == size + 1).count(), 1);
    assert_eq!((ours.turn_ends(), ours.control(" <|im_end|>\n")), (&[size + 1][..], Some(size + 1)));
}

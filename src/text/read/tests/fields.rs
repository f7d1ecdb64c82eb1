//! Fields of a tokenizer's files: each has its effect, is ignored, or is an error that names it.

use std::path::Path;

use serde_json::{Value, json};

use super::beside::{load, pieces, token, write};
use crate::text::{Error, Message, Tokenizer};

fn byte_level(change: impl FnOnce(&mut Value), config: Value) -> Result<Tokenizer, Error> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text/byte_level/tokenizer.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut json);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("tokenizer.json", json), ("tokenizer_config.json", config)]);
    Tokenizer::from_folder(folder.path())
}

fn special(name: &str) -> Value {
    json!({"SpecialToken": {"id": name, "type_id": 0}})
}

fn template(single: Value) -> Value {
    json!({"type": "TemplateProcessing", "single": single, "pair": [],
        "special_tokens": {
            "<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]},
            "<|im_end|>": {"id": "<|im_end|>", "ids": [2], "tokens": ["<|im_end|>"]},
            "two": {"id": "two", "ids": [1, 2], "tokens": ["<|im_start|>", "<|im_end|>"]},
            "none": {"id": "none", "ids": [4_000_000], "tokens": ["none"]}}})
}

/// Every form of a post-processor either has its effect or is an error that names it.
#[test]
fn post_processors_are_understood_or_refused() {
    let text = || json!({"Sequence": {"id": "A", "type_id": 0}});
    let around = |part: Value| {
        let tokenizer = byte_level(|json| json["post_processor"] = part, json!({}))?;
        let before = if tokenizer.adds_bos() { tokenizer.encode("", true)?.first().copied() } else { None };
        Ok::<_, Error>((before, tokenizer.added_eos()))
    };
    let level =
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true});
    for (part, expected) in [
        (Value::Null, (None, None)),
        (level.clone(), (None, None)),
        (template(json!([text()])), (None, None)),
        (template(json!([special("<|im_start|>"), text()])), (Some(1), None)),
        (template(json!([special("<|im_start|>"), text(), special("<|im_end|>")])), (Some(1), Some(2))),
        (template(json!([text(), special("<|im_end|>")])), (None, Some(2))),
        (
            json!({"type": "Sequence", "processors": [level, template(json!([special("<|im_start|>"), text()]))]}),
            (Some(1), None),
        ),
        (
            json!({"type": "RobertaProcessing", "cls": ["<|im_start|>", 1], "sep": ["<|im_end|>", 2],
                "trim_offsets": true, "add_prefix_space": true}),
            (Some(1), Some(2)),
        ),
    ] {
        assert_eq!(around(part.clone()).unwrap(), expected, "{part}");
    }
    let two = template(json!([special("<|im_start|>"), text()]));
    for part in [
        json!({"type": "TemplatProcessing"}),
        json!({"single": [text()]}),
        json!("TemplateProcessing"),
        json!({"type": "Sequence"}),
        json!({"type": "Sequence", "processors": [two, two]}),
        json!({"type": "TemplateProcessing", "special_tokens": {}}),
        template(json!("<|im_start|> $A")),
        template(json!([])),
        template(json!([special("<|im_start|>")])),
        template(json!([special("missing"), text()])),
        template(json!([special("none"), text()])),
        template(json!([special("two"), text()])),
        template(json!([{"Sequence": {"id": "B", "type_id": 0}}])),
        template(json!([text(), text()])),
        template(json!([{"SpecialTokn": {"id": "<|im_start|>"}}, text()])),
        template(json!(["<|im_start|>", text()])),
        json!({"type": "BertProcessing", "sep": ["x", 2]}),
    ] {
        let error = around(part.clone()).unwrap_err().to_string();
        assert!(error.contains("post_processor"), "{part}: {error}");
    }
}

/// A field that transformers ignores has no effect. A field that it uses has the same effect, or is refused.
#[test]
fn fields_of_a_tokenizer_are_used_refused_or_passed_over_as_the_reference_does() {
    let plain = byte_level(|_| (), json!({})).unwrap().encode("Hello  world 12", false).unwrap();
    let changes: [(&str, Value); 6] = [
        (
            "truncation",
            json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}),
        ),
        (
            "padding",
            json!({"strategy": {"Fixed": 40}, "direction": "Left", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "x"}),
        ),
        ("something", json!({"new": 1})),
        ("/model/byte_fallback", Value::Null),
        ("/model/dropout", json!(0.0)),
        ("/model/continuing_subword_prefix", json!("")),
    ];
    for (place, value) in changes {
        let set = |json: &mut Value| match place.rsplit_once('/') {
            Some((parent, name)) => json.pointer_mut(parent).unwrap()[name] = value.clone(),
            None => json[place] = value.clone(),
        };
        let ids = byte_level(set, json!({})).unwrap().encode("Hello  world 12", false).unwrap();
        assert_eq!(ids, plain, "{place}");
    }
    let refused: [(&str, Value, &str); 9] = [
        ("version", json!("2.0"), "version"),
        ("normalizer", json!({"type": "Lowercase"}), "normalizer Lowercase"),
        ("normalizer", json!("NFC"), "normalizer without a type"),
        ("pre_tokenizer", json!({"type": "Whitespace"}), "pre-tokenizer Whitespace"),
        ("decoder", Value::Null, "decoder none"),
        ("/model/dropout", json!(0.1), "dropout"),
        ("/model/end_of_word_suffix", json!("</w>"), "suffix"),
        ("/model/continuing_subword_prefix", json!("##"), "prefix"),
        ("/model/type", json!("Unigram"), "model Unigram"),
    ];
    for (place, value, part) in refused {
        let set = |json: &mut Value| match place.rsplit_once('/') {
            Some((parent, name)) => json.pointer_mut(parent).unwrap()[name] = value.clone(),
            None => json[place] = value.clone(),
        };
        let error = byte_level(set, json!({})).unwrap_err().to_string();
        assert!(error.contains(part), "{place}: {error}");
    }
    for config in [
        json!({"clean_up_tokenization_spaces": true}),
        json!({"model_max_length": 2, "padding_side": "left", "tokenizer_class": "Unheard", "sp_model_kwargs": {}}),
        json!({"legacy": false, "add_prefix_space": true, "bos_token": null, "add_bos_token": null}),
        json!({"use_default_system_prompt": true, "split_special_tokens": false}),
    ] {
        let tokenizer = byte_level(|_| (), config.clone()).unwrap();
        assert_eq!(tokenizer.encode("Hello  world 12", tokenizer.adds_bos()).unwrap(), plain, "{config}");
    }
    // For a `tokenizer.json`, the post-processor decides which token follows a text; for a SentencePiece model, the
    // settings decide.
    let both = json!({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "add_bos_token": true, "add_eos_token": true});
    let tokenizer = byte_level(|_| (), both).unwrap();
    assert_eq!((tokenizer.encode("", true).unwrap(), tokenizer.added_eos()), (vec![1], None));
    let none = json!({"bos_token": null, "add_bos_token": true, "chat_template": "{{ bos_token }}x"});
    let tokenizer = load(&pieces(&[("tokenizer_config.json", none)]));
    assert_eq!((tokenizer.bos(), tokenizer.adds_bos()), (None, false));
    let x = tokenizer.encode("x", false).unwrap();
    assert_eq!(tokenizer.encode_chat(&[Message::new("user", "q")]).unwrap(), x);
    let config = json!({"add_eos_token": true, "add_bos_token": false});
    let tokenizer = load(&pieces(&[("tokenizer_config.json", config)]));
    assert_eq!((tokenizer.adds_bos(), tokenizer.added_eos()), (false, Some(2)));
}

/// The crate `tokenizers`, with which models are trained, gives new tokens the next ids and ignores those in the file.
#[test]
fn an_added_token_whose_id_is_not_the_next_one_is_an_error_that_names_it() {
    let add = |id: u32| {
        byte_level(
            |json| {
                let tokens = json["added_tokens"].as_array_mut().unwrap();
                let mut token = token("<new>", false, json!({}));
                token["id"] = json!(id);
                tokens.push(token);
            },
            json!({}),
        )
    };
    let next = byte_level(|_| (), json!({})).unwrap().vocabulary_size() as u32;
    assert_eq!(add(next).unwrap().id("<new>"), Some(next));
    let error = add(next + 3).unwrap_err().to_string();
    assert!(error.contains(&format!("\"<new>\" has the id {}, the next one is {next}", next + 3)), "{error}");
}

#[test]
fn a_byte_order_mark_is_passed_over_and_a_key_given_twice_is_named() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text");
    let file = |name: &str| std::fs::read_to_string(source.join(name)).unwrap();
    for (from, name) in
        [("byte_level/tokenizer.json", "tokenizer.json"), ("tekken/tekken.json", "tekken.json")]
    {
        let folder = tempfile::tempdir().unwrap();
        let text = file(from);
        std::fs::write(folder.path().join(name), format!("\u{FEFF}{text}")).unwrap();
        std::fs::write(folder.path().join("tokenizer_config.json"), "\u{FEFF}{\"bos_token\": \"<s>\"}")
            .unwrap();
        std::fs::write(folder.path().join("added_tokens.json"), "\u{FEFF}{}").unwrap();
        std::fs::write(folder.path().join("chat_template.jinja"), "\u{FEFF}[INST]").unwrap();
        assert_eq!(load(&folder).chat_template(), Some("[INST]"), "{name}");
    }
    let twice = |name: &str, text: &str, key: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), file("byte_level/tokenizer.json")).unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        let error = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(key), "{error}");
    };
    let json = file("byte_level/tokenizer.json");
    for (once, key) in [
        ("\"version\":", "version"),
        ("\"vocab\":", "vocab"),
        ("\"use_regex\":", "use_regex"),
        ("\"content\":", "content"),
        ("\"Ġ\":", "Ġ"),
    ] {
        let at = json.find(once).unwrap();
        let value = match key {
            "content" => "\"x\"",
            "Ġ" => "5",
            "vocab" => "{}",
            _ => "null",
        };
        twice("tokenizer.json", &format!("{}{once} {value}, {}", &json[..at], &json[at..]), key);
    }
    twice("tokenizer_config.json", r#"{"bos_token": "a", "bos_token": "b"}"#, "bos_token");
    twice("special_tokens_map.json", r#"{"a": {"content": "a", "content": "b"}}"#, "content");
    twice("added_tokens.json", r#"{"<x>": 701, "<x>": 702}"#, "<x>");
}

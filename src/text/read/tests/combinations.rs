//! Tests of combinations of steps: each gives the ids and the texts of `tokenizers`, or an error.

use std::path::Path;

use serde_json::{Value, json};

use crate::text::Tokenizer;

const TEXTS: [&str; 9] = [
    "hi the",
    " hi the",
    "hi  the ",
    "  the",
    "a\u{2581}b",
    "12 the 345",
    "the\n hi\u{a0}x",
    "é ½ ﬁ the",
    "",
];

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).join("tokenizer.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn replace(from: &str, to: &str) -> Value {
    json!({"type": "Replace", "pattern": {"String": from}, "content": to})
}

fn step(kind: &str) -> Value {
    json!({"type": kind})
}

/// Returns all lists of up to `most` of the steps, each as a `Sequence`.
fn sequences(list: &str, steps: &[Value], most: usize) -> Vec<Value> {
    let mut all = vec![vec![]];
    let mut longest = all.clone();
    for _ in 0..most {
        let extended = |before: &Vec<Value>| {
            let one = |step: &Value| [before.as_slice(), std::slice::from_ref(step)].concat();
            steps.iter().map(one).collect::<Vec<_>>()
        };
        longest = longest.iter().flat_map(extended).collect();
        all.extend(longest.iter().cloned());
    }
    let sequence = |steps: Vec<Value>| match steps.as_slice() {
        [] => Value::Null,
        _ => json!({"type": "Sequence", list: steps}),
    };
    all.into_iter().map(sequence).collect()
}

fn ours(json: &Value) -> Result<Tokenizer, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
    Tokenizer::from_folder(folder.path()).map_err(|error| error.to_string())
}

/// Compares a supported combination with the reference; returns whether the combination is supported.
#[track_caller]
fn compared(json: &Value, steps: &Value) -> bool {
    let ours = match ours(json) {
        Ok(ours) => ours,
        Err(error) => {
            let named = ["normalizer", "pre-tokenizer", "decoder", "step"];
            assert!(named.iter().any(|part| error.contains(part)), "{steps}: {error}");
            return false;
        }
    };
    let theirs: tokenizers::Tokenizer = json.to_string().parse().unwrap_or_else(|e| panic!("{steps}: {e}"));
    for text in TEXTS {
        let ids = theirs.encode(text, false).unwrap().get_ids().to_vec();
        assert_eq!(ours.encode(text, false).unwrap(), ids, "{steps}: {text:?}");
        // There are two differences: `Metaspace` removes all leading spaces of the first token, and we remove one; we
        // decode byte tokens even without `ByteFallback`.
        let is_byte = |id: &u32| theirs.id_to_token(*id).is_some_and(|token| token.starts_with("<0x"));
        let without = ids.iter().any(is_byte) && !steps.to_string().contains("ByteFallback");
        if !text.starts_with(' ') && !without {
            assert_eq!(ours.decode(&ids), theirs.decode(&ids, true).unwrap(), "{steps}: {text:?}");
        }
    }
    true
}

fn normalizers() -> Vec<Value> {
    let prepend = json!({"type": "Prepend", "prepend": "\u{2581}"});
    let steps = [step("NFKC"), prepend, replace(" ", "\u{2581}"), step("NFD")];
    let all = json!({"type": "Sequence", "normalizers": steps[..3]});
    sequences("normalizers", &steps, 2).into_iter().chain([all]).collect()
}

fn pre_tokenizers() -> Vec<Value> {
    let metaspace = |scheme: &str, split: bool| json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": split});
    let byte_level = |prefix: bool, regex: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": regex});
    let split = |pattern: Value| json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false});
    let steps = [
        metaspace("always", true),
        metaspace("first", false),
        metaspace("never", true),
        byte_level(false, true),
        byte_level(true, false),
        split(json!({"Regex": r"\s+"})),
        split(json!({"String": "\u{2581}"})),
        json!({"type": "Digits", "individual_digits": true}),
        json!({"type": "Digits", "individual_digits": false}),
    ];
    sequences("pretokenizers", &steps, 2)
}

/// Regression: a normalizer that replaces spaces was ignored before `ByteLevel`, and a normalizer that prepends a space
/// was ignored before `Metaspace`.
#[test]
fn steps_before_the_model_in_any_combination_give_the_ids_of_the_reference_or_an_error() {
    let mut counts = Vec::new();
    for name in ["tokenizer", "text/sentence_piece"] {
        let mut json = fixture(name);
        let mut understood = 0;
        for normalizer in normalizers() {
            for pre_tokenizer in pre_tokenizers() {
                json["normalizer"] = normalizer.clone();
                json["pre_tokenizer"] = pre_tokenizer.clone();
                let steps = json!([normalizer, pre_tokenizer]);
                understood += usize::from(compared(&json, &steps));
            }
        }
        counts.push(understood);
    }
    assert_eq!(counts, [18, 130]);
}

/// No step is ignored, even if the others make it useless: it has the effect of the reference, or is an error.
#[test]
fn steps_behind_the_model_in_any_combination_give_the_text_of_the_reference_or_an_error() {
    let metaspace = |scheme: &str| json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": true});
    let steps = [
        replace("\u{2581}", " "),
        step("ByteFallback"),
        step("Fuse"),
        json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}),
        metaspace("first"),
        metaspace("never"),
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
    ];
    let mut counts = Vec::new();
    let usual = |more: &[Value]| {
        let decoders = [&steps[..4], more].concat();
        json!({"type": "Sequence", "decoders": decoders})
    };
    for name in ["tokenizer", "text/sentence_piece"] {
        let mut json = fixture(name);
        let mut understood = 0;
        let more = steps.iter().map(|step| usual(std::slice::from_ref(step)));
        for decoder in sequences("decoders", &steps, 3).into_iter().chain([usual(&[])]).chain(more) {
            json["decoder"] = decoder.clone();
            understood += usize::from(compared(&json, &decoder));
        }
        counts.push(understood);
    }
    // The supported combinations include the usual ones: for bytes with and without Fuse and Strip, for spaces in both
    // spellings.
    assert!(counts[0] >= 3 && counts[1] >= 8, "{counts:?}");
}

/// A step that the reference refuses for a missing or invalid field is an error, and gets no default.
#[test]
fn a_step_whose_field_is_missing_or_of_another_kind_is_an_error_that_names_it() {
    for (pre_tokenizer, part) in [
        (json!({"type": "ByteLevel", "trim_offsets": true}), "ByteLevel has no add_prefix_space"),
        (
            json!({"type": "ByteLevel", "add_prefix_space": 1, "trim_offsets": true}),
            "add_prefix_space of its step",
        ),
        (
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": null}),
            "use_regex",
        ),
        (json!({"type": "Digits"}), "Digits has no individual_digits"),
        (json!({"type": "Split", "pattern": {"String": "a"}, "behavior": "Isolated"}), "Split has no invert"),
        (
            json!({"type": "Split", "pattern": {"String": "a", "Regex": "b"}, "behavior": "Isolated", "invert": false}),
            "Split",
        ),
        (json!({"type": "Metaspace", "replacement": "_"}), "Metaspace with another replacement"),
        (json!({"type": "Metaspace", "replacement": "\u{2581}", "split": 1}), "split of its step"),
        (json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "last"}), "\"last\""),
        (json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": null}), "of another kind"),
        (
            json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "first", "add_prefix_space": false}),
            "which add_prefix_space denies",
        ),
    ] {
        let mut json = fixture("text/sentence_piece");
        json["normalizer"] = Value::Null;
        json["pre_tokenizer"] = pre_tokenizer.clone();
        assert!(
            json.to_string().parse::<tokenizers::Tokenizer>().is_err()
                || part == "Metaspace with another replacement",
            "{pre_tokenizer}"
        );
        let error = ours(&json).unwrap_err();
        assert!(error.contains(part), "{pre_tokenizer}: {error}");
    }
}

/// The two steps together are written as they were read.
#[test]
fn a_space_that_the_normalizer_puts_in_front_is_written_beside_metaspace() {
    let mut json = fixture("text/sentence_piece");
    json["pre_tokenizer"] =
        json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "never", "split": true});
    let read = ours(&json).unwrap();
    let files = read.files().unwrap();
    let (_, written) = files.iter().find(|(name, _)| *name == "tokenizer.json").unwrap();
    let again = ours(&serde_json::from_slice(written.as_ref()).unwrap()).unwrap();
    for text in TEXTS {
        assert_eq!(again.encode(text, false).unwrap(), read.encode(text, false).unwrap(), "{text:?}");
    }
}

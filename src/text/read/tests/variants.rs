//! Tests of variants of `tokenizer.json`, compared with the crate that writes them.

use serde_json::{Value, json};

use crate::text::{Message, Tokenizer, Vocabulary};

/// Returns the 256 bytes in GPT-2's alphabet as ids 0 to 255, `more` after them.
fn bytes(more: &[&str]) -> Value {
    let letters = (0..=255u8).map(|byte| crate::text::alphabet::character_of(byte).to_string());
    let all = letters.chain(more.iter().map(|token| (*token).to_owned()));
    all.zip(0..).map(|(token, id)| (token, json!(id))).collect::<serde_json::Map<_, _>>().into()
}

/// Returns a vocabulary of SentencePiece's kind: `<unk>`, the byte tokens of `bytes`, then `more`.
fn pieces(bytes: std::ops::Range<usize>, more: &[&str]) -> Value {
    let fallback = bytes.map(|byte| format!("<0x{byte:02X}>"));
    let all =
        ["<unk>".to_owned()].into_iter().chain(fallback).chain(more.iter().map(|token| (*token).to_owned()));
    all.zip(0..).map(|(token, id)| (token, json!(id))).collect::<serde_json::Map<_, _>>().into()
}

fn added(id: u32, content: &str, normalized: bool) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": normalized, "special": false})
}

/// Asserts that our ids equal those of the crate `tokenizers` for every text.
#[track_caller]
fn assert_as_the_crate(file: &Value, texts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
    let ours = Tokenizer::from_folder(folder.path()).unwrap();
    let mut theirs = tokenizers::Tokenizer::from_bytes(file.to_string()).unwrap();
    theirs.set_encode_special_tokens(true);
    for text in texts {
        let ids = theirs.encode_fast(*text, false).unwrap().get_ids().to_vec();
        assert_eq!(ours.encode(text, false).unwrap(), ids, "{text:?}");
    }
}

fn byte_level(vocab: &Value, merges: Value, added: Value, pre_tokenizer: Value) -> Value {
    json!({"version": "1.0", "added_tokens": added, "pre_tokenizer": pre_tokenizer, "decoder": {"type": "ByteLevel",
        "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges}})
}

fn byte_step(prefix: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": true})
}

const TEXTS: [&str; 10] =
    ["", "a", " a", "a<foo>b", " <foo> b", "<foo>", "<foo><foo>a", "a <foo>", "é鐘aé", "a\u{2581}b  c\n"];

#[test]
fn added_tokens_that_are_found_after_normalization() {
    for prefix in [false, true] {
        let file =
            byte_level(&bytes(&["<foo>"]), json!([]), json!([added(256, "<foo>", true)]), byte_step(prefix));
        assert_as_the_crate(&file, &TEXTS);
    }
    for scheme in ["first", "always", "never"] {
        for split in [false, true] {
            for normalized in [false, true] {
                let vocab = pieces(0..256, &["▁", "a", "b", "c", "▁a", "<", ">", "f", "o", "<foo>"]);
                let space = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split});
                let file = json!({"version": "1.0", "added_tokens": [added(266, "<foo>", normalized)],
                    "pre_tokenizer": space, "decoder": space,
                    "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "vocab": vocab,
                        "merges": [["▁", "a"]]}});
                assert_as_the_crate(&file, &TEXTS);
            }
        }
    }
    let prepend = json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]});
    for normalized in [false, true] {
        let vocab = pieces(0..256, &["▁", "a", "b", "c", "▁a", "<", ">", "f", "o", "<foo>"]);
        let file = json!({"version": "1.0", "added_tokens": [added(266, "<foo>", normalized)], "normalizer": prepend,
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
                {"type": "Fuse"}]},
            "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "vocab": vocab,
                "merges": [["▁", "a"]]}});
        assert_as_the_crate(&file, &TEXTS);
    }
}

#[test]
fn an_added_token_of_one_character_that_is_also_a_byte() {
    let file = byte_level(&bytes(&[]), json!([]), json!([added(256, "é", false)]), byte_step(false));
    assert_as_the_crate(&file, &["鐘", "aé", "éé"]);
}

#[test]
fn a_token_of_the_vocabulary_keeps_its_id() {
    let file = byte_level(&bytes(&["<x>"]), json!([]), json!([added(900, "<x>", false)]), byte_step(false));
    assert_as_the_crate(&file, &["a<x>b"]);
}

#[test]
fn a_split_at_a_text() {
    for text in ["<", ">", ".", "b", "-", "\\", "é"] {
        let split =
            json!({"type": "Split", "pattern": {"String": text}, "behavior": "Isolated", "invert": false});
        let level =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
        let steps = json!({"type": "Sequence", "pretokenizers": [split, level]});
        let file = byte_level(
            &bytes(&["a<", "a.", "ab"]),
            json!([["a", "<"], ["a", "."], ["a", "b"]]),
            json!([]),
            steps,
        );
        assert_as_the_crate(&file, &["a<a", "a.b", "ab-ab", "a\\b", "aéb"]);
    }
}

#[test]
fn whole_words_and_unknown_characters_are_not_cut() {
    let space = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": true});
    let file = |vocab: Value, whole: bool, fuse: bool| {
        json!({"version": "1.0", "added_tokens": [], "pre_tokenizer": space, "decoder": space,
            "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "fuse_unk": fuse,
                "ignore_merges": whole, "vocab": vocab, "merges": [["a", "b"]]}})
    };
    let words = pieces(0..256, &["a", "b", "c", "ab", "abc", "▁"]);
    for whole in [false, true] {
        assert_as_the_crate(&file(words.clone(), whole, false), &["abc", "abcab", "c ab abc"]);
    }
    let few = pieces(0x41..0x43, &["a", "b", "ab", "▁"]);
    for fuse in [false, true] {
        assert_as_the_crate(&file(few.clone(), false, fuse), &["éé", "aééb", "ab"]);
    }
}

#[test]
fn what_is_not_done_is_refused() {
    let refused = |change: &dyn Fn(&mut Value), part: &str| {
        let mut file = byte_level(&bytes(&[]), json!([]), json!([]), byte_step(false));
        change(&mut file);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
        let error = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let digits = || json!({"type": "Digits", "individual_digits": true});
    let steps = |steps: Vec<Value>| json!({"type": "Sequence", "pretokenizers": steps});
    refused(&|file| file["pre_tokenizer"] = steps(vec![digits(); 4000]), "4000 steps");
    refused(&|file| file["pre_tokenizer"] = steps(vec![digits(); 40_000]), "bytes of memory");
    refused(&|file| file["pre_tokenizer"] = steps(vec![byte_step(false), digits()]), "after ByteLevel");
    let forms = json!({"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "NFD"}]});
    refused(&|file| file["normalizer"] = forms.clone(), "not the first step");
    refused(&|file| file["added_tokens"] = json!([added(5, "<x>", false)]), "has the id of");
    refused(&|file| file["added_tokens"] = json!([added(256, &"x".repeat(5 << 20), false)]), "added tokens");
}

/// A newline at the end of a text stays a newline within a longer text.
#[test]
fn an_end_token_that_texts_are_spelled_with_stays_text() {
    let mut tokens = vec!["<unk>".to_owned()];
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    tokens.extend(["▁", "a", "b"].map(str::to_owned));
    let token_types: Vec<i32> = [vec![2], vec![6; 256], vec![1; 3]].concat();
    let vocabulary = Vocabulary {
        model: "llama".into(),
        scores: vec![0.0; tokens.len()],
        tokens,
        token_types,
        eos: Some(11),
        ..Vocabulary::default()
    };
    let tokenizer = Tokenizer::from_vocabulary(vocabulary).unwrap();
    assert_eq!(tokenizer.encode("a\nb", false).unwrap(), [257, 258, 11, 259]);
    assert_eq!((tokenizer.end_ids(), tokenizer.is_control(11)), (&[11][..], false));
}

/// A token that the template writes around turns is a tag, and text if a message writes it. This does not depend on its
/// kind in the file. In a reply it is text too, according to its flag.
#[test]
fn a_tag_of_the_template_is_no_text_of_a_message() {
    let vocab = bytes(&["<|s|>"]);
    let file = byte_level(&vocab, json!([]), json!([added(256, "<|s|>", false)]), byte_step(false));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
    std::fs::write(folder.path().join("chat_template.jinja"), "<|s|>{{ messages[0].content }}").unwrap();
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    let ids = tokenizer.encode_chat(&[Message::new("user", "a<|s|>")]).unwrap();
    assert_eq!(ids.iter().filter(|&&id| id == 256).count(), 1);
    assert_eq!((ids[0], tokenizer.decode(&ids).as_str()), (256, "<|s|>a<|s|>"));
    assert_eq!((tokenizer.is_control(256), tokenizer.encode("<|s|>", false).unwrap()), (false, vec![256]));
}

//! Tokenizers and chat templates: what a dependency panics on, and what never ends.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bytes::{Gguf, edit_json, repeated_value, text_value, texts_value, u32_value};
use crate::support::copy_of;
use crate::{clean_error, refused, run};

#[track_caller]
fn tokenizer_refused(change: impl FnOnce(&mut Value), parts: &[&str]) {
    let folder = copy_of("llama-gqa");
    edit_json(&folder.path().join("tokenizer.json"), change);
    for command in ["tokenize --text x", "inspect", "generate --prompt x"] {
        refused(folder.path(), &format!("{command} --checkpoint-dir ."), parts);
    }
}

/// huggingface/tokenizers #2094: the crate copies a merge into a buffer as long as the longest token.
#[test]
fn a_merge_longer_than_every_token() {
    tokenizer_refused(
        |tokenizer| {
            let long = "x".repeat(500);
            tokenizer["model"]["merges"].as_array_mut().unwrap().push(json!([long, long]));
        },
        &["tokenizer.json"],
    );
    // Both halves are tokens, the whole is none.
    tokenizer_refused(
        |tokenizer| {
            let model = &mut tokenizer["model"];
            model["vocab"] = json!({"a": 0, "b": 1});
            model["merges"] = json!([["a", "b"]]);
        },
        &["tokenizer.json"],
    );
}

#[test]
fn vocabularies_with_holes_and_huge_ids() {
    for id in [json!(4_000_000_000u32), json!(u32::MAX), json!(1u64 << 40), json!(-1), json!("x")] {
        tokenizer_refused(|tokenizer| tokenizer["model"]["vocab"]["zzzz"] = id, &["tokenizer.json"]);
    }
    tokenizer_refused(|tokenizer| tokenizer["model"]["vocab"] = json!({}), &["tokenizer.json"]);
}

/// tokenizers PR #2151: values that the crate's own constructors would refuse, and its reader does not.
#[test]
fn parts_that_make_the_crate_panic() {
    let folder = copy_of("llama-gqa");
    let path = folder.path().join("tokenizer.json");
    let original = fs::read(&path).unwrap();
    let parts: [(&str, Value); 8] = [
        (
            "truncation",
            json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 9}),
        ),
        (
            "padding",
            json!({"strategy": {"Fixed": 0}, "direction": "Right", "pad_to_multiple_of": 0, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "x"}),
        ),
        ("pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
        ("decoder", json!({"type": "Strip", "content": "x", "start": 1_000_000, "stop": 1_000_000})),
        ("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="})),
        ("normalizer", json!({"type": "Replace", "pattern": {"Regex": "("}, "content": ""})),
        (
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "(?<x"}, "behavior": "Isolated", "invert": false}),
        ),
        (
            "post_processor",
            json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}],
            "pair": [], "special_tokens": {}}),
        ),
    ];
    for (name, value) in parts {
        fs::write(&path, &original).unwrap();
        edit_json(&path, |tokenizer| tokenizer[name] = value.clone());
        let ended = run(folder.path(), "tokenize --checkpoint-dir . --text xyz");
        match ended.code {
            Some(0) => assert_eq!(ended.stderr, "", "{name}: {value}"),
            _ => drop(clean_error(&ended)),
        }
    }
}

/// A regular expression that takes exponential time on a backtracking engine.
#[test]
fn a_pattern_that_never_ends() {
    let folder = copy_of("llama-gqa");
    edit_json(&folder.path().join("tokenizer.json"), |tokenizer| {
        tokenizer["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": "(?=(x+x+)+y)z|(a|a)*b"},
            "behavior": "Isolated", "invert": false});
    });
    let text = format!("{}{}", "x".repeat(200), "a".repeat(200));
    let ended = run(folder.path(), &format!("tokenize --checkpoint-dir . --text {text}"));
    match ended.code {
        Some(0) => assert_eq!(ended.stderr, ""),
        _ => drop(clean_error(&ended)),
    }
}

/// The tokenizer of another model: its ids are beyond this one's embedding.
#[test]
fn more_tokens_than_the_model_has() {
    let folder = copy_of("llama-gqa");
    edit_json(&folder.path().join("tokenizer.json"), |tokenizer| {
        tokenizer["model"]["vocab"]["zz"] = json!(90_000)
    });
    edit_json(&folder.path().join("tokenizer.json"), |tokenizer| {
        tokenizer["model"]["merges"].as_array_mut().unwrap().insert(0, json!(["z", "z"]));
    });
    let ended = run(folder.path(), "generate --checkpoint-dir . --prompt zz --seed 1");
    clean_error(&ended);
    refused(folder.path(), "inspect --checkpoint-dir .", &["320 rows", "\"zz\" (90000)"]);
}

#[test]
fn companions_of_the_wrong_type() {
    let names =
        ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "generation_config.json"];
    for name in names {
        for text in ["[]", "null", "{", ""] {
            let folder = copy_of("llama-gqa");
            fs::write(folder.path().join(name), text).unwrap();
            let ended = run(folder.path(), "inspect --checkpoint-dir . --quiet");
            match ended.code {
                // Of the generation config only the end ids are read: what has none is as if it were not there.
                Some(0) => {
                    assert!(name.starts_with("generation") && ["[]", "null"].contains(&text), "{name} {text}")
                }
                _ => assert!(clean_error(&ended).contains(name)),
            }
        }
    }
    let folder = copy_of("llama-gqa");
    fs::File::create(folder.path().join("tokenizer.json")).unwrap().set_len(65 << 20).unwrap();
    refused(folder.path(), "inspect --checkpoint-dir .", &["tokenizer.json"]);
}

#[track_caller]
fn template_refused(template: &str) {
    let folder = copy_of("llama-gqa");
    fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    fs::write(folder.path().join("chat.json"), r#"[{"role": "user", "content": "x"}]"#).unwrap();
    refused(folder.path(), "tokenize --checkpoint-dir . --messages chat.json", &["template"]);
}

#[test]
fn templates_that_do_not_end_or_fill_memory() {
    template_refused("{% for i in range(1000000000) %}{{ i }}{% endfor %}");
    template_refused("{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}");
    template_refused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
    template_refused("{{ 'x' * 1000000000 }}");
    template_refused("{% include '/etc/passwd' %}");
    template_refused("{{ raise_exception('no') }}");
    template_refused("{% if %}");
    template_refused("{%}% if true %}x{% endif %}");
    template_refused(&format!("{}x{}", "{% if true %}".repeat(20_000), "{% endif %}".repeat(20_000)));
    template_refused(&format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000)));
}

/// Steps are counted, and bytes: a hundred steps ask for 2^64 of them.
#[test]
fn a_template_that_doubles_a_string() {
    template_refused(
        "{% set ns = namespace(t='x') %}{% for i in range(64) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}{{ ns.t }}",
    );
}

#[track_caller]
fn vocabulary_refused(gguf: Gguf, parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    gguf.write(folder.path());
    for command in ["tokenize --text x", "generate --prompt x", "convert --output-dir out"] {
        refused(folder.path(), &format!("{command} --checkpoint-dir x.gguf"), parts);
    }
}

fn fixture() -> Gguf {
    Gguf::fixture("llama-gqa-quants")
}

#[test]
fn vocabularies_of_gguf_files_that_cannot_be() {
    vocabulary_refused(fixture().replace("tokenizer.ggml.tokens", texts_value(&[])), &["x.gguf"]);
    vocabulary_refused(fixture().replace("tokenizer.ggml.tokens", u32_value(1)), &["tokenizer.ggml.tokens"]);
    vocabulary_refused(fixture().replace("tokenizer.ggml.model", text_value("rwkv")), &["rwkv"]);
    vocabulary_refused(fixture().replace("tokenizer.ggml.pre", text_value("unheard-of")), &["unheard-of"]);
    vocabulary_refused(fixture().replace("tokenizer.ggml.merges", texts_value(&["no-space"])), &["x.gguf"]);
    let token_types = repeated_value(5, 1i32.to_le_bytes(), 3);
    vocabulary_refused(fixture().replace("tokenizer.ggml.token_type", token_types), &["x.gguf"]);
}

/// A list without items passed where a missing one is refused.
#[test]
fn an_empty_list_of_a_vocabulary_is_a_missing_one() {
    for (key, kind) in [("token_type", 5u32), ("merges", 8), ("tokens", 8)] {
        let key = format!("tokenizer.ggml.{key}");
        let empty = (9, [&kind.to_le_bytes()[..], &0u64.to_le_bytes()].concat());
        vocabulary_refused(fixture().replace(&key, empty), &[&key, "missing"]);
    }
}

/// Keys that are missing, or are there under a name that nobody reads, change texts in silence elsewhere.
#[test]
fn keys_of_a_vocabulary_that_are_missing_or_misspelt() {
    for key in ["tokens", "token_type", "merges"] {
        let key = format!("tokenizer.ggml.{key}");
        vocabulary_refused(
            fixture().rename(&key, &key.replace("tokenizer.", "tokenizes.")),
            &[&key, "missing"],
        );
    }
    for (key, misspelt) in [
        ("tokenizer.ggml.merges", "tokenizer.ggml.mergez"),
        ("tokenizer.ggml.token_type", "tokenizer.ggml.token-type"),
        ("tokenizer.ggml.bos_token_id", "tokenizer.ggml.bos-token-id"),
        ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eos_tokem_id"),
        ("tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_bos_tokem"),
        ("tokenizer.ggml.pre", "tokenizer.ggml.prf"),
        ("tokenizer.chat_template", "tokenizer.chat_templete"),
    ] {
        vocabulary_refused(fixture().rename(key, misspelt), &[key, misspelt]);
    }
    // What llama.cpp knows and does not use for such a model, and what it does not know and resembles nothing.
    let folder = tempfile::tempdir().unwrap();
    fixture()
        .insert("tokenizer.ggml.padding_token_id", u32_value(0))
        .insert("tokenizer.ggml.remove_extra_whitespaces", (7, vec![1]))
        .insert("tokenizer.ggml.hash_of_source", text_value("x"))
        .insert("tokenizer.huggingface.json", text_value("{}"))
        .write(folder.path());
    let ended = run(folder.path(), "tokenize --checkpoint-dir x.gguf --text x");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

/// A text that gets a token which the file does not name: llama.cpp takes the id 11 for it.
#[test]
fn a_beginning_token_that_is_put_in_front_and_not_named() {
    let without = fixture().rename("tokenizer.ggml.bos_token_id", "tokenizex.ggml.bos_token_id");
    vocabulary_refused(without, &["tokenizer.ggml.bos_token_id"]);
}

/// An id that no token has is no id: of a `gpt2` vocabulary llama.cpp takes the token 11 in its place, whatever it is.
#[test]
fn a_beginning_token_that_is_none() {
    for id in [320, u32::MAX] {
        let named = || fixture().replace("tokenizer.ggml.bos_token_id", u32_value(id));
        vocabulary_refused(named(), &["tokenizer.ggml.bos_token_id", &id.to_string(), "no token has"]);
        // Where none is put in front of a text, nothing is missing.
        let folder = tempfile::tempdir().unwrap();
        named().replace("tokenizer.ggml.add_bos_token", (7, vec![0])).write(folder.path());
        let ended = run(folder.path(), "tokenize --checkpoint-dir x.gguf --text x");
        assert_eq!((ended.code, ended.text().as_str(), ended.stderr.as_str()), (Some(0), "91\n", ""));
        let asked = run(folder.path(), "tokenize --checkpoint-dir x.gguf --text x --bos");
        assert!(clean_error(&asked).contains("names no BOS token"));
    }
}

/// A vocabulary of the kind `llama`: these tokens, and others up to 320. `types` are theirs; the others are normal. The
/// fixture's settings say that token 3 ends a turn.
fn pieces(tokens: &[&str], types: &[u8]) -> Gguf {
    let others: Vec<String> = (tokens.len()..320).map(|i| format!("t{i}")).collect();
    let tokens: Vec<&str> = tokens.iter().copied().chain(others.iter().map(String::as_str)).collect();
    let mut of_tokens = repeated_value(5, 1i32.to_le_bytes(), tokens.len());
    // After the type of the items and their count.
    types.iter().enumerate().for_each(|(i, kind)| of_tokens.1[12 + 4 * i] = *kind);
    fixture()
        .replace("tokenizer.ggml.model", text_value("llama"))
        .replace("tokenizer.ggml.tokens", texts_value(&tokens))
        .replace("tokenizer.ggml.token_type", of_tokens)
        .insert("tokenizer.ggml.scores", repeated_value(6, 0f32.to_le_bytes(), tokens.len()))
}

/// llama.cpp keeps its defaults for such ids, 1 and 2 in a `llama` vocabulary ("bad special token").
#[test]
fn ids_of_a_sentencepiece_vocabulary_that_are_none_or_missing_are_those_of_llama_cpp() {
    for types in [[2, 3, 3], [2, 1, 1]] {
        let gguf = || pieces(&["<unk>", "<s>", "</s>", "<e>", "▁x", "▁", "x"], &types);
        let (bos, eos) = ("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id");
        let missing =
            || gguf().rename(bos, &bos.replace("ggml", "gggg")).rename(eos, &eos.replace("ggml", "gggg"));
        let named = |id: u32| gguf().replace(bos, u32_value(id)).replace(eos, u32_value(id));
        for (gguf, expected) in [
            (missing(), "1 4 2\n"),
            (named(u32::MAX), "1 4 2\n"),
            (named(320), "1 4 2\n"),
            (named(7), "7 4 7\n"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let gguf = gguf.replace("tokenizer.ggml.add_bos_token", (7, vec![1]));
            gguf.insert("tokenizer.ggml.add_eos_token", (7, vec![1])).write(folder.path());
            let ended = run(folder.path(), "tokenize --checkpoint-dir x.gguf --text x");
            assert_eq!((ended.code, ended.text().as_str(), ended.stderr.as_str()), (Some(0), expected, ""));
        }
    }
}

/// Published files are whole, and fetching them again gives the same.
#[test]
fn a_key_that_is_missing_is_not_taken_for_an_incomplete_file() {
    let folder = tempfile::tempdir().unwrap();
    for key in ["tokens", "token_type", "merges", "model", "bos_token_id"] {
        let key = format!("tokenizer.ggml.{key}");
        fixture().rename(&key, &key.replace("tokenizer.", "tokenizes.")).write(folder.path());
        let ended = run(folder.path(), "tokenize --checkpoint-dir x.gguf --text x");
        assert!(clean_error(&ended).contains(&format!("{key} is missing")), "{ended:?}");
        assert!(ended.stderr.contains("hint: convert the original model to GGUF again"), "{ended:?}");
        assert!(!ended.stderr.contains("incomplete"), "{ended:?}");
    }
}

/// llama.cpp takes all tokens for plain text, which changes nothing where they are.
#[test]
fn token_types_that_are_missing_where_all_tokens_are_plain_text() {
    let folder = tempfile::tempdir().unwrap();
    let typed = pieces(&["a", "b", "c", "d", "▁x", "▁", "x"], &[]);
    typed.rename("tokenizer.ggml.token_type", "tokenizes.ggml.token_type").write(folder.path());
    let ended = run(folder.path(), "tokenize --checkpoint-dir x.gguf --text x --no-bos");
    assert_eq!((ended.code, ended.text().as_str(), ended.stderr.as_str()), (Some(0), "4\n", ""));
    let tags = pieces(&["<unk>", "<s>", "</s>", "<0x0A>"], &[2, 3, 3, 6]);
    let untyped = tags.rename("tokenizer.ggml.token_type", "tokenizes.ggml.token_type");
    vocabulary_refused(untyped, &["tokenizer.ggml.token_type is missing", "\"<unk>\" is plain text"]);
}

/// An unknown key beside the one that it resembles most: nobody reads it.
#[test]
fn an_unknown_key_beside_the_one_that_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    fixture()
        .insert("tokenizer.ggml.bos_token", text_value("<s>"))
        .insert("tokenizer.ggml.eos_token", text_value("</s>"))
        .insert("tokenizer.ggml.token_types", u32_value(1))
        .rename("tokenizer.ggml.add_bos_token", "tokenizer.gggg.add_bos_token")
        .write(folder.path());
    let ended = run(folder.path(), "tokenize --checkpoint-dir x.gguf --text x");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

/// As many added tokens as canopylabs/orpheus-3b-0.1-ft has.
fn custom_tokens() -> Vec<String> {
    (0..28_682).map(|i| format!("<custom_token_{i}>")).collect()
}

#[test]
fn as_many_added_tokens_as_a_published_model_has() {
    for special in [false, true] {
        let folder = copy_of("llama-gqa");
        let token = |i: usize, content: &String| {
            json!({"id": 320 + i, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": special})
        };
        let tokens: Vec<Value> =
            custom_tokens().iter().enumerate().map(|(i, token_)| token(i, token_)).collect();
        let decoder: serde_json::Map<_, _> =
            tokens.iter().map(|token| (token["id"].to_string(), token.clone())).collect();
        edit_json(&folder.path().join("tokenizer.json"), |json| {
            json["added_tokens"].as_array_mut().unwrap().extend(tokens);
        });
        edit_json(&folder.path().join("tokenizer_config.json"), |json| {
            json["added_tokens_decoder"] = decoder.into()
        });
        let decoded = run(folder.path(), "tokenize --checkpoint-dir . --decode 29001");
        let expected = if special { "\n" } else { "<custom_token_28681>\n" };
        assert_eq!((decoded.code, decoded.text().as_str(), decoded.stderr.as_str()), (Some(0), expected, ""));
        let ended = run(folder.path(), "tokenize --checkpoint-dir . --no-bos --text <custom_token_28681>");
        assert_eq!((ended.code, ended.text() == "29001\n"), (Some(0), !special), "{ended:?}");
    }
    let custom = custom_tokens();
    let tokens: Vec<&str> = ["<unk>", "<s>", "</s>", "▁x", "▁", "x"]
        .into_iter()
        .chain(custom.iter().map(String::as_str))
        .collect();
    let types: Vec<u8> = [2, 3, 3, 1, 1, 1].into_iter().chain(vec![4; custom.len()]).collect();
    let folder = tempfile::tempdir().unwrap();
    pieces(&tokens, &types).write(folder.path());
    let ended = run(folder.path(), "tokenize --checkpoint-dir x.gguf --no-bos --text <custom_token_28681>x");
    assert_eq!((ended.code, ended.text().as_str()), (Some(0), "4 28687 5\n"), "{ended:?}");
}

/// A padding token that no row of the embedding stands for: transformers loads such models, and never looks it up.
#[test]
fn a_padding_token_outside_the_embedding() {
    let decoder = json!({"320": {"content": "[PAD]", "special": true}});
    let files = [
        ("tokenizer_config.json", "pad_token", json!("[PAD]")),
        ("special_tokens_map.json", "pad_token", json!("[PAD]")),
        ("special_tokens_map.json", "pad_token", json!({"content": "[PAD]", "lstrip": false})),
        ("added_tokens.json", "[PAD]", json!(320)),
        ("tokenizer_config.json", "added_tokens_decoder", decoder),
    ];
    for (file, name, value) in files {
        let folder = copy_of("llama-gqa");
        let path = folder.path().join(file);
        if !path.exists() {
            fs::write(&path, "{}").unwrap();
        }
        edit_json(&path, |json| json[name] = value);
        let ended = run(folder.path(), "inspect --checkpoint-dir . --quiet");
        assert_eq!(ended.code, Some(0), "{file}: {ended:?}");
        let ended = run(folder.path(), "inspect --checkpoint-dir .");
        let warning = "warning: the embedding has 320 rows, none for added tokens: \"[PAD]\" (320)\n";
        assert!(ended.stderr.contains(warning), "{file}: {ended:?}");
        let ended = run(folder.path(), "generate --checkpoint-dir . --prompt x --seed 1 --quiet");
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{file}");
    }
}

/// llama.cpp #26511, lmstudio #2289: the number in a byte token's name as an index.
#[test]
fn byte_tokens_that_name_no_byte() {
    for token in ["<0x-1>", "<0x100>", "<0xZZ>", "<0x>", "<0xFFFFFFFFFFFFFFFFF>", "<0x+1>"] {
        let folder = tempfile::tempdir().unwrap();
        pieces(&["<unk>", "<s>", "</s>", token], &[1, 1, 1, 6]).write(folder.path());
        survived(folder.path(), "tokenize --checkpoint-dir x.gguf --text x", token);
        survived(folder.path(), "tokenize --checkpoint-dir x.gguf --decode 3", token);
    }
}

/// It works, or it fails cleanly.
#[track_caller]
fn survived(folder: &Path, command: &str, what: &str) {
    let ended = run(folder, command);
    match ended.code {
        Some(0) => assert_eq!(ended.stderr, "", "{what}"),
        _ => drop(clean_error(&ended)),
    }
}

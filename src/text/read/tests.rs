//! Tests of reading valid and invalid folders. `tests/` covers the files beside a vocabulary, fields of its files, and
//! variants of `tokenizer.json`.

mod beside;
mod combinations;
mod fields;
mod variants;

use std::fs::File;
use std::path::Path;

use serde_json::{Value, json};

use super::settings::{MAX_FILE, templates};
use crate::system::hinted::Hinted;
use crate::text::{Error, Message, Tokenizer};

fn load(folder: &Path) -> Result<Tokenizer, Error> {
    Tokenizer::from_folder(folder)
}

fn byte_level() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text/byte_level/tokenizer.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn folder(files: &[(&str, Value)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in files {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn a_folder_without_tokenizer_json_says_so() {
    let folder = folder(&[]);
    let error = load(folder.path()).unwrap_err();
    assert!(matches!(error, Error::NoTokenizer(_)));
    assert!(error.hint().unwrap().contains("mist download"));
}

#[test]
fn tokens_are_read_as_strings_and_as_objects_and_from_either_file() {
    let config = json!({"bos_token": {"content": "<|im_start|>"}, "eos_token": null, "add_bos_token": true});
    let map = json!({"eos_token": "<|im_end|>", "bos_token": "ignored"});
    let folder = folder(&[
        ("tokenizer.json", byte_level()),
        ("tokenizer_config.json", config),
        ("special_tokens_map.json", map),
    ]);
    let tokenizer = load(folder.path()).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.end_ids(), tokenizer.adds_bos()), (Some(1), &[2][..], true));
}

#[test]
fn of_several_templates_the_default_one_is_taken_and_a_file_of_its_own_wins() {
    let list = json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
    let default = |field: Value| templates(&field).unwrap().default;
    assert_eq!(default(list).as_deref(), Some("d"));
    assert_eq!(default(json!("one")).as_deref(), Some("one"));
    assert_eq!(default(json!([{"name": "rag", "template": "r"}])), None);
    let folder = folder(&[
        ("tokenizer.json", byte_level()),
        // transformers ignores the field if the folder has a template file.
        ("tokenizer_config.json", json!({"chat_template": 1})),
        ("chat_template.jinja", json!("from its file")),
    ]);
    assert_eq!(load(folder.path()).unwrap().chat_template(), Some("from its file"));
}

/// Templates are accepted and refused as in transformers 5.24. Regression: unknown forms were ignored, and the model
/// had no chat format, or Mistral's.
#[test]
fn a_chat_template_in_a_form_that_transformers_refuses_is_an_error_that_names_the_field() {
    let with = |template: Value| {
        let config = json!({"chat_template": template});
        let folder = folder(&[("tokenizer.json", byte_level()), ("tokenizer_config.json", config)]);
        load(folder.path())
    };
    for (field, expected) in [
        (json!({"default": "d", "rag": "r"}), "d"),
        (json!([{"name": "default", "template": "a"}, {"name": "default", "template": "b"}]), "b"),
        (json!([{"name": "x", "template": null}, {"name": "default", "template": "b"}]), "b"),
        (json!(""), ""),
    ] {
        assert_eq!(with(field).unwrap().chat_template(), Some(expected));
    }
    assert_eq!(with(json!(null)).unwrap().chat_template(), None);
    // transformers reads these, and refuses a conversation.
    for (field, names) in [
        (json!([{"name": "rag", "template": "r"}, {"name": "tool", "template": "t"}]), "(rag, tool)"),
        (json!({"x": "t"}), "(x)"),
        (json!([]), "(it is empty)"),
        (json!({}), "(it is empty)"),
    ] {
        let tokenizer = with(field).unwrap();
        assert_eq!(tokenizer.encode("a", false).unwrap().len(), 1);
        let error = tokenizer.encode_chat(&[Message::new("user", "x")]).unwrap_err();
        assert!(error.hint().is_some() && error.to_string().contains(names), "{error}");
        assert!(error.to_string().starts_with("chat_template"), "{error}");
    }
    for field in [
        json!(["t"]),
        json!(1),
        json!(true),
        json!([{"name": "default"}]),
        json!([{"template": "t"}]),
        json!([{"name": 1, "template": "t"}]),
        json!({"default": 1}),
        json!([{"name": "default", "template": ["t"]}]),
    ] {
        let error = with(field.clone()).unwrap_err().to_string();
        assert!(
            error.contains("tokenizer_config.json") && error.contains("chat_template"),
            "{field}: {error}"
        );
    }
}

#[test]
fn tokens_that_any_file_calls_special_are_control_tokens() {
    let config = json!({"added_tokens_decoder": {"700": {"content": "<think>", "special": true}}});
    let folder = folder(&[("tokenizer.json", byte_level()), ("tokenizer_config.json", config)]);
    let tokenizer = load(folder.path()).unwrap();
    let think = tokenizer.id("<think>").unwrap();
    assert!(!tokenizer.encode("<think>", false).unwrap().contains(&think));
    assert_eq!(tokenizer.decode(&[think]), "");
}

#[test]
fn bos_is_what_the_post_processor_puts_in_front_where_no_other_file_says() {
    let mut json = byte_level();
    json["post_processor"] = json!({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|im_end|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|im_end|>": {"id": "<|im_end|>", "ids": [2], "tokens": ["<|im_end|>"]}}});
    let bare = folder(&[("tokenizer.json", json.clone())]);
    let tokenizer = load(bare.path()).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.adds_bos()), (Some(2), true));
    let config = json!({"bos_token": "<|im_start|>"});
    let other = folder(&[("tokenizer.json", json), ("tokenizer_config.json", config)]);
    let tokenizer = load(other.path()).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.adds_bos()), (Some(1), true));
    // As in transformers, the post-processor decides, not the setting.
    assert_eq!(tokenizer.encode("", true).unwrap(), [2]);
    let none = load(folder(&[("tokenizer.json", byte_level())]).path()).unwrap();
    assert_eq!((none.bos(), none.adds_bos()), (None, false));
}

#[test]
fn truncation_in_the_file_does_not_shorten_a_text() {
    let mut json = byte_level();
    json["truncation"] =
        json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
    let folder = folder(&[("tokenizer.json", json)]);
    let ids = load(folder.path()).unwrap().encode("0123456789", false).unwrap();
    assert_eq!(ids.len(), 10);
}

/// huggingface/tokenizers#2094: the crate copies a merge into a buffer as long as the longest token.
#[test]
fn a_merge_longer_than_every_token_is_an_error_and_not_a_panic() {
    let model = json!({"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [["a", "b"]]});
    let folder = folder(&[("tokenizer.json", json!({"version": "1.0", "added_tokens": [], "model": model}))]);
    let error = load(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    assert!(!error.to_string().contains('\n'));
}

#[test]
fn plain_text_never_merges_into_a_control_token() {
    let model = json!({"type": "BPE", "vocab": {"<": 0, "s>": 1, "<s>": 2, "s": 3, ">": 4},
        "merges": [["s", ">"], ["<", "s>"]]});
    let token = json!({"id": 2, "content": "<s>", "special": true, "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false});
    let tokenizer =
        json!({"version": "1.0", "added_tokens": [token], "model": model, "decoder": {"type": "Fuse"}});
    let folder = folder(&[("tokenizer.json", tokenizer)]);
    let tokenizer = load(folder.path()).unwrap();
    assert_eq!(tokenizer.encode("<s>", false).unwrap(), [0, 1]);
    assert_eq!(tokenizer.encode("s><", false).unwrap(), [1, 0]);
}

#[test]
fn ids_that_no_vocabulary_has_and_empty_vocabularies_are_errors() {
    for vocab in [json!({"a": 4_000_000_000u32}), json!({"a": u32::MAX}), json!({})] {
        let model = json!({"type": "BPE", "vocab": vocab, "merges": []});
        let tokenizer =
            json!({"version": "1.0", "added_tokens": [], "model": model, "decoder": {"type": "Fuse"}});
        let folder = folder(&[("tokenizer.json", tokenizer)]);
        assert!(matches!(load(folder.path()), Err(Error::Malformed { .. })), "{vocab}");
    }
}

/// Checks prefixes of a valid file, and files of other kinds.
#[test]
fn damaged_files_are_errors_of_one_line() {
    let whole = byte_level().to_string();
    let cut = (0..whole.len()).step_by(499).map(|end| Value::from(&whole[..end]));
    let other = [json!([]), json!(7), json!({"model": null}), json!("\u{1b}[31m")];
    for text in cut.chain(other) {
        let folder = folder(&[("tokenizer.json", text)]);
        let error = load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json") && !error.contains(['\n', '\u{1b}']), "{error}");
    }
    let folder = folder(&[("tokenizer.json", byte_level()), ("tokenizer_config.json", json!("[]"))]);
    assert!(load(folder.path()).unwrap_err().to_string().contains("not a JSON object"));
}

#[test]
fn a_file_beyond_the_limit_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("tokenizer.json")).unwrap();
    file.set_len(MAX_FILE + 1).unwrap();
    assert!(matches!(load(folder.path()), Err(Error::FileTooLarge { limit: MAX_FILE, .. })));
}

/// The vocabulary's size shows which of several files was read.
#[test]
fn of_several_files_mistrals_own_is_read_unless_the_template_is_of_another_format() {
    let fixture = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text").join(name);
        std::fs::read(path).unwrap()
    };
    let model = fixture("mistral/tokenizer.model.v7");
    let tekken = fixture("tekken/tekken.json");
    let json = fixture("byte_level/tokenizer.json");
    let size = |files: &[(&str, &[u8])], template: &str| {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        if !template.is_empty() {
            std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
        }
        let tokenizer = load(folder.path()).unwrap();
        (tokenizer.vocabulary_size(), tokenizer.chat_format())
    };
    let (of_model, of_tekken, of_json) = (900, 720, 701);
    let mistral = |version: &str| Some(format!("Mistral {version}"));
    let own = Some("the model's own template".to_owned());
    let all: [(&str, &[u8]); 4] = [
        ("tokenizer.json", &json),
        ("tokenizer.model.v7", &model),
        ("tekken.json", &tekken),
        ("tokenizer.model", b"no model"),
    ];
    assert_eq!(size(&all, ""), (of_tekken, mistral("v3")));
    assert_eq!(size(&all, "{{ '[INST]' }}"), (of_tekken, mistral("v3")));
    assert_eq!(size(&all, "<|im_start|>"), (of_json, own.clone()));
    assert_eq!(size(&all[..2], ""), (of_model, mistral("v7")));
    assert_eq!(size(&all[1..2], "<|im_start|>"), (of_model, own.clone()));
    assert_eq!(size(&[all[0], all[3]], ""), (of_json, None));
    assert_eq!(size(&[("tokenizer.model.v3", &model), all[1]], ""), (of_model, mistral("v7")));
    assert_eq!(size(&[("tokenizer.model.v3", &model)], ""), (of_model, mistral("v3")));
    // Llama 2 has Mistral's tags, but other tags for the system prompt.
    assert_eq!(size(&all[1..2], "[INST] <<SYS>>"), (of_model, own));
    // The name has no version, and the pieces are not those of Mistral's vocabulary.
    assert_eq!(size(&[("tokenizer.model", &model)], ""), (of_model, None));
}

//! A tokenizer from a Hugging Face folder, and back into one.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::error::one_line;
use super::guard::guarded;
use super::tokenizer::{Inner, NamedTokens};
use super::{Error, Tokenizer};
use crate::files::is_lfs_pointer;

/// The largest `tokenizer.json` of a published model is about 33 MB.
const MAX_FILE: u64 = 64 << 20;

pub(super) fn load(folder: &Path) -> Result<Tokenizer, Error> {
    let path = folder.join("tokenizer.json");
    let bytes = read(&path)?.ok_or_else(|| Error::NoTokenizer(folder.to_owned()))?;
    let malformed = |reason: &str| Error::Malformed { path: path.clone(), reason: one_line(reason) };
    let inner = guarded(|| serde_json::from_slice(&bytes))
        .map_err(|panic| malformed(&panic))?
        .map_err(|error| malformed(&error.to_string()))?;
    let names = named_tokens(folder)?;
    let assembled = guarded(|| Tokenizer::assemble(inner, names));
    assembled.unwrap_or_else(|panic| Err(malformed(&panic))).map_err(|error| match error {
        Error::Vocabulary(reason) => malformed(&reason),
        other => other,
    })
}

pub(super) fn files(
    inner: &Inner,
    names: &NamedTokens,
    adds_bos: bool,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let vocabulary = |reason: &str| Error::Vocabulary(one_line(reason));
    let tokenizer = guarded(|| inner.to_string(false))
        .map_err(|panic| vocabulary(&panic))?
        .map_err(|error| vocabulary(&error.to_string()))?;
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": false,
        "add_bos_token": adds_bos,
        "add_eos_token": false,
        "bos_token": names.bos,
        "eos_token": names.eos,
        "eot_token": names.eot,
        "unk_token": names.unknown,
        "chat_template": names.chat_template,
    });
    let config = match config {
        Value::Object(fields) => {
            fields.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>()
        }
        _ => Map::new(),
    };
    let config = serde_json::to_vec_pretty(&config).map_err(|error| vocabulary(&error.to_string()))?;
    Ok(vec![("tokenizer.json".into(), tokenizer.into_bytes()), ("tokenizer_config.json".into(), config)])
}

fn named_tokens(folder: &Path) -> Result<NamedTokens, Error> {
    let config = read_object(&folder.join("tokenizer_config.json"))?;
    let map = read_object(&folder.join("special_tokens_map.json"))?;
    let token = |name: &str| [&config, &map].into_iter().find_map(|file| spelling(&file[name]));

    let lists = ["additional_special_tokens", "extra_special_tokens"];
    let listed = [&config, &map].into_iter().flat_map(|file| lists.iter().map(move |name| &file[*name]));
    let mut special: Vec<String> =
        listed.flat_map(|list| list.as_array().into_iter().flatten()).filter_map(spelling).collect();
    let declared = config["added_tokens_decoder"].as_object().into_iter().flatten().map(|(_, token)| token);
    special.extend(declared.filter(|token| token["special"] == true).filter_map(spelling));
    special.extend(token("pad_token"));

    let path = folder.join("chat_template.jinja");
    let chat_template = match read(&path)? {
        Some(bytes) => Some(
            String::from_utf8(bytes)
                .map_err(|_| Error::Malformed { path, reason: "it is not UTF-8".into() })?,
        ),
        None => chat_template(&config["chat_template"]),
    };
    Ok(NamedTokens {
        bos: token("bos_token"),
        eos: token("eos_token"),
        eot: token("eot_token"),
        unknown: token("unk_token"),
        special,
        add_bos: config["add_bos_token"].as_bool(),
        chat_template,
    })
}

/// A token is written as its spelling, or as an object with its spelling as `content`.
fn spelling(token: &Value) -> Option<String> {
    token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned)
}

/// One template, or a list of named ones of which `default` is the one for a conversation.
fn chat_template(template: &Value) -> Option<String> {
    let named = || template.as_array()?.iter().find(|entry| entry["name"] == "default")?["template"].as_str();
    template.as_str().or_else(named).map(str::to_owned)
}

/// Null where there is no such file: every field of it is then null too.
fn read_object(path: &Path) -> Result<Value, Error> {
    let Some(bytes) = read(path)? else { return Ok(Value::Null) };
    let malformed = |reason: String| Error::Malformed { path: path.to_owned(), reason };
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| malformed(one_line(&error.to_string())))?;
    if value.is_object() { Ok(value) } else { Err(malformed("it is not a JSON object".into())) }
}

/// None where there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let failed = |source| Error::Read { path: PathBuf::from(path), source };
    // A pipe of that name would be waited for.
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return Err(Error::Malformed { path: path.to_owned(), reason: "it is not a file".into() });
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if read as u64 > MAX_FILE {
        return Err(Error::FileTooLarge { path: path.to_owned(), limit: MAX_FILE });
    }
    if is_lfs_pointer(&bytes) {
        return Err(Error::LfsPointer(path.to_owned()));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte_level() -> Value {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text/byte_level/tokenizer.json");
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
        let config =
            json!({"bos_token": {"content": "<|im_start|>"}, "eos_token": null, "add_bos_token": true});
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
        assert_eq!(chat_template(&list).as_deref(), Some("d"));
        assert_eq!(chat_template(&json!("one")).as_deref(), Some("one"));
        assert_eq!(chat_template(&json!([{"name": "rag", "template": "r"}])), None);
        let folder = folder(&[
            ("tokenizer.json", byte_level()),
            ("tokenizer_config.json", json!({"chat_template": "from the config"})),
            ("chat_template.jinja", json!("from its file")),
        ]);
        assert_eq!(load(folder.path()).unwrap().chat_template(), Some("from its file"));
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
        assert_eq!((tokenizer.bos(), tokenizer.adds_bos()), (Some(1), false));
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
        let folder =
            folder(&[("tokenizer.json", json!({"version": "1.0", "added_tokens": [], "model": model}))]);
        let error = load(folder.path()).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        assert!(!error.to_string().contains('\n'));
    }

    #[test]
    fn plain_text_that_merges_into_a_control_token_is_an_error() {
        let model = json!({"type": "BPE", "vocab": {"<": 0, "s>": 1, "<s>": 2, "s": 3, ">": 4},
            "merges": [["s", ">"], ["<", "s>"]]});
        let token = json!({"id": 2, "content": "<s>", "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false});
        let tokenizer =
            json!({"version": "1.0", "added_tokens": [token], "model": model, "decoder": {"type": "Fuse"}});
        let folder = folder(&[("tokenizer.json", tokenizer)]);
        let tokenizer = load(folder.path()).unwrap();
        assert!(
            matches!(tokenizer.encode("<s>", false), Err(Error::ControlFromText(spelling)) if spelling == "<s>")
        );
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

    /// Every prefix of a valid file, and files that are something else.
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
}

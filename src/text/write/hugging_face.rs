//! Writes `tokenizer.json` and `tokenizer_config.json`, the inverse of `read::hugging_face`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::pairs::pairs;
use crate::text::Error;
use crate::text::alphabet::SPACE;
use crate::text::error::one_line;
use crate::text::model::{Added, Alphabet, Cut, Joins, Kind, Model, NormalForm, Prefix};
use crate::text::read::{AddedToken, Around, Names};

/// Returns names and contents of the files. `around` holds the ids before and after every text.
///
/// # Errors
/// [`Error::Vocabulary`] if a part of the tokenizer cannot be written.
pub(in crate::text) fn files(
    model: &Model,
    names: &Names,
    around: Around,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let failed = |error: serde_json::Error| Error::Vocabulary(one_line(&error.to_string()));
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added_tokens(model),
        "normalizer": normalizer(model),
        "pre_tokenizer": pre_tokenizer(model),
        "post_processor": post_processor(around, model),
        "decoder": decoder(model),
        "model": bpe(model),
    });
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": false,
        "add_bos_token": around.before.is_some(),
        "add_eos_token": around.after.is_some(),
        "bos_token": names.bos,
        "eos_token": names.eos,
        "eot_token": names.eot,
        "eom_token": names.eom,
        "unk_token": names.unknown,
        "chat_template": names.chat_template,
    });
    let Value::Object(fields) = config else { return Ok(Vec::new()) };
    let config: Map<_, _> = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
    Ok(vec![
        ("tokenizer.json".into(), serde_json::to_vec(&tokenizer).map_err(failed)?),
        ("tokenizer_config.json".into(), serde_json::to_vec_pretty(&config).map_err(failed)?),
    ])
}

/// Lists the control tokens and the added tokens by id.
fn added_tokens(model: &Model) -> Vec<AddedToken> {
    let plain = Added::default();
    let all: HashMap<u32, &Added> = model.added.iter().map(|added| (added.id, added)).collect();
    let token = |(id, token): (u32, &str)| {
        let special = model.kind(id) == Kind::Control;
        let added = match all.get(&id) {
            Some(added) => added,
            None if special => &plain,
            None => return None,
        };
        Some(AddedToken {
            id,
            content: token.to_owned(),
            single_word: added.single_word,
            lstrip: added.takes_left,
            rstrip: added.takes_right,
            // This format cannot express a token that SentencePiece finds with its prefix.
            normalized: added.normalized && matches!(model.joins, Joins::Pairs(_)),
            special,
        })
    };
    model.all().filter_map(token).collect()
}

fn replace(from: &str, to: &str) -> Value {
    json!({"type": "Replace", "pattern": {"String": from}, "content": to})
}

fn sequence(list: &str, parts: Vec<Value>) -> Value {
    if parts.is_empty() { Value::Null } else { json!({"type": "Sequence", list: parts}) }
}

/// Returns whether the space rule is a pre-tokenizer, not a normalizer.
fn is_metaspace(model: &Model) -> bool {
    let missing = matches!(model.prefix, Prefix::Missing | Prefix::MissingAtStart);
    model.alphabet == Alphabet::Spaces && (missing || model.cuts.contains(&Cut::BeforeSpaces))
}

fn normalizer(model: &Model) -> Value {
    let form = model.normal_form.map(|form| match form {
        NormalForm::Nfc => "NFC",
        NormalForm::Nfd => "NFD",
        NormalForm::Nfkc => "NFKC",
        NormalForm::Nfkd => "NFKD",
    });
    let mut parts: Vec<Value> = form.into_iter().map(|form| json!({"type": form})).collect();
    if model.alphabet == Alphabet::Spaces && (!is_metaspace(model) || model.prefix == Prefix::Always) {
        if model.prefix == Prefix::Always {
            parts.push(json!({"type": "Prepend", "prepend": SPACE}));
        }
        parts.push(replace(" ", &SPACE.to_string()));
    }
    sequence("normalizers", parts)
}

fn metaspace(model: &Model) -> Value {
    let scheme = match model.prefix {
        // The normalizer has already added a space at the start.
        Prefix::Never | Prefix::Always => "never",
        Prefix::MissingAtStart => "first",
        Prefix::Missing => "always",
    };
    let split = model.cuts.contains(&Cut::BeforeSpaces);
    json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": split})
}

/// Builds the byte-level step, as a pre-tokenizer with or without its own expression, or as a decoder, whose fields are
/// never read.
fn byte_level(prefix: bool, regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": regex})
}

fn pre_tokenizer(model: &Model) -> Value {
    // The space has to be added before the text is cut. Afterwards every byte is a letter of the alphabet, which only
    // its own expression can cut.
    if model.alphabet == Alphabet::Bytes && model.prefix == Prefix::Missing {
        return sequence("pretokenizers", vec![byte_level(true, !model.cuts.is_empty())]);
    }
    let mut parts = Vec::new();
    if is_metaspace(model) {
        parts.push(metaspace(model));
    }
    for cut in &model.cuts {
        if let Cut::Matches(expression) = cut {
            parts.push(json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false}));
        }
    }
    if model.alphabet == Alphabet::Bytes {
        parts.push(byte_level(false, false));
    }
    sequence("pretokenizers", parts)
}

fn post_processor(around: Around, model: &Model) -> Option<Value> {
    let named = |id: Option<u32>| Some((id?, model.token(id?)?));
    let (before, after) = (named(around.before), named(around.after));
    before.or(after)?;
    let special = |token: Option<(u32, &str)>, kind: u32| {
        token.map(|(_, name)| json!({"SpecialToken": {"id": name, "type_id": kind}}))
    };
    let text = |name: &str, kind: u32| {
        let text = json!({"Sequence": {"id": name, "type_id": kind}});
        [special(before, kind), Some(text), special(after, kind)].into_iter().flatten().collect::<Vec<_>>()
    };
    let tokens = [before, after].into_iter().flatten();
    let tokens: Map<String, Value> = tokens
        .map(|(id, name)| (name.to_owned(), json!({"id": name, "ids": [id], "tokens": [name]})))
        .collect();
    let pair = [text("A", 0), text("B", 1)].concat();
    Some(json!({
        "type": "TemplateProcessing",
        "single": text("A", 0),
        "pair": pair,
        "special_tokens": tokens,
    }))
}

fn decoder(model: &Model) -> Value {
    let space = SPACE.to_string();
    match model.alphabet {
        Alphabet::Bytes => byte_level(true, true),
        alphabet => {
            let mut parts = Vec::new();
            if alphabet == Alphabet::Spaces {
                parts.push(replace(&space, " "));
            }
            if model.byte_fallback {
                parts.push(json!({"type": "ByteFallback"}));
            }
            parts.push(json!({"type": "Fuse"}));
            if model.drops_first_space {
                parts.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
            }
            sequence("decoders", parts)
        }
    }
}

fn bpe(model: &Model) -> Value {
    let spelled = |id: u32| model.token(id).unwrap_or_default();
    // A spelling has one id, so a text token that is spelled like a control token is left out.
    let mut vocabulary: Map<String, Value> = Map::new();
    let control = |id: u32| model.kind(id) == Kind::Control;
    for wanted in [false, true] {
        for (id, token) in model.all().filter(|&(id, _)| control(id) == wanted) {
            vocabulary.insert(token.to_owned(), id.into());
        }
    }
    let merges: Vec<Value> =
        pairs(model).into_iter().map(|[left, right, _]| json!([spelled(left), spelled(right)])).collect();
    json!({
        "type": "BPE",
        "dropout": null,
        "unk_token": model.unknown.and_then(|id| model.token(id)),
        "continuing_subword_prefix": null,
        "end_of_word_suffix": null,
        "fuse_unk": model.fuses_unknown,
        "byte_fallback": model.byte_fallback,
        "ignore_merges": model.whole_words,
        "vocab": vocabulary,
        "merges": merges,
    })
}

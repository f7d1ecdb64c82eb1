//! A tokenizer as the metadata of a GGUF file has it: the way back of `gguf`.
//!
//! What llama.cpp's converter writes, with two differences. The scores of a SentencePiece vocabulary that came as
//! `tokenizer.json` are taken from the order of its merges (the converter gives all tokens the same, and merging
//! then goes from left to right). And a token is control where the files say that it is special, not where it
//! looks like it.

use std::collections::HashMap;

use serde_json::Value;

use super::error::one_line;
use super::gguf::{BYTE, CONTROL, SPACE, UNKNOWN, UNUSED, USER_DEFINED};
use super::guard::guarded;
use super::pre_tokenizer::{GPT2, Style};
use super::tokenizer::{Inner, NamedTokens};
use super::{Error, Vocabulary};

/// The vocabulary of a tokenizer.
///
/// # Errors
/// It is no BPE, or prepares a text in a way that has no name in a GGUF file.
pub(super) fn of(inner: &Inner, names: &NamedTokens, adds_bos: bool) -> Result<Vocabulary, Error> {
    let json = guarded(|| inner.to_string(false))
        .map_err(|panic| Error::Vocabulary(one_line(&panic)))?
        .map_err(|error| Error::Vocabulary(one_line(&error.to_string())))?;
    let json: Value =
        serde_json::from_str(&json).map_err(|error| Error::Vocabulary(one_line(&error.to_string())))?;
    let model = &json["model"];
    if model["type"] != "BPE" {
        return Err(Error::NoGgufName(format!("model {}", model["type"])));
    }
    let merges: Vec<(&str, &str)> = model["merges"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|pair| pair[0].as_str().zip(pair[1].as_str()))
        .collect();
    let (tokens, mut token_types) = tokens(inner);
    let id = |name: &Option<String>| name.as_ref().and_then(|name| inner.token_to_id(name));
    let vocabulary = Vocabulary {
        bos: id(&names.bos),
        eos: id(&names.eos),
        eot: id(&names.eot),
        unknown: id(&names.unknown),
        add_bos: Some(adds_bos),
        chat_template: names.chat_template.clone(),
        ..Vocabulary::default()
    };
    if model["byte_fallback"] == true {
        for (_, kind) in tokens.iter().zip(&mut token_types).filter(|(token, _)| is_byte(token)) {
            *kind = BYTE;
        }
        if let Some(kind) = vocabulary.unknown.and_then(|id| token_types.get_mut(id as usize)) {
            *kind = UNKNOWN;
        }
        let scores = scores(&tokens, &merges);
        let add_space_prefix = Some(adds_space(&json));
        return Ok(Vocabulary {
            model: "llama".into(),
            tokens,
            token_types,
            scores,
            add_space_prefix,
            ..vocabulary
        });
    }
    if !json["normalizer"].is_null() {
        return Err(Error::NoGgufName(format!("normalizer {}", json["normalizer"]["type"])));
    }
    let expressions = expressions(&json["pre_tokenizer"])?;
    let pre = Style::name_of(&expressions, model["ignore_merges"] == true);
    let unnamed = || Error::NoGgufName(one_line(&format!("pre-tokenizer {expressions:?}")));
    Ok(Vocabulary {
        model: "gpt2".into(),
        pre: Some(pre.ok_or_else(unnamed)?.into()),
        tokens,
        token_types,
        merges: merges.iter().map(|(left, right)| format!("{left} {right}")).collect(),
        ..vocabulary
    })
}

/// Spellings and types by id; an id without a token is unused.
fn tokens(inner: &Inner) -> (Vec<String>, Vec<i32>) {
    let spellings = inner.get_vocab(true);
    let size = spellings.values().max().map_or(0, |&id| id as usize + 1);
    let mut tokens: Vec<String> = (0..size).map(|id| format!("[PAD{id}]")).collect();
    let mut types = vec![UNUSED; size];
    let added = inner.get_added_tokens_decoder();
    for (token, id) in spellings {
        types[id as usize] = match added.get(&id) {
            None => 1,
            Some(added) if added.special => CONTROL,
            Some(_) => USER_DEFINED,
        };
        tokens[id as usize] = token;
    }
    (tokens, types)
}

/// `<0x00>` to `<0xFF>`.
fn is_byte(token: &str) -> bool {
    let digits = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The earlier the first merge that leads to a token, the higher its score. No merge leads to a single character,
/// whose score nobody asks for, nor to what only the added tokens find, which is last.
fn scores(tokens: &[String], merges: &[(&str, &str)]) -> Vec<f32> {
    let mut ranks = HashMap::with_capacity(merges.len());
    for (rank, (left, right)) in merges.iter().enumerate() {
        ranks.entry([*left, *right].concat()).or_insert(rank);
    }
    tokens.iter().map(|token| -(ranks.get(token).copied().unwrap_or(merges.len()) as f32)).collect()
}

/// Whether a space goes in front of a text.
fn adds_space(json: &Value) -> bool {
    let steps = |value: &Value, list: &str| match &value[list] {
        Value::Array(steps) => steps.clone(),
        _ => vec![value.clone()],
    };
    let prepends = |step: &Value| step["type"] == "Prepend" && step["prepend"] == SPACE;
    let metaspace = |step: &Value| step["type"] == "Metaspace" && step["prepend_scheme"] != "never";
    steps(&json["normalizer"], "normalizers").iter().any(prepends)
        || steps(&json["pre_tokenizer"], "pretokenizers").iter().any(metaspace)
}

/// The regular expressions of a byte-level pre-tokenizer, one after the other.
fn expressions(pre_tokenizer: &Value) -> Result<Vec<String>, Error> {
    let steps = match &pre_tokenizer["pretokenizers"] {
        Value::Array(steps) => steps.as_slice(),
        _ => std::slice::from_ref(pre_tokenizer),
    };
    let mut expressions = Vec::new();
    for step in steps {
        match (step["type"].as_str(), step["pattern"]["Regex"].as_str()) {
            (Some("Digits"), _) if step["individual_digits"] == true => expressions.push(r"\p{N}".into()),
            (Some("Split"), Some(regex)) if step["behavior"] == "Isolated" && step["invert"] == false => {
                expressions.push(regex.into());
            }
            (Some("ByteLevel"), _) if step["add_prefix_space"] == false => {
                expressions.extend((step["use_regex"] == true).then(|| GPT2.to_owned()));
            }
            _ => return Err(Error::NoGgufName(one_line(&format!("pre-tokenizer {step}")))),
        }
    }
    Ok(expressions)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::super::Tokenizer;
    use super::*;

    fn fixture(kind: &str) -> Vocabulary {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text").join(kind);
        Tokenizer::from_folder(&folder).unwrap().vocabulary().unwrap()
    }

    #[test]
    fn tokens_have_the_types_and_the_style_its_name() {
        let bytes = fixture("byte_level");
        assert_eq!((bytes.model.as_str(), bytes.pre.as_deref()), ("gpt2", Some("smollm")));
        assert_eq!(
            (bytes.token_types[1], bytes.bos, bytes.eos, bytes.add_bos),
            (CONTROL, Some(1), Some(2), Some(false))
        );
        let pieces = fixture("sentence_piece");
        assert_eq!((pieces.model.as_str(), pieces.add_space_prefix), ("llama", Some(true)));
        let kind = |token: &str| pieces.token_types[pieces.tokens.iter().position(|t| t == token).unwrap()];
        assert_eq!(["<unk>", "<s>", "<0x0A>", "▁"].map(kind), [UNKNOWN, CONTROL, BYTE, 1]);
    }

    /// The vocabulary that SentencePiece trained orders its pieces as the scores from the merges do.
    #[test]
    fn scores_from_merges_order_pieces_as_sentencepiece_did() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text/sentence_piece/vocabulary.json");
        let json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let theirs: Vec<f32> = serde_json::from_value(json["scores"].clone()).unwrap();
        let ours = fixture("sentence_piece");
        let pieces = |i: &usize| ours.scores[*i] > ours.scores.iter().copied().fold(0.0, f32::min);
        let order = |scores: &[f32]| {
            let mut ids: Vec<usize> =
                (0..scores.len()).filter(pieces).filter(|i| ours.token_types[*i] == 1).collect();
            ids.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            ids
        };
        assert!(order(&theirs).len() > 300);
        assert_eq!(order(&ours.scores), order(&theirs));
    }

    #[test]
    fn a_style_without_a_name_is_an_error() {
        let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
        assert_eq!(Style::name_of(&expressions(&split("[a-z]+")).unwrap(), false), None);
        let prefixed = json!({"type": "ByteLevel", "add_prefix_space": true, "use_regex": true});
        assert!(expressions(&prefixed).unwrap_err().to_string().contains("has no name in a GGUF file"));
        let gpt2 = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true});
        assert_eq!(Style::name_of(&expressions(&gpt2).unwrap(), false), Some("gpt-2"));
    }
}

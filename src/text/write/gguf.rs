//! Writes a tokenizer as the metadata of a GGUF file, the inverse of `read::gguf`.
//!
//! The metadata is what llama.cpp's converter writes, with two differences. The scores of a SentencePiece vocabulary that
//! came as `tokenizer.json` follow the order of its merges (the converter gives all tokens the same score, and merging
//! then goes from left to right). And a token is a control token if the files call it special, not if its spelling
//! suggests it.

use std::collections::{HashMap, HashSet};

use super::pairs::pairs;
use crate::system::quote::quoted;
use crate::text::error::one_line;
use crate::text::model::{Added, Alphabet, Cut, Joins, Kind, Model, Prefix};
use crate::text::read::{BYTE, CONTROL, NORMAL, Names, SCORE_OF_ADDED, Style, UNKNOWN, UNUSED, USER_DEFINED};
use crate::text::{Error, Vocabulary};

/// Converts a tokenizer to a GGUF vocabulary; `id` finds a token by its spelling.
///
/// # Errors
/// The tokenizer prepares a text in a way that a GGUF file cannot express.
pub(in crate::text) fn vocabulary(
    model: &Model,
    names: &Names,
    (adds_bos, adds_eos): (bool, bool),
    id: impl Fn(&str) -> Option<u32>,
) -> Result<Vocabulary, Error> {
    if model.normal_form.is_some() {
        return Err(Error::NoGgufName("normalizer".into()));
    }
    if let Some(twice) = model.twice() {
        return Err(Error::NoGgufName(one_line(&format!("second token {}", quoted(twice)))));
    }
    let named = |name: &Option<String>| id(name.as_deref()?);
    let tokens = model.tokens.iter().zip(0..).map(|(token, id)| match token.as_str() {
        "" => format!("[PAD{id}]"),
        token => token.to_owned(),
    });
    let vocabulary = Vocabulary {
        tokens: tokens.collect(),
        token_types: token_types(model),
        bos: named(&names.bos),
        eos: named(&names.eos),
        eot: named(&names.eot),
        eom: named(&names.eom),
        unknown: named(&names.unknown),
        add_bos: Some(adds_bos),
        // Most files leave the field out if it is false.
        add_eos: adds_eos.then_some(true),
        chat_template: names.chat_template.clone(),
        ..Vocabulary::default()
    };
    match model.alphabet {
        Alphabet::Spaces if model.cuts.is_empty() => Ok(Vocabulary {
            model: "llama".into(),
            scores: scores(model),
            add_space_prefix: Some(model.prefix != Prefix::Never),
            ..vocabulary
        }),
        Alphabet::Bytes if model.prefix == Prefix::Never => {
            let spelled = |id: u32| model.token(id).unwrap_or_default();
            let merges = pairs(model)
                .into_iter()
                .map(|[left, right, _]| format!("{} {}", spelled(left), spelled(right)));
            Ok(Vocabulary {
                model: "gpt2".into(),
                pre: Some(pre(model)?),
                merges: merges.collect(),
                ..vocabulary
            })
        }
        _ => Err(Error::NoGgufName("way to cut a text".into())),
    }
}

fn token_types(model: &Model) -> Vec<i32> {
    let added: HashSet<u32> = model.added.iter().map(|added| added.id).collect();
    let of = |id: u32| match model.kind(id) {
        _ if model.token(id).is_none() => UNUSED,
        Kind::Control if model.alphabet == Alphabet::Spaces && model.unknown == Some(id) => UNKNOWN,
        Kind::Control => CONTROL,
        _ if added.contains(&id) => USER_DEFINED,
        Kind::Added => USER_DEFINED,
        Kind::Byte => BYTE,
        Kind::Unused => UNUSED,
        Kind::Normal => NORMAL,
    };
    (0..model.tokens.len() as u32).map(of).collect()
}

/// Returns the name of the pre-tokenizer.
fn pre(model: &Model) -> Result<String, Error> {
    let expression = |cut: &Cut| match cut {
        Cut::Matches(expression) => Ok(expression.clone()),
        Cut::BeforeSpaces => Err(Error::NoGgufName("pre-tokenizer Metaspace".into())),
    };
    let expressions = model.cuts.iter().map(expression).collect::<Result<Vec<String>, _>>()?;
    let expressions: Vec<&str> = expressions.iter().map(String::as_str).collect();
    let name = Style::name_of(&expressions, model.whole_words);
    let unnamed = || Error::NoGgufName(one_line(&format!("pre-tokenizer {expressions:?}")));
    Ok(name.ok_or_else(unnamed)?.to_owned())
}

/// Returns SentencePiece's own scores, or makes scores from merges: the earlier the first pair that leads to a token, the
/// higher its score. No pair leads to a single character, whose score is never read, or to an added token, which comes
/// last.
fn scores(model: &Model) -> Vec<f32> {
    let pairs = match &model.joins {
        Joins::Scores(scores) => {
            let mut scores = scores.clone();
            scores.resize(model.tokens.len(), SCORE_OF_ADDED);
            return scores;
        }
        Joins::Pairs(pairs) => pairs,
        Joins::Ids => &pairs(model),
    };
    let mut ranks = HashMap::with_capacity(pairs.len());
    for (rank, &[_, _, joined]) in pairs.iter().enumerate() {
        ranks.entry(joined).or_insert(rank);
    }
    let ids = 0..model.tokens.len() as u32;
    let mut scores: Vec<f32> =
        ids.map(|id| -(ranks.get(&id).copied().unwrap_or(pairs.len()) as f32)).collect();
    let found_first = |added: &&Added| !added.normalized && model.kind(added.id) == Kind::Added;
    for added in model.added.iter().filter(found_first) {
        scores[added.id as usize] = SCORE_OF_ADDED;
    }
    scores
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;
    use crate::text::Tokenizer;

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

    /// Scores from merges order pieces as in the vocabulary that SentencePiece trained.
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
        let model =
            |expression: &str| Model { cuts: vec![Cut::Matches(expression.into())], ..Model::default() };
        assert!(pre(&model("[a-z]+")).unwrap_err().to_string().contains("has no name in a GGUF file"));
    }
}

//! Reads a tokenizer from a `tokenizer.json`, as the `tokenizers` crate writes it.
//!
//! The reader supports the parts that models of the family use; another part is an error that names it. It ignores what
//! the crate ignores (unknown fields, offsets) and settings that only affect batches (`truncation`, `padding`).

use std::collections::{HashMap, HashSet};

use serde::de::{DeserializeSeed as _, Deserializer};
use serde::{Deserialize, Serialize};

use super::added::MAX_ADDED;
use super::merges::Merges;
use super::post_processor::around;
use super::source::{MAX_CONTROLS, MAX_IDS, Names, Source};
use super::steps::{decoder, steps};
use crate::json::{self, Capped, Text};
use crate::system::quote::quoted;
use crate::text::Error;
use crate::text::alphabet::fallback_byte;
use crate::text::encode::Normalizer;
use crate::text::error::{malformed, unknown};
use crate::text::model::{Added, Alphabet, Joins, Kind, Model};

/// A part that is read field by field, limited to 6 MiB of memory. The largest published ones take a few kilobytes.
type Part = json::Bounded<{ 6 << 20 }>;

/// The fields of the file that are read.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    version: Part,
    #[serde(default)]
    added_tokens: Capped<AddedToken, MAX_CONTROLS>,
    #[serde(default)]
    normalizer: Part,
    #[serde(default)]
    pre_tokenizer: Part,
    #[serde(default)]
    post_processor: Part,
    #[serde(default)]
    decoder: Part,
    model: Bpe,
}

/// An entry of `added_tokens`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::text) struct AddedToken {
    pub(in crate::text) id: u32,
    pub(in crate::text) content: String,
    #[serde(default)]
    pub(in crate::text) single_word: bool,
    #[serde(default)]
    pub(in crate::text) lstrip: bool,
    #[serde(default)]
    pub(in crate::text) rstrip: bool,
    #[serde(default)]
    pub(in crate::text) normalized: bool,
    #[serde(default)]
    pub(in crate::text) special: bool,
}

/// The field `model`.
#[derive(Deserialize)]
struct Bpe {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    dropout: Option<f32>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: Option<bool>,
    #[serde(default)]
    byte_fallback: Option<bool>,
    #[serde(default)]
    ignore_merges: Option<bool>,
    #[serde(deserialize_with = "ids")]
    vocab: HashMap<String, u32>,
    merges: Merges,
}

/// Returns the vocabulary; a token that occurs twice is an error.
fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HashMap<String, u32>, D::Error> {
    json::Unique::new(MAX_IDS).deserialize(deserializer)
}

/// Reads the model in the contents of a `tokenizer.json`.
///
/// # Errors
/// [`Error::Vocabulary`] for a contradiction; [`Error::UnknownPart`] for a part that is not supported.
pub(super) fn read(text: Text) -> Result<Source, Error> {
    let file: File = text.parse().map_err(|error| malformed(&error.to_string()))?;
    let Capped(added_tokens) = file.added_tokens;
    let [version, normalizer, pre_tokenizer, post_processor, decoders] =
        [file.version, file.normalizer, file.pre_tokenizer, file.post_processor, file.decoder]
            .map(|part| part.0);
    if !matches!(version.as_str(), Some("1.0")) && !version.is_null() {
        return Err(unknown("version", &version.to_string()));
    }
    let bpe = file.model;
    if let Some(other) = bpe.kind.as_deref().filter(|kind| *kind != "BPE") {
        return Err(unknown("model", other));
    }
    if bpe.dropout.is_some_and(|p| p != 0.0) {
        return Err(unknown("model", "with dropout"));
    }
    let affix = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if affix(&bpe.continuing_subword_prefix) || affix(&bpe.end_of_word_suffix) {
        return Err(unknown("model", "with a prefix or suffix for subwords"));
    }

    let largest = bpe.vocab.values().copied().chain(added_tokens.iter().map(|token| token.id)).max();
    let size = largest.map_or(0, |id| id as usize + 1);
    if !(1..=MAX_IDS).contains(&size) {
        return Err(malformed(&format!("its ids run up to {size}, allowed are 1 to {MAX_IDS}")));
    }
    let pairs = pairs(&bpe.merges, &bpe.vocab)?;
    let mut model = Model {
        tokens: vec![String::new(); size],
        kinds: vec![Kind::Unused; size],
        joins: Joins::Pairs(pairs),
        whole_words: bpe.ignore_merges == Some(true),
        byte_fallback: bpe.byte_fallback == Some(true),
        unknown: bpe.unk_token.as_ref().and_then(|token| bpe.vocab.get(token)).copied(),
        fuses_unknown: bpe.fuse_unk == Some(true),
        ..Model::default()
    };
    for (token, &id) in &bpe.vocab {
        let byte = model.byte_fallback && fallback_byte(token).is_some();
        model.kinds[id as usize] = if byte { Kind::Byte } else { Kind::Normal };
        if !std::mem::replace(&mut model.tokens[id as usize], token.clone()).is_empty() {
            return Err(malformed(&format!("two tokens have the id {id}")));
        }
    }
    steps(&normalizer, &pre_tokenizer, &mut model)?;
    if let (Some(name), None) = (&bpe.unk_token, model.unknown)
        && model.alphabet != Alphabet::Bytes
    {
        return Err(malformed(&format!(
            "its `unk_token` is {}, which is no token of the vocabulary",
            quoted(name)
        )));
    }
    read_added(added_tokens, &bpe.vocab, &mut model)?;
    decoder(&decoders, &mut model)?;
    let around = around(&post_processor, &model)?;
    let names = Names { unknown: bpe.unk_token, ..Names::default() };
    Ok(Source { model, names, around, version: None })
}

fn pairs(merges: &Merges, vocabulary: &HashMap<String, u32>) -> Result<Vec<[u32; 3]>, Error> {
    let id = |token: &str| {
        let known = vocabulary.get(token).copied();
        known.ok_or_else(|| malformed(&format!("a merge has {}, which is no token", quoted(token))))
    };
    let pair = |(left, right): (&str, &str)| Ok([id(left)?, id(right)?, id(&[left, right].concat())?]);
    merges.iter().map(pair).collect()
}

/// Adds a token. A token of the vocabulary keeps its id there; another gets the id in its entry. A token that is found
/// after normalization is normalized itself.
fn read_added(
    tokens: Vec<AddedToken>,
    vocabulary: &HashMap<String, u32>,
    model: &mut Model,
) -> Result<(), Error> {
    if tokens.iter().map(|token| token.content.len()).sum::<usize>() > MAX_ADDED {
        return Err(malformed(&format!("its added tokens have more than {MAX_ADDED} bytes")));
    }
    let normalizer = Normalizer::new(model);
    let mut seen = HashSet::new();
    // The crate ignores the ids of new tokens and counts on from the vocabulary, if no id there is unused.
    let mut next = (vocabulary.values().max().is_some_and(|id| *id as usize + 1 == vocabulary.len()))
        .then_some(vocabulary.len() as u32);
    for token in tokens {
        let known = vocabulary.get(&token.content).copied();
        if let (None, Some(next)) = (known, &mut next) {
            let is_free = model.tokens[token.id as usize].is_empty();
            if token.id != *next && is_free {
                return Err(malformed(&format!(
                    "the added token {:?} has the id {}, the next one is {next}",
                    token.content, token.id
                )));
            }
            *next += u32::from(token.id == *next);
        }
        let id = known.unwrap_or(token.id);
        if !seen.insert(id) {
            continue;
        }
        let spelled = &mut model.tokens[id as usize];
        if known.is_none() && !spelled.is_empty() {
            return Err(malformed(&format!("the added token {:?} has the id of {spelled:?}", token.content)));
        }
        spelled.clone_from(&token.content);
        match (token.special, known) {
            (true, _) => model.kinds[id as usize] = Kind::Control,
            (false, None) => model.kinds[id as usize] = Kind::Added,
            // It is spelled in the vocabulary's alphabet, and merges may lead to it as well.
            (false, Some(_)) => {}
        }
        model.added.push(Added {
            id,
            content: match token.normalized {
                true => normalizer.apply(&token.content).into_owned(),
                false => token.content,
            },
            single_word: token.single_word,
            takes_left: token.lstrip,
            takes_right: token.rstrip,
            normalized: token.normalized,
        });
    }
    Ok(())
}

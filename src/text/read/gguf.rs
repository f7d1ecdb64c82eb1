//! Reads a tokenizer from the metadata of a GGUF file.

use std::collections::{HashMap, HashSet};

use super::source::{Around, MAX_IDS, Names, Source};
use super::style::Style;
use crate::system::quote::quoted;
use crate::text::alphabet::SPACE;
use crate::text::error::malformed;
use crate::text::model::{Added, Alphabet, Cut, Joins, Kind, Model, Prefix};
use crate::text::{Error, Vocabulary};

/// The types of `tokenizer.ggml.token_type`.
pub(in crate::text) const NORMAL: i32 = 1;
pub(in crate::text) const UNKNOWN: i32 = 2;
pub(in crate::text) const CONTROL: i32 = 3;
pub(in crate::text) const USER_DEFINED: i32 = 4;
pub(in crate::text) const UNUSED: i32 = 5;
pub(in crate::text) const BYTE: i32 = 6;

/// The score of tokens that a SentencePiece model does not have, as llama.cpp's converter writes it.
pub(in crate::text) const SCORE_OF_ADDED: f32 = -1000.0;

/// Tokens that end a turn. They are control tokens regardless of their type in a file, as in llama.cpp
/// (`llama_vocab::impl::load`), because some converters wrote them as text.
const ENDS: [&str; 8] = [
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
];

/// Reads the tokenizer of a GGUF file.
///
/// # Errors
/// The vocabulary contradicts itself, or its kind is not supported: [`Error::Vocabulary`], [`Error::UnknownModel`],
/// [`Error::UnknownPreTokenizer`].
pub(in crate::text) fn read(vocabulary: Vocabulary) -> Result<Source, Error> {
    let ids = ids(&vocabulary)?;
    check_types(&vocabulary, &ids)?;
    let (mut model, adds_bos) = match vocabulary.model.as_str() {
        "gpt2" => byte_level(&vocabulary, &ids)?,
        "llama" => (sentence_piece(&vocabulary)?, true),
        other => return Err(Error::UnknownModel(other.to_owned())),
    };
    let kind = |id: u32| vocabulary.token_types.get(id as usize).copied().unwrap_or(NORMAL);
    let of_type = |id: u32| match kind(id) {
        UNKNOWN | CONTROL => Kind::Control,
        USER_DEFINED => Kind::Added,
        UNUSED => Kind::Unused,
        BYTE => Kind::Byte,
        _ => Kind::Normal,
    };
    model.kinds = (0..vocabulary.tokens.len() as u32).map(of_type).collect();
    for name in ENDS {
        if let Some(&id) = ids.get(name) {
            model.kinds[id as usize] = Kind::Control;
        }
    }
    let added = model.all().filter(|&(id, _)| matches!(model.kind(id), Kind::Added));
    // SentencePiece finds its own tokens in the text with its prefix. The others are found before that, and a new text
    // begins after each of them.
    let is_spaces = model.alphabet == Alphabet::Spaces;
    let is_own = |id: u32| is_spaces && vocabulary.scores.get(id as usize) != Some(&SCORE_OF_ADDED);
    let content = |token: &str| if is_spaces { token.replace(SPACE, " ") } else { token.to_owned() };
    let one = |(id, token): (u32, &str)| Added {
        id,
        content: content(token),
        normalized: is_own(id),
        ..Added::default()
    };
    model.added = added.map(one).collect();
    let unknown =
        vocabulary.unknown.or_else(|| (0..model.kinds.len() as u32).find(|&id| kind(id) == UNKNOWN));
    model.unknown = unknown.filter(|&id| vocabulary.model == "llama" && model.token(id).is_some());
    let spelling = |id: Option<u32>| model.token(id?).map(str::to_owned);
    let (bos, eos) = (spelling(vocabulary.bos), spelling(vocabulary.eos));
    let needs_bos = vocabulary.add_bos.unwrap_or(adds_bos && vocabulary.model == "gpt2");
    let adds_eos = vocabulary.add_eos.unwrap_or(false);
    for (is_added, named, id, name) in
        [(needs_bos, &bos, vocabulary.bos, "bos"), (adds_eos, &eos, vocabulary.eos, "eos")]
    {
        if is_added && named.is_none() {
            let what = id.map_or("missing".into(), |id| format!("{id}, which no token has"));
            let upper = name.to_uppercase();
            return Err(Error::Metadata(format!(
                "every text gets the {upper} token, and tokenizer.ggml.{name}_token_id is {what}"
            )));
        }
    }
    let names = Names {
        bos,
        no_bos: false,
        eos,
        eot: spelling(vocabulary.eot),
        eom: spelling(vocabulary.eom),
        unknown: spelling(unknown),
        special: Vec::new(),
        adds_bos: Some(vocabulary.add_bos.unwrap_or(adds_bos)),
        adds_eos: Some(adds_eos),
        chat_template: vocabulary.chat_template,
        no_default: None,
    };
    Ok(Source { model, names, around: Around::default(), version: None })
}

/// Refuses a file without `tokenizer.ggml.token_type` if it has tokens whose type matters. llama.cpp takes all of them
/// as plain text: bytes would be decoded as `<0x0A>`, and a chat format's tags as letters.
fn check_types(vocabulary: &Vocabulary, ids: &HashMap<&str, u32>) -> Result<(), Error> {
    if !vocabulary.token_types.is_empty() {
        return Ok(());
    }
    let joined: HashSet<u32> = match vocabulary.model.as_str() {
        "gpt2" => vocabulary
            .merges
            .iter()
            .filter_map(|merge| ids.get(&*merge.replacen(' ', "", 1)))
            .copied()
            .collect(),
        _ => HashSet::new(),
    };
    let is_tag = |token: &str| {
        let within = |open, close| token.starts_with(open) && token.ends_with(close);
        token.len() > 2 && (within('<', '>') || within('[', ']'))
    };
    let mut tokens = vocabulary.tokens.iter().zip(0..);
    match tokens.find(|(token, id)| is_tag(token) && !joined.contains(id)) {
        Some((token, _)) => Err(Error::Metadata(format!(
            "tokenizer.ggml.token_type is missing, which says whether {} is plain text",
            quoted(token)
        ))),
        None => Ok(()),
    }
}

/// Returns ids by spelling. An empty token spells nothing, so no text leads to it and its id has no token.
fn ids(vocabulary: &Vocabulary) -> Result<HashMap<&str, u32>, Error> {
    let count = vocabulary.tokens.len();
    if !(1..=MAX_IDS).contains(&count) {
        return Err(malformed(&format!("it has {count} ids, allowed are 1 to {MAX_IDS}")));
    }
    for (name, length) in [("scores", vocabulary.scores.len()), ("token_type", vocabulary.token_types.len())]
    {
        if length != 0 && length != count {
            return Err(malformed(&format!("{length} {name} for {count} tokens")));
        }
    }
    let mut ids = HashMap::with_capacity(count);
    for (token, id) in vocabulary.tokens.iter().zip(0..).filter(|(token, _)| !token.is_empty()) {
        if ids.insert(token.as_str(), id).is_some() {
            return Err(malformed(&format!("the token {} is in it twice", quoted(token))));
        }
    }
    Ok(ids)
}

/// Finds a text token of several characters, which only a merge can produce.
fn of_several_characters(vocabulary: &Vocabulary) -> Option<&str> {
    let mut tokens = vocabulary.tokens.iter().enumerate();
    let is_text = |id: usize| vocabulary.token_types.get(id).is_none_or(|kind| *kind == NORMAL);
    tokens.find(|(id, token)| is_text(*id) && token.chars().nth(1).is_some()).map(|(_, token)| token.as_str())
}

/// Reads byte-level BPE, and whether BOS is added at the start by default.
fn byte_level(vocabulary: &Vocabulary, ids: &HashMap<&str, u32>) -> Result<(Model, bool), Error> {
    let style = Style::named(vocabulary.pre.as_deref())?;
    let mut pairs = Vec::with_capacity(vocabulary.merges.len());
    for merge in &vocabulary.merges {
        let Some((left, right)) = merge.split_once(' ') else {
            return Err(malformed(&format!("the merge {} is not two tokens", quoted(merge))));
        };
        let id = |token: &str| ids.get(token).copied();
        let (Some(left), Some(right), Some(joined)) = (id(left), id(right), id(&[left, right].concat()))
        else {
            return Err(malformed(&format!("the merge {} leads to no token", quoted(merge))));
        };
        pairs.push([left, right, joined]);
    }
    if pairs.is_empty()
        && let Some(token) = of_several_characters(vocabulary)
    {
        let rule = format!("tokenizer.ggml.merges is missing, which lead to the token {}", quoted(token));
        return Err(Error::Metadata(rule));
    }
    let model = Model {
        tokens: vocabulary.tokens.clone(),
        alphabet: Alphabet::Bytes,
        joins: Joins::Pairs(pairs),
        whole_words: style.whole_words,
        cuts: style.expressions.iter().map(|expression| Cut::Matches((*expression).to_owned())).collect(),
        ..Model::default()
    };
    Ok((model, style.adds_bos))
}

fn sentence_piece(vocabulary: &Vocabulary) -> Result<Model, Error> {
    if vocabulary.scores.is_empty() {
        return Err(malformed("it has no scores"));
    }
    let adds_space = vocabulary.add_space_prefix.unwrap_or(true);
    Ok(Model {
        tokens: vocabulary.tokens.clone(),
        alphabet: Alphabet::Spaces,
        joins: Joins::Scores(vocabulary.scores.clone()),
        byte_fallback: true,
        fuses_unknown: true,
        prefix: if adds_space { Prefix::Always } else { Prefix::Never },
        drops_first_space: adds_space,
        ..Model::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Tokenizer;

    fn load(vocabulary: Vocabulary) -> Result<Tokenizer, Error> {
        Tokenizer::from_vocabulary(vocabulary)
    }

    /// Returns a vocabulary with a few letters, and a control token that a merge leads to.
    fn small() -> Vocabulary {
        Vocabulary {
            model: "gpt2".into(),
            pre: Some("gpt-2".into()),
            tokens: ["a", "b", "ab", "abb", "Ġ"].map(str::to_owned).to_vec(),
            token_types: vec![1, 1, 1, 3, 1],
            merges: ["a b", "ab b"].map(str::to_owned).to_vec(),
            eos: Some(3),
            ..Vocabulary::default()
        }
    }

    fn error(vocabulary: Vocabulary) -> String {
        load(vocabulary).unwrap_err().to_string()
    }

    #[test]
    fn merges_never_lead_to_a_control_token() {
        let tokenizer = load(small()).unwrap();
        assert_eq!(tokenizer.encode("ab abb", false).unwrap(), [2, 4, 2, 1]);
        assert_eq!(tokenizer.decode(&[2, 4, 2, 1, 3]), "ab abb");
        let untyped = load(Vocabulary { token_types: vec![], ..small() }).unwrap();
        assert_eq!(untyped.encode("abb", false).unwrap(), [2, 1]);
    }

    #[test]
    fn bos_goes_in_front_where_the_file_or_else_the_model_says_so() {
        let adds = |pre: &str, add_bos| {
            let vocabulary = Vocabulary { pre: Some(pre.into()), bos: Some(3), add_bos, ..small() };
            load(vocabulary).unwrap().adds_bos()
        };
        assert!(!adds("gpt-2", None));
        assert!(adds("gpt-2", Some(true)));
        assert!(adds("tekken", None));
        assert!(!adds("llama-bpe", Some(false)));
    }

    #[test]
    fn user_defined_tokens_are_found_in_text_before_merging() {
        let mut vocabulary = small();
        vocabulary.token_types[2] = USER_DEFINED;
        vocabulary.merges.clear();
        assert_eq!(load(vocabulary).unwrap().encode("aab", false).unwrap(), [0, 2]);
    }

    #[test]
    fn behind_an_added_token_a_text_begins_anew_and_behind_a_piece_of_sentencepiece_it_goes_on() {
        let tokens = ["<unk>", "▁", "a", "▁a", "<x>", "<y>"].map(str::to_owned).to_vec();
        let vocabulary = Vocabulary {
            model: "llama".into(),
            scores: vec![0.0, -9.0, -9.0, -1.0, SCORE_OF_ADDED, 0.0],
            token_types: vec![UNKNOWN, 1, 1, 1, USER_DEFINED, USER_DEFINED],
            tokens,
            ..Vocabulary::default()
        };
        let tokenizer = load(vocabulary).unwrap();
        assert_eq!(tokenizer.encode("a<x>a <x>", false).unwrap(), [3, 4, 3, 1, 4]);
        assert_eq!(tokenizer.encode("a<y>a <y>", false).unwrap(), [3, 5, 2, 1, 5]);
    }

    #[test]
    fn vocabularies_that_contradict_themselves_are_errors() {
        assert!(error(Vocabulary { model: "rwkv".into(), ..small() }).contains("\"rwkv\" is not supported"));
        assert!(error(Vocabulary { pre: Some("x".into()), ..small() }).contains("\"x\" is not supported"));
        assert!(error(Vocabulary { merges: vec!["ab".into()], ..small() }).contains("not two tokens"));
        assert!(error(Vocabulary { merges: vec!["b a".into()], ..small() }).contains("leads to no token"));
        assert!(error(Vocabulary { scores: vec![0.0], ..small() }).contains("1 scores for 5 tokens"));
        assert!(error(Vocabulary { model: "llama".into(), ..small() }).contains("no scores"));
        assert!(
            error(Vocabulary { tokens: vec![], token_types: vec![], merges: vec![], ..small() })
                .contains("ids")
        );
        let mut twice = small();
        twice.tokens[1] = "a".into();
        assert!(error(twice).contains("\"a\" is in it twice"));
        assert!(load(Vocabulary { bos: Some(99), eos: Some(u32::MAX), ..small() }).unwrap().bos().is_none());
    }

    #[test]
    fn scores_that_are_not_numbers_do_not_stop_the_sorting() {
        let scores = [f32::NAN, 1.0, f32::NAN, -0.0, f32::NEG_INFINITY];
        let vocabulary = Vocabulary { model: "llama".into(), scores: scores.to_vec(), ..small() };
        assert!(load(vocabulary).is_ok());
    }

    #[test]
    fn without_a_space_prefix_none_is_added_and_none_dropped() {
        let mut vocabulary = Vocabulary { model: "llama".into(), scores: vec![0.0; 5], ..small() };
        vocabulary.tokens[4] = SPACE.into();
        vocabulary.add_space_prefix = Some(false);
        let tokenizer = load(vocabulary).unwrap();
        assert_eq!(tokenizer.encode(" a", false).unwrap(), [4, 0]);
        assert_eq!(tokenizer.encode("a", false).unwrap(), [0]);
        assert_eq!(tokenizer.decode(&[4, 0]), " a");
    }
}

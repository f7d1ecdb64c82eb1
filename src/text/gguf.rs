//! A tokenizer from the metadata of a GGUF file.

use std::collections::HashMap;

use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, decoders, normalizers};

use super::error::one_line;
use super::guard::guarded;
use super::pre_tokenizer::Style;
use super::tokenizer::{Inner, NamedTokens};
use super::{Error, Tokenizer, Vocabulary};

/// `tokenizer.ggml.token_type`.
pub(super) const UNKNOWN: i32 = 2;
pub(super) const CONTROL: i32 = 3;
pub(super) const USER_DEFINED: i32 = 4;
pub(super) const UNUSED: i32 = 5;
pub(super) const BYTE: i32 = 6;

/// SentencePiece's space.
pub(super) const SPACE: &str = "▁";

pub(super) fn load(vocabulary: Vocabulary) -> Result<Tokenizer, Error> {
    let reason = |error: String| Error::Vocabulary(one_line(&error));
    guarded(|| {
        let pieces = Pieces::new(&vocabulary)?;
        let (mut inner, adds_bos) = match vocabulary.model.as_str() {
            "gpt2" => byte_level(&vocabulary, &pieces)?,
            "llama" => (sentence_piece(&vocabulary, &pieces)?, true),
            other => return Err(Error::UnknownModel(other.to_owned())),
        };
        inner.add_tokens(pieces.added()).map_err(|error| reason(error.to_string()))?;
        let names = NamedTokens {
            bos: pieces.spelling(vocabulary.bos),
            eos: pieces.spelling(vocabulary.eos),
            eot: pieces.spelling(vocabulary.eot),
            unknown: pieces.unknown.clone(),
            special: Vec::new(),
            add_bos: Some(vocabulary.add_bos.unwrap_or(adds_bos)),
            chat_template: vocabulary.chat_template.clone(),
        };
        Tokenizer::assemble(inner, names)
    })
    .unwrap_or_else(|panic| Err(reason(panic)))
}

/// The vocabulary by spelling, and what each token is.
struct Pieces<'a> {
    vocabulary: &'a Vocabulary,
    ids: HashMap<&'a str, u32>,
    unknown: Option<String>,
}

impl<'a> Pieces<'a> {
    fn new(vocabulary: &'a Vocabulary) -> Result<Self, Error> {
        let count = vocabulary.tokens.len();
        for (name, length) in
            [("scores", vocabulary.scores.len()), ("token_type", vocabulary.token_types.len())]
        {
            if length != 0 && length != count {
                return Err(Error::Vocabulary(format!("{length} {name} for {count} tokens")));
            }
        }
        let mut ids = HashMap::with_capacity(count);
        for (token, id) in vocabulary.tokens.iter().zip(0..) {
            // An empty token spells nothing, so no text leads to it; its id stays a hole.
            if !token.is_empty() && ids.insert(token.as_str(), id).is_some() {
                return Err(Error::Vocabulary(format!("the token {:?} is in it twice", one_line(token))));
            }
        }
        let mut pieces = Self { vocabulary, ids, unknown: None };
        let first_unknown = || (0..count as u32).find(|&id| pieces.kind(id) == UNKNOWN);
        pieces.unknown = pieces.spelling(vocabulary.unknown.or_else(first_unknown));
        Ok(pieces)
    }

    fn kind(&self, id: u32) -> i32 {
        self.vocabulary.token_types.get(id as usize).copied().unwrap_or(1)
    }

    fn is_control(&self, id: u32) -> bool {
        let Vocabulary { bos, eos, eot, .. } = self.vocabulary;
        matches!(self.kind(id), UNKNOWN | CONTROL) || [bos, eos, eot].contains(&&Some(id))
    }

    fn spelling(&self, id: Option<u32>) -> Option<String> {
        self.vocabulary.tokens.get(id? as usize).filter(|token| !token.is_empty()).cloned()
    }

    /// Whether merges may lead to it. That they do not lead to a control token is what keeps text text.
    fn merges_into(&self, id: u32) -> bool {
        !self.is_control(id) && self.kind(id) != BYTE
    }

    fn model_vocabulary(&self) -> Vocab {
        self.ids.iter().map(|(token, &id)| ((*token).to_owned(), id)).collect()
    }

    /// The tokens that are found in a text as they stand, before any merging.
    fn added(&self) -> Vec<AddedToken> {
        let tokens = self.vocabulary.tokens.iter().zip(0..).filter(|(token, _)| !token.is_empty());
        tokens
            .filter(|&(_, id)| self.is_control(id) || self.kind(id) == USER_DEFINED)
            .map(|(token, id)| AddedToken::from(token.as_str(), self.is_control(id)).normalized(false))
            .collect()
    }
}

/// Byte-level BPE, and whether BOS goes in front where the file does not say.
fn byte_level(vocabulary: &Vocabulary, pieces: &Pieces<'_>) -> Result<(Inner, bool), Error> {
    let reason = |error: tokenizers::Error| Error::Vocabulary(one_line(&error.to_string()));
    let style = Style::named(vocabulary.pre.as_deref())?;
    let mut merges = Vec::with_capacity(vocabulary.merges.len());
    for merge in &vocabulary.merges {
        let Some((left, right)) = merge.split_once(' ') else {
            return Err(Error::Vocabulary(format!("the merge {:?} is not two tokens", one_line(merge))));
        };
        let whole = [left, right].concat();
        let Some(&id) = pieces.ids.get(whole.as_str()) else {
            return Err(Error::Vocabulary(format!("the merge {:?} leads to no token", one_line(merge))));
        };
        if pieces.merges_into(id) {
            merges.push((left.to_owned(), right.to_owned()));
        }
    }
    let model = BPE::builder()
        .vocab_and_merges(pieces.model_vocabulary(), merges)
        .ignore_merges(style.ignore_merges)
        .build()
        .map_err(reason)?;
    let mut inner = Inner::new(model);
    inner.with_pre_tokenizer(Some(style.pre_tokenizer().map_err(reason)?));
    inner.with_decoder(Some(ByteLevel::default()));
    Ok((inner, style.adds_bos))
}

/// SentencePiece BPE as the `tokenizers` crate can do it, the way transformers converts it (`LlamaConverter`
/// and `generate_merges` in transformers/convert_slow_tokenizer.py): every way to put a piece together is a
/// merge, ordered by the score of the piece.
fn sentence_piece(vocabulary: &Vocabulary, pieces: &Pieces<'_>) -> Result<Inner, Error> {
    let reason = |error: tokenizers::Error| Error::Vocabulary(one_line(&error.to_string()));
    if vocabulary.scores.is_empty() {
        return Err(Error::Vocabulary("it has no scores".into()));
    }
    let model = BPE::builder()
        .vocab_and_merges(pieces.model_vocabulary(), merges_by_score(vocabulary, pieces))
        .byte_fallback(true)
        .fuse_unk(true);
    let model = match &pieces.unknown {
        Some(unknown) => model.unk_token(unknown.clone()),
        None => model,
    };
    let mut inner = Inner::new(model.build().map_err(reason)?);

    let adds_space = vocabulary.add_space_prefix.unwrap_or(true);
    let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
    if adds_space {
        normalizers.push(Prepend::new(SPACE.into()).into());
    }
    normalizers.push(Replace::new(" ", SPACE).map_err(reason)?.into());
    inner.with_normalizer(Some(normalizers::Sequence::new(normalizers))).map_err(reason)?;

    let mut steps: Vec<DecoderWrapper> = vec![
        Replace::new(SPACE, " ").map_err(reason)?.into(),
        ByteFallback::new().into(),
        Fuse::new().into(),
    ];
    if adds_space {
        steps.push(Strip::new(' ', 1, 0).into());
    }
    inner.with_decoder(Some(decoders::sequence::Sequence::new(steps)));
    Ok(inner)
}

fn merges_by_score(vocabulary: &Vocabulary, pieces: &Pieces<'_>) -> Vec<(String, String)> {
    let part = |text: &str| pieces.ids.get(text).copied().filter(|&id| pieces.merges_into(id));
    let mut merges = Vec::new();
    for ((token, id), &score) in vocabulary.tokens.iter().zip(0..).zip(&vocabulary.scores) {
        if !pieces.merges_into(id) {
            continue;
        }
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(left_id), Some(right_id)) = (part(left), part(right)) {
                merges.push((score, id, left, right, left_id, right_id));
            }
        }
    }
    // Among the ways to one piece, the longer left part first, as generate_merges has it.
    merges.sort_by(|a, b| {
        b.0.total_cmp(&a.0)
            .then(b.2.chars().count().cmp(&a.2.chars().count()))
            .then(b.3.chars().count().cmp(&a.3.chars().count()))
            .then((a.1, a.4, a.5).cmp(&(b.1, b.4, b.5)))
    });
    merges.into_iter().map(|(_, _, left, right, ..)| (left.to_owned(), right.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few letters, and a control token that a merge leads to.
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

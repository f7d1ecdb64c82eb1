//! Encodes text to ids: takes out added tokens, normalizes the text between them, cuts it into words and merges the
//! symbols of each word.
//!
//! | file | idea |
//! |---|---|
//! | `mod` | [`Encoder`]: the steps for a stretch of text |
//! | `added` | tokens that are found in a text before it is cut |
//! | `words` | cutting a text into words |
//! | `bpe` | merging the symbols of a word |
//!
//! The ids are those of sentencepiece, tiktoken or `tokenizers`, whichever the model was made for. The encoder is our own
//! because none of the three reads all files, and `tokenizers` takes 8 to 26 times as long (`benches/tokenize.rs`).

mod added;
mod bpe;
pub(super) mod words;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;

pub(super) use self::added::Finder;
use self::added::Part;
use self::bpe::{Bpe, Scratch};
use self::words::Words;
use super::Error;
use super::alphabet::SPACE;
use super::model::{Alphabet, Kind, Model, NormalForm, Prefix};

/// A map with a fast hash that is seeded anew in each process, since vocabularies may be hostile.
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Words longer than this many bytes are encoded anew each time.
const LONGEST_REMEMBERED: usize = 64;

/// The position of a stretch of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At the start of a text.
    Start,
    /// Behind a control token.
    Stretch,
    /// Behind text that it was normalized together with: no space goes in front.
    Joined,
}

/// Encodes text to the ids of one model.
#[derive(Debug)]
pub(super) struct Encoder {
    raw: Option<Finder>,
    normalized: Option<Finder>,
    normalizer: Normalizer,
    prefix: Prefix,
    words: Words,
    bpe: Bpe,
}

impl Encoder {
    /// # Errors
    /// [`Error::Vocabulary`] for an expression that cannot be used.
    pub(super) fn new(model: &Model) -> Result<Self, Error> {
        // Code puts control tokens between stretches of text; they are never found in one.
        let found = model.added.iter().filter(|added| model.kind(added.id) != Kind::Control);
        let (normalized, raw): (Vec<_>, Vec<_>) = found.cloned().partition(|added| added.normalized);
        if added::bytes(&normalized) + added::bytes(&raw) > Finder::MOST_BYTES {
            let most = Finder::MOST_BYTES;
            return Err(Error::Vocabulary(format!("its added tokens have more than {most} bytes")));
        }
        Ok(Self {
            raw: Finder::new(raw)?,
            normalized: Finder::new(normalized)?,
            normalizer: Normalizer::new(model),
            prefix: model.prefix,
            words: Words::new(model)?,
            bpe: Bpe::new(model),
        })
    }

    /// Appends the ids of one stretch of text between control tokens.
    ///
    /// # Errors
    /// [`Error::Encode`] where an expression of the pre-tokenizer takes too long.
    pub(super) fn encode(&self, text: &str, place: Place, ids: &mut Vec<u32>) -> Result<(), Error> {
        let Some(raw) = &self.raw else { return self.encode_between(text, place, ids) };
        for (range, part) in raw.cut(text) {
            match part {
                Part::Token(id) => ids.push(id),
                Part::Text => {
                    let place = if range.start == 0 { place } else { Place::Stretch };
                    self.encode_between(&text[range], place, ids)?;
                }
            }
        }
        Ok(())
    }

    /// Encodes a stretch between the tokens that are found before normalization.
    fn encode_between(&self, text: &str, place: Place, ids: &mut Vec<u32>) -> Result<(), Error> {
        let (text, first) = (self.normalizer.apply_at(text, place), place == Place::Start);
        let Some(normalized) = &self.normalized else { return self.encode_stretch(&text, first, ids) };
        for (range, part) in normalized.cut(&text) {
            match part {
                Part::Token(id) => ids.push(id),
                Part::Text => self.encode_stretch(&text[range.clone()], first && range.start == 0, ids)?,
            }
        }
        Ok(())
    }

    /// Encodes a stretch between all tokens that are found. A space that only goes in front of text without one is put
    /// here.
    fn encode_stretch(&self, text: &str, first: bool, ids: &mut Vec<u32>) -> Result<(), Error> {
        let wanted = match self.prefix {
            Prefix::Never | Prefix::Always => false,
            Prefix::Missing => true,
            Prefix::MissingAtStart => first,
        };
        match wanted && !text.is_empty() && !text.starts_with(' ') {
            true => self.encode_words(&format!(" {text}"), ids),
            false => self.encode_words(text, ids),
        }
    }

    /// Encodes words. A word that came before is copied from its earlier ids, as most of a long text is.
    fn encode_words(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), Error> {
        let mut known: Map<&str, Range<usize>> = Map::default();
        let mut scratch = Scratch::default();
        self.words.each(text, &mut |word| {
            if word.len() > LONGEST_REMEMBERED {
                return self.bpe.join(word, &mut scratch, ids);
            }
            if let Some(range) = known.get(word) {
                ids.extend_from_within(range.clone());
                return;
            }
            let start = ids.len();
            self.bpe.join(word, &mut scratch, ids);
            known.insert(word, start..ids.len());
        })
    }
}

/// Normalizes a text before it is cut.
#[derive(Debug)]
pub(super) struct Normalizer {
    form: Option<NormalForm>,
    alphabet: Alphabet,
    prefixes: bool,
}

impl Normalizer {
    pub(super) fn new(model: &Model) -> Self {
        let prefixes = model.prefix == Prefix::Always;
        Self { form: model.normal_form, alphabet: model.alphabet, prefixes }
    }

    /// Normalizes a text that nothing comes before.
    pub(super) fn apply<'text>(&self, text: &'text str) -> Cow<'text, str> {
        self.apply_at(text, Place::Start)
    }

    /// Normalizes a text at a position. In the alphabet of spaces `▁` becomes a space, the only form that the encoder knows.
    fn apply_at<'text>(&self, text: &'text str, place: Place) -> Cow<'text, str> {
        let mut text = match self.form {
            None => Cow::Borrowed(text),
            Some(NormalForm::Nfc) => text.nfc().collect::<String>().into(),
            Some(NormalForm::Nfd) => text.nfd().collect::<String>().into(),
            Some(NormalForm::Nfkc) => text.nfkc().collect::<String>().into(),
            Some(NormalForm::Nfkd) => text.nfkd().collect::<String>().into(),
        };
        if self.alphabet == Alphabet::Spaces && text.contains(SPACE) {
            text = text.replace(SPACE, " ").into();
        }
        if self.prefixes && place != Place::Joined && !text.is_empty() {
            text = format!(" {text}").into();
        }
        text
    }
}

//! Encodes text to ids, by the steps of one model.

use std::ops::Range;

use super::added::{self, Finder, Part};
use super::bpe::{Bpe, Scratch};
use super::map::Map;
use super::normalizer::{Normalizer, Place};
use super::words::Words;
use crate::text::Error;
use crate::text::model::{Kind, Model, Prefix};

/// Words longer than this, in bytes, are not cached.
const LONGEST_REMEMBERED: usize = 64;

/// Encodes text to the ids of one model.
#[derive(Debug)]
pub(in crate::text) struct Encoder {
    raw: Option<Finder>,
    normalized: Option<Finder>,
    normalizer: Normalizer,
    prefix: Prefix,
    words: Words,
    bpe: Bpe,
}

impl Encoder {
    /// Creates the encoder of a model.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] for an expression that cannot be used.
    pub(in crate::text) fn new(model: &Model) -> Result<Self, Error> {
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
    pub(in crate::text) fn encode(&self, text: &str, place: Place, ids: &mut Vec<u32>) -> Result<(), Error> {
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

    /// Encodes a stretch of text between the added tokens that are found before normalization.
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

    /// Encodes a stretch of text between added tokens. Adds the space of a prefix that is only added to text without a
    /// leading space.
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

    /// Encodes a text word by word. The ids of a repeated word are copied, which applies to most words of a long text.
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

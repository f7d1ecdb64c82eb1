//! Reads a tokenizer from a SentencePiece model, as in `tokenizer.model`.
//!
//! The file is a protocol buffer, `ModelProto` of
//! <https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto>, of which this reads the few
//! fields that matter. A model that is not a byte-pair encoding, or that has normalization rules, is an error.

use super::source::{Around, MAX_IDS, Names, Source};
use crate::system::quote::quoted;
use crate::text::Error;
use crate::text::alphabet::SPACE;
use crate::text::error::{malformed, unknown};
use crate::text::model::{Added, Alphabet, Joins, Kind, Model, Prefix};

/// The types of `SentencePiece.Type`.
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;
const UNUSED: u64 = 5;
const BYTE: u64 = 6;

/// The value of `TrainerSpec.ModelType.BPE`.
const BPE: u64 = 2;

/// Reads a `tokenizer.model`.
///
/// # Errors
/// [`Error::Vocabulary`] for a malformed file; [`Error::UnknownPart`] for a part that is not supported.
pub(super) fn read(bytes: &[u8]) -> Result<Source, Error> {
    let mut model =
        Model { alphabet: Alphabet::Spaces, fuses_unknown: true, prefix: Prefix::Always, ..Model::default() };
    let mut scores = Vec::new();
    let (mut trainer, mut normalizer) = (Trainer::default(), Normalizer::default());
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Bytes(piece)) => {
                let (token, score, kind) = read_piece(piece)?;
                if model.tokens.len() == MAX_IDS {
                    return Err(malformed(&format!("it has more than {MAX_IDS} tokens")));
                }
                let id = model.tokens.len() as u32;
                if kind == Kind::Added {
                    let content = token.replace(SPACE, " ");
                    model.added.push(Added { id, content, normalized: true, ..Added::default() });
                }
                model.tokens.push(token);
                model.kinds.push(kind);
                scores.push(score);
            }
            (2, Wire::Bytes(spec)) => trainer = Trainer::read(spec)?,
            (3, Wire::Bytes(spec)) => normalizer = Normalizer::read(spec)?,
            _ => {}
        }
    }
    if model.tokens.is_empty() {
        return Err(malformed("it has no tokens"));
    }
    if let Some(twice) = model.twice() {
        return Err(malformed(&format!("the token {} is in it twice", quoted(twice))));
    }
    trainer.check()?;
    normalizer.check()?;
    if !normalizer.adds_prefix {
        model.prefix = Prefix::Never;
    }
    model.drops_first_space = normalizer.adds_prefix;
    model.byte_fallback = trainer.byte_fallback;
    model.joins = Joins::Scores(scores);
    let id = |id: u64| u32::try_from(id).ok().filter(|&id| model.token(id).is_some());
    // An id without a token, such as -1, means that the model lacks this token.
    let spelling = |number: u64| Some(model.token(id(number)?)?.to_owned());
    let names = Names {
        bos: spelling(trainer.bos),
        eos: spelling(trainer.eos),
        unknown: spelling(trainer.unknown),
        adds_bos: Some(true),
        ..Names::default()
    };
    model.unknown = id(trainer.unknown);
    if model.unknown.is_none() {
        return Err(malformed("it has no unknown token"));
    }
    Ok(Source { model, names, around: Around::default(), version: None })
}

/// Reads spelling, score and kind of a piece.
fn read_piece(bytes: &[u8]) -> Result<(String, f32, Kind), Error> {
    let (mut token, mut score, mut kind) = (String::new(), 0.0, Kind::Normal);
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Bytes(text)) => {
                token = std::str::from_utf8(text).map_err(|_| malformed("a token is not UTF-8"))?.to_owned();
            }
            (2, Wire::Four(bits)) => score = f32::from_bits(bits),
            (3, Wire::Number(UNKNOWN | CONTROL)) => kind = Kind::Control,
            (3, Wire::Number(USER_DEFINED)) => kind = Kind::Added,
            (3, Wire::Number(UNUSED)) => kind = Kind::Unused,
            (3, Wire::Number(BYTE)) => kind = Kind::Byte,
            _ => {}
        }
    }
    Ok((token, score, kind))
}

/// `TrainerSpec`, with the defaults of its definition.
struct Trainer {
    model: u64,
    suffix: bool,
    byte_fallback: bool,
    unknown: u64,
    bos: u64,
    eos: u64,
}

impl Default for Trainer {
    fn default() -> Self {
        Self { model: 1, suffix: false, byte_fallback: false, unknown: 0, bos: 1, eos: 2 }
    }
}

impl Trainer {
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut spec = Self::default();
        for field in Fields(bytes) {
            match field? {
                (3, Wire::Number(kind)) => spec.model = kind,
                (24, Wire::Number(on)) => spec.suffix = on != 0,
                (35, Wire::Number(on)) => spec.byte_fallback = on != 0,
                (40, Wire::Number(id)) => spec.unknown = id,
                (41, Wire::Number(id)) => spec.bos = id,
                (42, Wire::Number(id)) => spec.eos = id,
                _ => {}
            }
        }
        Ok(spec)
    }

    fn check(&self) -> Result<(), Error> {
        match self.model {
            BPE => {}
            1 => return Err(unknown("model", "Unigram")),
            other => return Err(unknown("model", &format!("of SentencePiece's type {other}"))),
        }
        if self.suffix { Err(unknown("model", "with spaces after words")) } else { Ok(()) }
    }
}

/// `NormalizerSpec`, with the defaults of its definition.
struct Normalizer {
    has_rules: bool,
    adds_prefix: bool,
    removes_spaces: bool,
    escapes_spaces: bool,
}

impl Default for Normalizer {
    fn default() -> Self {
        Self { has_rules: false, adds_prefix: true, removes_spaces: true, escapes_spaces: true }
    }
}

impl Normalizer {
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut spec = Self::default();
        for field in Fields(bytes) {
            match field? {
                (2, Wire::Bytes(rules)) => spec.has_rules = !rules.is_empty(),
                (3, Wire::Number(on)) => spec.adds_prefix = on != 0,
                (4, Wire::Number(on)) => spec.removes_spaces = on != 0,
                (5, Wire::Number(on)) => spec.escapes_spaces = on != 0,
                _ => {}
            }
        }
        Ok(spec)
    }

    fn check(&self) -> Result<(), Error> {
        if self.has_rules {
            return Err(unknown("normalizer", "with rules of its own (identity is understood)"));
        }
        if self.removes_spaces {
            return Err(unknown("normalizer", "that removes spaces"));
        }
        if self.escapes_spaces { Ok(()) } else { Err(unknown("normalizer", "that keeps spaces as they are")) }
    }
}

/// The encoded contents of a field.
enum Wire<'bytes> {
    Number(u64),
    Bytes(&'bytes [u8]),
    Four(u32),
    Eight,
}

/// Iterates over the fields of a message, as numbers and contents.
struct Fields<'bytes>(&'bytes [u8]);

impl<'bytes> Fields<'bytes> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for place in 0..10 {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7F).checked_shl(7 * place)?;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<&'bytes [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, Wire<'bytes>)> {
        let key = self.number()?;
        let contents = match key & 7 {
            0 => Wire::Number(self.number()?),
            1 => self.take(8).map(|_| Wire::Eight)?,
            2 => {
                let length = self.number()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Four(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, contents))
    }
}

impl<'bytes> Iterator for Fields<'bytes> {
    type Item = Result<(u64, Wire<'bytes>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let left = self.0.len();
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(
            field.ok_or_else(|| {
                malformed(&format!("it is no SentencePiece model, {left} bytes before its end"))
            }),
        )
    }
}

//! What a tokenizer is, whichever file it came from: what the readers make, the encoder is built from, and the
//! writers write.

use std::collections::HashSet;

use super::alphabet::{SPACE, bytes_of, fallback_byte};

/// A byte-pair encoding: cut a text into words, begin with small symbols, join neighbours while there is a join.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// By id, spelled in the vocabulary's own alphabet; empty where no token has the id.
    pub(super) tokens: Vec<String>,
    /// By id.
    pub(super) kinds: Vec<Kind>,
    pub(super) alphabet: Alphabet,
    pub(super) joins: Joins,
    /// A word that is a token is that token, whatever the joins say.
    pub(super) whole_words: bool,
    /// A character that is no token is written as its bytes' tokens (`<0xE2>`).
    pub(super) byte_fallback: bool,
    /// Stands for a character that cannot be written; without it such a character is left out.
    pub(super) unknown: Option<u32>,
    /// Several such characters in a row are one unknown token.
    pub(super) fuses_unknown: bool,
    pub(super) normal_form: Option<NormalForm>,
    pub(super) prefix: Prefix,
    /// How a text is cut into words; each step cuts what the one before left.
    pub(super) cuts: Vec<Cut>,
    /// Tokens that are found in a text before anything else is done with it.
    pub(super) added: Vec<Added>,
    /// How many ids the vocabulary's own file has, where settings beside it declare more.
    pub(super) own_ids: Option<usize>,
    /// The first space of a decoded text is the prefix and not part of the text.
    pub(super) drops_first_space: bool,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Normal,
    /// Put by code between stretches of text; no text becomes it, and it has no text.
    Control,
    /// One of [`Model::added`].
    Added,
    /// `<0x0A>`: one byte.
    Byte,
    /// No text becomes it.
    Unused,
}

/// How tokens spell text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// GPT-2's: one printable character for each byte. Symbols begin as bytes.
    #[default]
    Bytes,
    /// As it is, but `▁` for a space. Symbols begin as characters.
    Spaces,
    /// As it is. Symbols begin as characters.
    Plain,
}

/// Which neighbours become one token, and in which order: the lowest rank first, of equal ones the leftmost.
#[derive(Clone, Debug)]
pub(super) enum Joins {
    /// Those that together spell a token; the higher its score, the earlier. SentencePiece.
    Scores(Vec<f32>),
    /// Those that together spell a token; the lower its id, the earlier. tiktoken.
    Ids,
    /// The pairs in this list and no other, the first first: left, right, joined. `tokenizers`.
    Pairs(Vec<[u32; 3]>),
}

impl Default for Joins {
    fn default() -> Self {
        Self::Pairs(Vec::new())
    }
}

/// Unicode normalization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NormalForm {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
}

/// The space that is put in front of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Prefix {
    #[default]
    Never,
    /// Of every stretch that is not empty. SentencePiece's dummy prefix.
    Always,
    /// Of every stretch that does not begin with one.
    Missing,
    /// Of the first stretch of a text that does not begin with one.
    MissingAtStart,
}

/// One step of cutting a text into words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Every match is a word, and so is what lies between matches.
    Matches(String),
    /// A word begins at every space.
    BeforeSpaces,
}

/// A token that is found in a text as it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Added {
    pub(super) id: u32,
    /// What is looked for.
    pub(super) content: String,
    /// Only where no letter, digit or underscore touches it.
    pub(super) single_word: bool,
    /// White space before (after) it belongs to it.
    pub(super) takes_left: bool,
    pub(super) takes_right: bool,
    /// Found in the text after normalization; else before.
    pub(super) normalized: bool,
}

impl Model {
    /// The kind of `id`.
    pub(super) fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or(Kind::Unused)
    }

    /// The spelling of `id`, if there is such a token.
    pub(super) fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str).filter(|token| !token.is_empty())
    }

    /// Whether joins may lead to `id`. That they do not lead to a control token keeps text text.
    pub(super) fn is_text(&self, id: u32) -> bool {
        self.kind(id) == Kind::Normal || self.kind(id) == Kind::Added
    }

    /// A spelling that two tokens have.
    pub(super) fn twice(&self) -> Option<&str> {
        let mut seen = HashSet::new();
        self.all().map(|(_, token)| token).find(|token| !seen.insert(*token))
    }

    /// The bytes that `id` stands for in a text.
    pub(super) fn bytes(&self, id: u32) -> Vec<u8> {
        let Some(token) = self.token(id) else { return Vec::new() };
        match (self.kind(id), self.alphabet) {
            (Kind::Control, _) => Vec::new(),
            (Kind::Byte, _) => fallback_byte(token).map_or_else(|| token.into(), |byte| vec![byte]),
            (Kind::Added, Alphabet::Bytes) | (_, Alphabet::Plain) => token.into(),
            (_, Alphabet::Bytes) => bytes_of(token).unwrap_or_else(|| token.into()),
            (_, Alphabet::Spaces) => token.replace(SPACE, " ").into_bytes(),
        }
    }

    /// Ids and spellings, without the holes.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &str)> {
        (0..).zip(&self.tokens).map(|(id, token)| (id, token.as_str())).filter(|(_, token)| !token.is_empty())
    }
}

//! The model of a tokenizer, independent of its file: readers make it, the encoder is built from it, writers write it.

use std::collections::HashSet;

use super::alphabet::{SPACE, bytes_of, fallback_byte};

/// A byte-pair encoding: cuts a text into words, begins with small symbols, and merges neighbours while a merge exists.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// Spelling by id, in the vocabulary's own alphabet; empty if no token has the id.
    pub(super) tokens: Vec<String>,
    /// Kind by id.
    pub(super) kinds: Vec<Kind>,
    pub(super) alphabet: Alphabet,
    pub(super) joins: Joins,
    /// Whether a word that is a token becomes that token, regardless of the merges.
    pub(super) whole_words: bool,
    /// Whether a character without a token becomes the tokens of its bytes (`<0xE2>`).
    pub(super) byte_fallback: bool,
    /// The token for a character that has none; without it such a character is left out.
    pub(super) unknown: Option<u32>,
    /// Whether several such characters in a row become one unknown token.
    pub(super) fuses_unknown: bool,
    pub(super) normal_form: Option<NormalForm>,
    pub(super) prefix: Prefix,
    /// The steps that cut a text into words; each step cuts the pieces of the step before.
    pub(super) cuts: Vec<Cut>,
    /// Tokens that are found in a text before it is cut.
    pub(super) added: Vec<Added>,
    /// Number of ids in the vocabulary's own file, if settings beside it declare more.
    pub(super) own_ids: Option<usize>,
    /// Whether the first space of a decoded text is the prefix and not part of the text.
    pub(super) drops_first_space: bool,
}

/// The kind of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Normal,
    /// A control token. This program puts it between stretches of text; text is never encoded to it, and it decodes to
    /// no text.
    Control,
    /// Listed in [`Model::added`].
    Added,
    /// A single byte, as `<0x0A>`.
    Byte,
    /// No text is encoded to it.
    Unused,
}

/// How tokens spell text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// GPT-2's alphabet, with a printable character for each byte. Symbols begin as bytes.
    #[default]
    Bytes,
    /// Plain text with `▁` for a space. Symbols begin as characters.
    Spaces,
    /// Plain text. Symbols begin as characters.
    Plain,
}

/// The merges: which neighbours become one token, the lowest rank first, and the leftmost of equal ranks.
#[derive(Clone, Debug)]
pub(super) enum Joins {
    /// SentencePiece: neighbours that together spell a token, the highest score first.
    Scores(Vec<f32>),
    /// tiktoken: neighbours that together spell a token, the lowest id first.
    Ids,
    /// `tokenizers`: the pairs of this list in its order, each as left, right and merged id.
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

/// When the encoder adds a space at the start of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Prefix {
    #[default]
    Never,
    /// At the start of every stretch that is not empty: SentencePiece's dummy prefix.
    Always,
    /// At the start of every stretch that does not begin with a space.
    Missing,
    /// At the start of a text's first stretch if it does not begin with a space.
    MissingAtStart,
}

/// One step of cutting a text into words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Every match is a word, and so is the text between two matches.
    Matches(String),
    /// A word begins at every space.
    BeforeSpaces,
}

/// A token that is searched for in a text before the text is cut into words.
#[derive(Clone, Debug, Default)]
pub(super) struct Added {
    pub(super) id: u32,
    /// The text that is searched.
    pub(super) content: String,
    /// Whether the token is only found where no letter, digit or underscore touches it.
    pub(super) single_word: bool,
    /// Whether the token includes the white space before (after) it.
    pub(super) takes_left: bool,
    pub(super) takes_right: bool,
    /// Whether the token is found after normalization, not before.
    pub(super) normalized: bool,
}

impl Model {
    /// Returns the kind of `id`.
    pub(super) fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or(Kind::Unused)
    }

    /// Returns the spelling of `id`, if such a token exists.
    pub(super) fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str).filter(|token| !token.is_empty())
    }

    /// Returns whether merges may lead to `id`. They never lead to a control token, so text stays text.
    pub(super) fn is_text(&self, id: u32) -> bool {
        self.kind(id) == Kind::Normal || self.kind(id) == Kind::Added
    }

    /// Finds a spelling that two tokens share.
    pub(super) fn twice(&self) -> Option<&str> {
        let mut seen = HashSet::new();
        self.all().map(|(_, token)| token).find(|token| !seen.insert(*token))
    }

    /// Returns the bytes of `id` in a text.
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

    /// Returns all ids that have a token, with their spellings.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &str)> {
        (0..).zip(&self.tokens).map(|(id, token)| (id, token.as_str())).filter(|(_, token)| !token.is_empty())
    }
}

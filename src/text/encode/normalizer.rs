//! Normalizes a text before it is cut into words.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;

use crate::text::alphabet::SPACE;
use crate::text::model::{Alphabet, Model, NormalForm, Prefix};

/// Where a stretch of text begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::text) enum Place {
    /// At the start of a text.
    Start,
    /// After a control token.
    Stretch,
    /// After text that was normalized together with it, so no space is added.
    Joined,
}

/// Normalizes a text before it is cut.
#[derive(Debug)]
pub(in crate::text) struct Normalizer {
    form: Option<NormalForm>,
    alphabet: Alphabet,
    prefixes: bool,
}

impl Normalizer {
    pub(in crate::text) fn new(model: &Model) -> Self {
        let prefixes = model.prefix == Prefix::Always;
        Self { form: model.normal_form, alphabet: model.alphabet, prefixes }
    }

    /// Normalizes a whole text.
    pub(in crate::text) fn apply<'text>(&self, text: &'text str) -> Cow<'text, str> {
        self.apply_at(text, Place::Start)
    }

    /// Normalizes a text at a position. In the alphabet of spaces `▁` becomes a space, the only form that the encoder knows.
    pub(super) fn apply_at<'text>(&self, text: &'text str, place: Place) -> Cow<'text, str> {
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

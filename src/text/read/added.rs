//! Adds the tokens that only the settings beside a vocabulary declare.
//!
//! Follows `PreTrainedTokenizerBase._from_pretrained` and `TokenizersBackend.__init__` of transformers 5:
//! `added_tokens_decoder` of `tokenizer_config.json` gives ids and flags; without it `added_tokens.json` gives ids; a
//! special token that has no id by then gets the next one.

use std::collections::{HashMap, HashSet};

use super::source::MAX_IDS;
use crate::text::Error;
use crate::text::encode::Finder;
use crate::text::error::malformed;
use crate::text::model::{Added, Kind, Model};

/// Maximum total size of all added tokens in bytes, more than any published model has.
pub(super) const MAX_ADDED: usize = Finder::MOST_BYTES;
/// Maximum number of unused ids between a vocabulary and its added tokens, since each takes memory.
const MOST_UNUSED: usize = 1 << 16;

/// An added token as a settings file declares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Declared {
    /// Its id; if `None`, its id in the vocabulary, else the next free one.
    pub(super) id: Option<u32>,
    pub(super) special: bool,
    /// Its flags and the text that is searched; the id in it is not used. If `None`, those of the vocabulary's file.
    pub(super) flags: Option<Added>,
    pub(super) content: String,
}

impl Declared {
    /// Returns a token of which only the name is known.
    pub(super) fn named(content: String, special: bool) -> Self {
        Self { special, content, ..Self::default() }
    }
}

/// The kind of vocabulary file, which decides what the settings may add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authority {
    /// `tokenizer.json`, which lists added tokens itself; they keep its ids, as in transformers.
    Own,
    /// A SentencePiece model, which lists none; the declared ids are those of the embedding.
    Settings,
}

/// Adds the declared tokens to a model. `normalize` normalizes a text, and the tokens that are found in normalized text.
///
/// # Errors
/// [`Error::Vocabulary`] for an id that contradicts the vocabulary.
pub(super) fn declare(
    model: &mut Model,
    declared: Vec<Declared>,
    authority: Authority,
    normalize: impl Fn(&str) -> String,
) -> Result<(), Error> {
    if declared.iter().map(|token| token.content.len()).sum::<usize>() > MAX_ADDED {
        return Err(malformed(&format!("its added tokens have more than {MAX_ADDED} bytes")));
    }
    let mut ids = ids_of(model, &declared);
    let mut places: HashMap<u32, usize> =
        model.added.iter().enumerate().map(|(place, added)| (added.id, place)).collect();
    for Declared { id, special, flags, content } in declared {
        if content.is_empty() {
            continue;
        }
        let known = ids.get(&content).copied();
        // A name does not change the flags of a token that exists already.
        let flags = flags.filter(|_| id.is_some() || known.is_none());
        let id = match (known, id) {
            (Some(known), Some(id)) if known != id && authority == Authority::Settings => {
                return Err(malformed(&format!(
                    "the added token {content:?} is declared with the id {id}; the vocabulary has it as {known}"
                )));
            }
            (Some(known), _) => known,
            (None, id) => {
                let id = id.unwrap_or(model.tokens.len() as u32);
                take(model, id, &content, authority)?;
                ids.insert(content.clone(), id);
                id
            }
        };
        // Texts are spelled with bytes and single characters, so these stay text.
        let is_control = special && content.chars().nth(1).is_some() && model.kind(id) != Kind::Byte;
        let kind = &mut model.kinds[id as usize];
        match (is_control, known) {
            (true, _) => *kind = Kind::Control,
            (false, None) => *kind = Kind::Added,
            (false, Some(_)) => {}
        }
        let Some(mut flags) = flags.or_else(|| {
            let new = known.is_none() && !is_control;
            new.then(|| Added { content: content.clone(), normalized: true, ..Added::default() })
        }) else {
            continue;
        };
        flags.id = id;
        // Each stretch between added tokens gets a prefix, so these tokens must be found before normalization.
        flags.normalized &= authority == Authority::Own;
        if flags.normalized {
            flags.content = normalize(&flags.content);
        }
        match places.get(&id) {
            Some(&place) => model.added[place] = flags,
            None => {
                places.insert(id, model.added.len());
                model.added.push(flags);
            }
        }
    }
    Ok(())
}

/// Looks up the vocabulary's ids of the declared tokens.
fn ids_of(model: &Model, declared: &[Declared]) -> HashMap<String, u32> {
    let wanted: HashSet<&str> = declared.iter().map(|token| token.content.as_str()).collect();
    if wanted.is_empty() {
        return HashMap::new();
    }
    model
        .all()
        .filter(|(_, token)| wanted.contains(token))
        .map(|(id, token)| (token.to_owned(), id))
        .collect()
}

/// Gives a new token its id.
fn take(model: &mut Model, id: u32, content: &str, authority: Authority) -> Result<(), Error> {
    let place = id as usize;
    let size = model.tokens.len();
    if place >= MAX_IDS || place > size + MOST_UNUSED {
        return Err(malformed(&format!(
            "the added token {content:?} is declared with the id {id}; the vocabulary has {size} ids"
        )));
    }
    if place >= size {
        model.tokens.resize(place + 1, String::new());
        model.kinds.resize(place + 1, Kind::Unused);
    }
    // A placeholder for a later token is replaced by that token.
    let holds_a_place = authority == Authority::Settings
        && matches!(model.kind(id), Kind::Control | Kind::Unused)
        && model.unknown != Some(id);
    let spelled = &mut model.tokens[place];
    if !spelled.is_empty() && !holds_a_place {
        return Err(malformed(&format!(
            "the added token {content:?} is declared with the id {id}, which is that of {spelled:?}"
        )));
    }
    content.clone_into(spelled);
    Ok(())
}

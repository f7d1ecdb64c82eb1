//! Reads a tokenizer from the files of a folder, or from the metadata of a GGUF file.
//!
//! | file | reads |
//! |---|---|
//! | `mod` | which of a folder's files is the vocabulary |
//! | `settings` | the files beside it: names of tokens, added tokens, the chat template |
//! | `written` | lists of added tokens in the JSON of the settings |
//! | `added` | added tokens that only the settings declare |
//! | `hugging_face`, `merges` | `tokenizer.json` |
//! | `steps` | its steps before the model and after |
//! | `post_processor` | the ids that it puts around a text |
//! | `sentence_piece` | `tokenizer.model`, also `.v1` to `.v7` |
//! | `tekken` | `tekken.json` |
//! | `gguf` | a [`Vocabulary`] |
//! | `style` | the expressions behind a GGUF's pre-tokenizer name |
//!
//! # Folders with several vocabularies
//!
//! Mistral publishes its own file (`tekken.json`, `tokenizer.model.v3`) beside a `tokenizer.json` that others made from
//! it. The order is: tekken, the highest version of `tokenizer.model.v*`, `tokenizer.json`, `tokenizer.model`. There is
//! one exception: if the chat template does not write `[INST]`, the model was trained further on another format, whose
//! tokens are in `tokenizer.json`, which then comes first.

mod added;
mod gguf;
mod hugging_face;
mod merges;
mod post_processor;
mod sentence_piece;
mod settings;
mod steps;
mod style;
mod tekken;
#[cfg(test)]
mod tests;
mod written;

use std::path::{Path, PathBuf};

use self::added::{Authority, declare};
pub(super) use self::gguf::{BYTE, CONTROL, NORMAL, SCORE_OF_ADDED, UNKNOWN, UNUSED, USER_DEFINED};
pub(super) use self::hugging_face::AddedToken;
use self::settings::Settings;
pub(super) use self::style::Style;
pub use self::written::config_beside;
use super::chat::{Version, writes_inst};
use super::encode::Normalizer;
use super::error::one_line;
use super::model::{Model, Prefix};
use super::{Error, Vocabulary};

/// Limit for ids, since tables are sized by the largest.
const MAX_IDS: usize = super::MOST_TOKENS;
/// Limit for control tokens, which are searched one by one. The largest vocabularies have 1,000.
pub(super) const MAX_CONTROLS: usize = 1 << 16;

/// An error for a vocabulary that contradicts itself, or for a file that is none.
fn malformed(reason: &str) -> Error {
    Error::Vocabulary(one_line(reason))
}

/// An error for a part that is well formed and not supported.
fn unknown(part: &'static str, what: &str) -> Error {
    Error::UnknownPart { part, what: one_line(what) }
}

/// The contents of a tokenizer's files.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) model: Model,
    pub(super) names: Names,
    /// The ids that the vocabulary's own file puts around a text.
    pub(super) around: Around,
    /// Version of the chat format, in Mistral's own files.
    pub(super) version: Option<Version>,
}

/// The ids that a post-processor puts in front of a text and behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Around {
    pub(super) before: Option<u32>,
    pub(super) after: Option<u32>,
}

/// Spellings of tokens by their purpose.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) bos: Option<String>,
    /// Whether the settings remove the token, whatever the vocabulary's own file says.
    pub(super) no_bos: bool,
    pub(super) eos: Option<String>,
    /// End of turn, and end of a message that a tool answers.
    pub(super) eot: Option<String>,
    pub(super) eom: Option<String>,
    pub(super) unknown: Option<String>,
    /// More tokens that are control tokens whatever the vocabulary says. The tokens above always are.
    pub(super) special: Vec<String>,
    /// Whether BOS goes in front; if `None`, the post-processor of `tokenizer.json` decides.
    pub(super) adds_bos: Option<bool>,
    pub(super) adds_eos: Option<bool>,
    pub(super) chat_template: Option<String>,
    /// Names of the templates if none of them is for a conversation.
    pub(super) no_default: Option<String>,
}

impl Names {
    /// Fills in missing names from the vocabulary's own file.
    fn or(self, own: Names) -> Names {
        Names {
            bos: self.bos.or(own.bos.filter(|_| !self.no_bos)),
            no_bos: self.no_bos,
            eos: self.eos.or(own.eos),
            eot: self.eot.or(own.eot),
            eom: self.eom.or(own.eom),
            unknown: self.unknown.or(own.unknown),
            special: self.special,
            adds_bos: self.adds_bos.or(own.adds_bos),
            adds_eos: self.adds_eos.or(own.adds_eos),
            chat_template: self.chat_template.or(own.chat_template),
            no_default: self.no_default,
        }
    }
}

/// The kind of a file, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Format {
    SentencePiece(Option<Version>),
    HuggingFace,
    Tekken,
}

impl Format {
    fn named(name: &str) -> Option<Self> {
        match name {
            "tokenizer.json" => return Some(Self::HuggingFace),
            "tekken.json" => return Some(Self::Tekken),
            "tokenizer.model" => return Some(Self::SentencePiece(None)),
            _ => {}
        }
        // In `tokenizer.model.v7m1` 7 is the version of the text format and 1 that of images.
        let version = name.strip_prefix("tokenizer.model.")?;
        let version = version.split_once('m').map_or(version, |(text, _)| text);
        Some(Self::SentencePiece(Some(Version::named(version)?)))
    }

    /// The kind of a file that the user names, which may have another name: mistral-common's files are called
    /// `mistral_instruct_tokenizer_240323.model.v3` and `tekken_240718.json`.
    fn pointed_to(name: &str) -> Option<Self> {
        let usual = match name.rsplit_once(".model") {
            Some((_, version)) => format!("tokenizer.model{version}"),
            None if name.starts_with("tekken") && name.ends_with(".json") => "tekken.json".into(),
            None => name.into(),
        };
        Self::named(&usual)
    }

    /// Whether Mistral made the file for its own models.
    fn is_mistrals(self) -> bool {
        matches!(self, Self::Tekken | Self::SentencePiece(Some(_)))
    }
}

/// Whether a file of this name is a tokenizer's vocabulary.
pub(super) fn is_vocabulary(name: &str) -> bool {
    Format::named(name).is_some()
}

/// Whether a folder has a tokenizer's vocabulary, or the path is one.
pub(super) fn is_at(path: &Path) -> bool {
    match path.is_file() {
        true => {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|n| Format::pointed_to(n).is_some())
        }
        false => choose(path, None).is_ok(),
    }
}

/// Reads the tokenizer of a folder, or of one of its files, and returns it with the file that it was in.
///
/// # Errors
/// A file is missing, too large or malformed.
pub(super) fn folder(path: &Path) -> Result<(Source, PathBuf), Error> {
    let folder = if path.is_file() { path.parent().unwrap_or(path) } else { path };
    let settings = settings::settings(folder)?;
    let names = &settings.names;
    let (format, file) = match path.is_file() {
        true => {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            (Format::pointed_to(name).ok_or_else(|| Error::NoTokenizer(path.to_owned()))?, path.to_owned())
        }
        false => choose(folder, names.chat_template.as_deref())?,
    };
    let gone = || Error::NoTokenizer(folder.to_owned());
    let text = || settings::text(&file)?.ok_or_else(gone);
    let source = match format {
        Format::HuggingFace => hugging_face::read(text()?),
        Format::Tekken => tekken::read(text()?),
        Format::SentencePiece(version) => {
            let bytes = settings::read(&file, settings::MAX_MODEL)?.ok_or_else(gone)?;
            sentence_piece::read(&bytes).map(|source| Source { version, ..source })
        }
    };
    let source = source.and_then(|source| completed(source, format, settings));
    Ok((source.map_err(|error| error.in_file(&file))?, file))
}

/// Adds the settings beside a vocabulary's file. Mistral's own files have all their tokens.
fn completed(source: Source, format: Format, settings: Settings) -> Result<Source, Error> {
    let Source { mut model, names, .. } = source;
    let mut own = settings.names;
    if format == Format::HuggingFace {
        // The post-processor decides, as in transformers 5.
        own.adds_eos = None;
    }
    let authority = match format {
        Format::Tekken => None,
        Format::HuggingFace => Some(Authority::Own),
        Format::SentencePiece(_) => Some(Authority::Settings),
    };
    if matches!(format, Format::SentencePiece(_)) && model.prefix == Prefix::Always {
        match (settings.add_prefix_space, settings.legacy) {
            (Some(false), _) => {
                model.prefix = Prefix::Never;
                model.drops_first_space = false;
            }
            (_, Some(false)) => model.prefix = Prefix::MissingAtStart,
            _ => {}
        }
    }
    if let Some(authority) = authority {
        let normalizer = Normalizer::new(&model);
        let normalize = |token: &str| normalizer.apply(token).into_owned();
        model.own_ids = Some(model.tokens.len());
        declare(&mut model, settings.declared, authority, normalize)?;
    }
    Ok(Source { model, names: own.or(names), ..source })
}

/// Chooses the file to read, in the order described above.
fn choose(folder: &Path, template: Option<&str>) -> Result<(Format, PathBuf), Error> {
    let entries = std::fs::read_dir(folder).map_err(|_| Error::NoTokenizer(folder.to_owned()))?;
    let names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let with = |format: fn(&str) -> Option<Format>| -> Vec<(Format, PathBuf)> {
        names.iter().filter_map(|name| Some((format(name)?, folder.join(name)))).collect()
    };
    let mut found = with(Format::named);
    if found.is_empty() {
        // The names of mistral-common; another file that ends in `.model` may be anything.
        found = with(|name| Format::pointed_to(name).filter(|format| format.is_mistrals()));
    }
    let other_format = template.is_some_and(|template| !writes_inst(template));
    let place = |format: Format| match format {
        Format::HuggingFace if other_format => 4,
        Format::Tekken => 3,
        format if format.is_mistrals() => 2,
        Format::HuggingFace => 1,
        _ => 0,
    };
    found.sort_by(|(a, first), (b, second)| (place(*b), b, first).cmp(&(place(*a), a, second)));
    found.into_iter().next().ok_or_else(|| Error::NoTokenizer(folder.to_owned()))
}

/// Reads the tokenizer of a GGUF file.
///
/// # Errors
/// The vocabulary contradicts itself, or its kind is not supported.
pub(super) fn vocabulary(vocabulary: Vocabulary) -> Result<Source, Error> {
    gguf::read(vocabulary)
}

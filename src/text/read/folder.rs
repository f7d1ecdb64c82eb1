//! Reads the tokenizer of a folder: chooses its vocabulary, and completes it from the settings beside it.

use std::path::{Path, PathBuf};

use super::added::{Authority, declare};
use super::settings::{self, TokenizerSettings};
use super::source::Source;
use super::{hugging_face, sentence_piece, tekken};
use crate::text::Error;
use crate::text::chat::{Version, writes_inst};
use crate::text::encode::Normalizer;
use crate::text::model::Prefix;

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

    /// Returns the kind of a file that the user names, which may have another name: mistral-common's files are called
    /// `mistral_instruct_tokenizer_240323.model.v3` and `tekken_240718.json`.
    fn pointed_to(name: &str) -> Option<Self> {
        let usual = match name.rsplit_once(".model") {
            Some((_, version)) => format!("tokenizer.model{version}"),
            None if name.starts_with("tekken") && name.ends_with(".json") => "tekken.json".into(),
            None => name.into(),
        };
        Self::named(&usual)
    }

    /// Returns whether Mistral made the file for its own models.
    fn is_mistrals(self) -> bool {
        matches!(self, Self::Tekken | Self::SentencePiece(Some(_)))
    }
}

/// Returns whether a file of this name is a tokenizer's vocabulary.
pub(in crate::text) fn is_vocabulary(name: &str) -> bool {
    Format::named(name).is_some()
}

/// Returns whether a folder has a tokenizer's vocabulary, or the path is one.
pub(in crate::text) fn is_at(path: &Path) -> bool {
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
pub(in crate::text) fn folder(path: &Path) -> Result<(Source, PathBuf), Error> {
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
fn completed(source: Source, format: Format, settings: TokenizerSettings) -> Result<Source, Error> {
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

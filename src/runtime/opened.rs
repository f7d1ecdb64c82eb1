//! An opened checkpoint with its tokenizer, and the warnings about its files.

use std::path::Path;
use std::time::Instant;

use super::error::Error;
use super::report::Report;
use crate::checkpoint;
use crate::checkpoint::formats::gguf::Gguf;
use crate::checkpoint::open::{Checkpoint, Tokenizing};
use crate::hub::Manifest;
use crate::system::quote::quoted;
use crate::text::Tokenizer;

/// An opened checkpoint with its tokenizer. Its weights are memory-mapped but not read yet.
#[derive(Debug)]
pub struct Opened {
    /// The name that the model was opened by.
    pub name: String,
    /// The description and the weights.
    pub checkpoint: Checkpoint,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The end ids, of the tokenizer and of the config.
    pub end_ids: Vec<u32>,
    /// The time when opening began.
    pub since: Instant,
}

impl Opened {
    /// Opens the checkpoint at `path` and its tokenizer. Prefers a conversion to the weights as published.
    ///
    /// # Errors
    /// The originals are partly downloaded ([`Error::HalfDownloaded`]); a file of the checkpoint or its tokenizer is missing
    /// or invalid.
    pub fn new(name: &str, path: &Path, report: &mut dyn Report) -> Result<Self, Error> {
        Self::with(Checkpoint::open, name, path, report)
    }

    /// Opens the weights as published and their tokenizer.
    ///
    /// # Errors
    /// The errors of [`new`](Self::new).
    pub fn as_published(name: &str, path: &Path, report: &mut dyn Report) -> Result<Self, Error> {
        Self::with(Checkpoint::open_original, name, path, report)
    }

    fn with(
        open: fn(&Path) -> Result<Checkpoint, checkpoint::Error>,
        name: &str,
        path: &Path,
        report: &mut dyn Report,
    ) -> Result<Self, Error> {
        let since = Instant::now();
        let checkpoint = open(path)?;
        refuse_half_a_download(&checkpoint)?;
        warn(&checkpoint, report);
        let tokenizer = tokenizer(&checkpoint)?;
        let end_ids = end_ids(&checkpoint, &tokenizer);
        Ok(Self { name: name.into(), checkpoint, tokenizer, end_ids, since })
    }

    /// Shortens the context to `tokens`; memory is planned for this length.
    ///
    /// # Errors
    /// The model's context is shorter than `tokens`, or `tokens` is 0 ([`Error::Context`]).
    pub fn shorten(&mut self, tokens: usize) -> Result<(), Error> {
        let context = &mut self.checkpoint.config.context_length;
        if tokens == 0 || tokens > *context {
            return Err(Error::Context { asked: tokens, context: *context });
        }
        *context = tokens;
        Ok(())
    }

    /// Returns the ids that end a text: control tokens spelled by `stops`, the end ids and, in a chat, the ids that the
    /// template writes after a reply. With `ignore_eos` returns only those of `stops`.
    pub fn ends(&self, stops: &[String], chat: bool, ignore_eos: bool) -> Vec<u32> {
        let mut ends: Vec<u32> = stops.iter().filter_map(|stop| self.tokenizer.control(stop)).collect();
        if !ignore_eos {
            ends.extend(&self.end_ids);
            ends.extend(if chat { self.tokenizer.turn_ends() } else { &[] });
        }
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// Returns the number of tokens of a window in which `ids` are scored.
    ///
    /// # Errors
    /// There are fewer than 2 ids, or a window is longer than the context.
    pub fn window(&self, ids: &[u32], asked: Option<usize>) -> Result<usize, Error> {
        let (all, context) = (ids.len(), self.checkpoint.config.context_length);
        let tokens = asked.map_or(all, |asked| asked.min(all));
        match tokens {
            _ if all < 2 => Err(Error::NothingToScore { tokens: all }),
            _ if tokens > context => Err(Error::Window { tokens, context, asked: asked.is_some() }),
            _ => Ok(tokens),
        }
    }
}

/// Returns the end ids of the tokenizer and the config; if both have none, the default of the architecture.
pub fn end_ids(checkpoint: &Checkpoint, tokenizer: &Tokenizer) -> Vec<u32> {
    let config = &checkpoint.config;
    let mut end_ids = [tokenizer.end_ids(), &config.end_ids].concat();
    if end_ids.is_empty() {
        end_ids.extend(config.default_end_id);
    }
    end_ids.sort_unstable();
    end_ids.dedup();
    end_ids
}

/// Checks that the originals are not a mix of two commits, as an interrupted update leaves them. Such files open normally.
///
/// # Errors
/// A file is of an older commit ([`Error::HalfDownloaded`]); the manifest of the download cannot be read.
pub fn refuse_half_a_download(checkpoint: &Checkpoint) -> Result<(), Error> {
    let manifest = match Manifest::read(&checkpoint.folder) {
        Ok(Some(manifest)) => manifest,
        Err(error) if error.refused().is_some() => return Err(error.into()),
        _ => return Ok(()),
    };
    let used = |name: &&str| checkpoint.files.iter().any(|file| file.file_name() == Some(name.as_ref()));
    let Some(file) = manifest.unfinished().find(used) else { return Ok(()) };
    Err(Error::HalfDownloaded {
        folder: checkpoint.folder.clone(),
        snapshot: manifest.snapshot().to_string(),
        file: file.into(),
        repository: manifest.repository().map(|r| r.to_string()).unwrap_or_default(),
    })
}

/// Warns of contradictions between a checkpoint's files, and of a conversion that does not match the weights beside it.
pub fn warn(checkpoint: &Checkpoint, report: &mut dyn Report) {
    checkpoint.warnings.iter().for_each(|warning| report.warn(warning));
    // Such a conversion still runs, so this is only a warning.
    let Some(provenance) = &checkpoint.provenance else { return };
    let own =
        |file: &str| checkpoint.files.iter().any(|own| own.file_name().is_some_and(|name| name == file));
    let changed = provenance.changed(&checkpoint.folder);
    let changed: Vec<&str> = changed.into_iter().filter(|file| !own(file)).collect();
    if !changed.is_empty() {
        let (folder, files) = (checkpoint.folder.display(), changed.join(", "));
        report.warn(&format!("{folder} was not converted from the weights beside it ({files})"));
        report.note("`mist convert --force` with the same settings converts them again");
    }
}

/// Opens the tokenizer of a checkpoint, from its folder or its GGUF file.
///
/// # Errors
/// A file of the tokenizer is missing or invalid.
pub fn tokenizer(checkpoint: &Checkpoint) -> Result<Tokenizer, Error> {
    match &checkpoint.gguf {
        Some(gguf) => gguf_tokenizer(gguf),
        None => Ok(Tokenizer::from_folder(&checkpoint.folder)?),
    }
}

/// Checks that the embedding has a row for every id that plain text may encode to.
///
/// Published models have other tokens without a row, such as a padding token, which are never looked up. A warning names
/// them.
///
/// # Errors
/// An id of plain text has no row ([`Error::NoRows`]).
pub fn compare_ids(
    checkpoint: &Checkpoint,
    tokenizer: &Tokenizer,
    report: &mut dyn Report,
) -> Result<(), Error> {
    let rows = checkpoint.config.vocabulary_size;
    let named = |ids: &[u32]| {
        let name = |id: &u32| format!("{} ({id})", quoted(tokenizer.token(*id).unwrap_or_default()));
        let shown: Vec<String> = ids.iter().take(3).map(name).collect();
        let more = if ids.len() > 3 { format!(" and {} more", ids.len() - 3) } else { String::new() };
        format!("{}{more}", shown.join(", "))
    };
    let [of_texts, others] = tokenizer.beyond(rows);
    if !of_texts.is_empty() {
        return Err(Error::NoRows { folder: checkpoint.folder.clone(), rows, tokens: named(&of_texts) });
    }
    if !others.is_empty() {
        report.warn(&format!("the embedding has {rows} rows, none for added tokens: {}", named(&others)));
    }
    Ok(())
}

/// Opens the tokenizer at `path`, which needs no weights: `mist download --tokenizer-only` makes such folders.
///
/// # Errors
/// A file of the tokenizer is missing or invalid.
pub fn tokenizer_at(path: &Path) -> Result<Tokenizer, Error> {
    match Tokenizing::find(path)? {
        Tokenizing::Folder(folder) => Ok(Tokenizer::from_folder(&folder)?),
        Tokenizing::Gguf(gguf) => gguf_tokenizer(&gguf),
    }
}

/// Opens the tokenizer of a GGUF file. Adds the file's name to errors, which [`text`](crate::text) does not know.
fn gguf_tokenizer(gguf: &Gguf) -> Result<Tokenizer, Error> {
    let tokenizer = Tokenizer::from_vocabulary(gguf.vocabulary()?);
    tokenizer.map_err(|reason| Error::GgufTokenizer { path: gguf.path().into(), reason: Box::new(reason) })
}

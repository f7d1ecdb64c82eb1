//! A checkpoint that was opened, with the tokenizer that belongs to it, and what is reported about it at once.

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

/// A checkpoint with its tokenizer. Of the weights nothing was read yet.
#[derive(Debug)]
pub struct Opened {
    /// As it was named.
    pub name: String,
    /// Description and weights.
    pub checkpoint: Checkpoint,
    /// Text to ids and back.
    pub tokenizer: Tokenizer,
    /// Ids that end a text: the tokenizer's and the config's.
    pub end_ids: Vec<u32>,
    /// When the opening began.
    pub since: Instant,
}

impl Opened {
    /// Opens what lies at `path`, a conversion first, and the tokenizer that belongs to it.
    ///
    /// # Errors
    /// [`Error::HalfDownloaded`], and those of the checkpoint and its tokenizer.
    pub fn new(name: &str, path: &Path, report: &mut dyn Report) -> Result<Self, Error> {
        Self::with(Checkpoint::open, name, path, report)
    }

    /// Opens the weights as published, and the tokenizer that belongs to them.
    ///
    /// # Errors
    /// As [`new`](Self::new).
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

    /// Makes the context `tokens` long, for which memory is then planned.
    ///
    /// # Errors
    /// [`Error::Context`]: the model's own is shorter.
    pub fn shorten(&mut self, tokens: usize) -> Result<(), Error> {
        let context = &mut self.checkpoint.config.context_length;
        if tokens > *context {
            return Err(Error::Context { asked: tokens, context: *context });
        }
        *context = tokens;
        Ok(())
    }

    /// Ids that end a text where `stops` are the texts that it ends before: `end_ids`, what these spell, and in the chat
    /// format what the template writes behind a reply. With `ignore_eos` only what was asked for.
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
}

/// Ids that end a text: the tokenizer's and the config's; where neither names one, the default of the model's kind.
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

/// Refuses originals that are half way from one commit of their repository to another: they open like any others.
///
/// # Errors
/// [`Error::HalfDownloaded`]; the list of what was downloaded cannot be read.
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
        origin: manifest.origin().to_string(),
        file: file.into(),
        repository: manifest.repository().map(|r| r.to_string()).unwrap_or_default(),
    })
}

/// Reports what was decided where a checkpoint's files contradict each other, and what is no longer what it was made of.
pub fn warn(checkpoint: &Checkpoint, report: &mut dyn Report) {
    checkpoint.warnings.iter().for_each(|warning| report.warn(warning));
    // A conversion runs also where the weights beside it are no longer those that it was made of.
    let Some(origin) = &checkpoint.origin else { return };
    let own =
        |file: &str| checkpoint.files.iter().any(|own| own.file_name().is_some_and(|name| name == file));
    let changed = origin.changed(&checkpoint.folder);
    let changed: Vec<&str> = changed.into_iter().filter(|file| !own(file)).collect();
    if !changed.is_empty() {
        let (folder, files) = (checkpoint.folder.display(), changed.join(", "));
        report.warn(&format!("{folder} was converted from other weights than now lie beside it ({files})"));
        report.note("`mist convert` with its flags and --force does it anew");
    }
}

/// The tokenizer beside, or in, a checkpoint.
///
/// # Errors
/// Those of the tokenizer's files.
pub fn tokenizer(checkpoint: &Checkpoint) -> Result<Tokenizer, Error> {
    match &checkpoint.gguf {
        Some(gguf) => gguf_tokenizer(gguf),
        None => Ok(Tokenizer::from_folder(&checkpoint.folder)?),
    }
}

/// Compares the tokenizer's ids with the rows of the embedding. Plain text must not lead to an id without a row. Published
/// models have other tokens without one that are never looked up, such as a padding token: a warning names them.
///
/// # Errors
/// [`Error::NoRows`].
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

/// The tokenizer of what lies at `path`, which need not have weights: a folder as `mist download --tokenizer-only` leaves it
/// has one too.
///
/// # Errors
/// There is none, or its files break a rule.
pub fn tokenizer_at(path: &Path) -> Result<Tokenizer, Error> {
    match Tokenizing::find(path)? {
        Tokenizing::Folder(folder) => Ok(Tokenizer::from_folder(&folder)?),
        Tokenizing::Gguf(gguf) => gguf_tokenizer(&gguf),
    }
}

/// The tokenizer in a GGUF file. The text room knows no files: its errors get the file's name here.
fn gguf_tokenizer(gguf: &Gguf) -> Result<Tokenizer, Error> {
    let tokenizer = Tokenizer::from_vocabulary(gguf.vocabulary()?);
    tokenizer.map_err(|source| Error::GgufTokenizer { path: gguf.path().into(), source: Box::new(source) })
}

//! A checkpoint that was opened, with the tokenizer that belongs to it, and what is said about it at once.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use mist::checkpoint;
use mist::checkpoint::formats::gguf::Gguf;
use mist::checkpoint::open::Checkpoint;
use mist::hub::Manifest;
use mist::terminal::Printer;
use mist::text::Tokenizer;

use super::exit::Hint;

/// A checkpoint with its tokenizer.
pub struct Opened {
    /// As it was named.
    pub name: String,
    pub checkpoint: Checkpoint,
    pub tokenizer: Tokenizer,
    /// Ids that end a text: the tokenizer's and the config's.
    pub end_ids: Vec<u32>,
    /// When the opening began.
    pub since: Instant,
}

impl Opened {
    /// Opens what lies at `path`, a conversion first, and the tokenizer that belongs to it.
    pub fn new(name: &str, path: &Path, printer: &Printer) -> anyhow::Result<Self> {
        Self::with(Checkpoint::open, name, path, printer)
    }

    /// Opens the weights as published, and the tokenizer that belongs to them.
    pub fn as_published(name: &str, path: &Path, printer: &Printer) -> anyhow::Result<Self> {
        Self::with(Checkpoint::open_original, name, path, printer)
    }

    fn with(
        open: fn(&Path) -> Result<Checkpoint, checkpoint::Error>,
        name: &str,
        path: &Path,
        printer: &Printer,
    ) -> anyhow::Result<Self> {
        let since = Instant::now();
        let checkpoint = open(path)?;
        refuse_half_a_download(&checkpoint)?;
        warn(&checkpoint, printer);
        let tokenizer = tokenizer(&checkpoint)?;
        let end_ids = Self::end_ids(&checkpoint, &tokenizer);
        Ok(Self { name: name.into(), checkpoint, tokenizer, end_ids, since })
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
}

/// Originals that are half way from one commit of their repository to another open like any others.
pub fn refuse_half_a_download(checkpoint: &Checkpoint) -> anyhow::Result<()> {
    let manifest = match Manifest::read(&checkpoint.folder) {
        Ok(Some(manifest)) => manifest,
        Err(error) if error.refused().is_some() => return Err(error.into()),
        _ => return Ok(()),
    };
    let used = |name: &&str| checkpoint.files.iter().any(|file| file.file_name() == Some(name.as_ref()));
    let Some(file) = manifest.unfinished().find(used) else { return Ok(()) };
    let folder = checkpoint.folder.display();
    let error =
        anyhow::anyhow!("{folder} is half way to {}: {file} is still an older one", manifest.origin());
    let repository = manifest.repository().map(|r| r.to_string()).unwrap_or_default();
    Err(error.context(Hint(format!("`mist download {repository}` fetches the rest"))))
}

/// Says what was decided where a checkpoint's files contradict each other, and what is no longer what it was made of.
pub fn warn(checkpoint: &Checkpoint, printer: &Printer) {
    checkpoint.warnings.iter().for_each(|warning| printer.warn(warning));
    warn_of_other_originals(checkpoint, printer);
}

/// A conversion runs also where the weights beside it are no longer those that it was made of.
fn warn_of_other_originals(checkpoint: &Checkpoint, printer: &Printer) {
    let Some(origin) = &checkpoint.origin else { return };
    let own =
        |file: &str| checkpoint.files.iter().any(|own| own.file_name().is_some_and(|name| name == file));
    let changed = origin.changed(&checkpoint.folder);
    let changed: Vec<&str> = changed.into_iter().filter(|file| !own(file)).collect();
    if !changed.is_empty() {
        let (folder, files) = (checkpoint.folder.display(), changed.join(", "));
        printer.warn(&format!("{folder} was converted from other weights than now lie beside it ({files})"));
        printer.note("`mist convert` with its flags and --force does it anew");
    }
}

/// The tokenizer beside, or in, a checkpoint.
pub fn tokenizer(checkpoint: &Checkpoint) -> anyhow::Result<Tokenizer> {
    match &checkpoint.gguf {
        Some(gguf) => gguf_tokenizer(gguf),
        None => Ok(Tokenizer::from_folder(&checkpoint.folder)?),
    }
}

/// The tokenizer in a GGUF file. The text room knows no files: what is wrong is told with the file's name here.
pub fn gguf_tokenizer(gguf: &Gguf) -> anyhow::Result<Tokenizer> {
    Tokenizer::from_vocabulary(gguf.vocabulary()?).with_context(|| gguf.path().display().to_string())
}

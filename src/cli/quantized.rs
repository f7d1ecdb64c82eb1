//! `--quantize` where a model runs: the conversion that is there, or one that is made and kept.

use std::path::{Path, PathBuf};

use mist::checkpoint::output::Rounding;
use mist::checkpoint::{Checkpoint, Error, Origin, convert as mist_format, manifest};
use mist::kernels::Scheme;
use mist::terminal::Printer;

use super::convert::{self, companions};
use super::exit::Hint;

/// The conversion of the checkpoint at `path` to `scheme`: what lies there, if it is one; else a folder of the scheme's
/// name in it, or of a GGUF file's beside that. It is made if it is not there, or is not of the weights, the description and the
/// tokenizer that are.
pub fn conversion(path: &Path, scheme: Scheme, printer: &Printer) -> anyhow::Result<PathBuf> {
    if let Some(there) = existing(path, scheme)? {
        return Ok(there);
    }
    let checkpoint = Checkpoint::open_original(path)?;
    let kept = kept(path, &checkpoint, scheme);
    printer.note(&format!("Quantizing to {scheme}, once: {} keeps it", kept.display()));
    // An earlier one may be replaced, and nothing else of that name.
    let earlier = manifest::Manifest::read(&kept).is_ok_and(|there| is_to(&there.origin, scheme));
    convert::quantize(&checkpoint, &kept, scheme, earlier, printer).map_err(|error| {
        match error.downcast_ref() {
            Some(Error::Exists(_)) => error.context(Hint(format!("delete or rename {}", kept.display()))),
            _ => error,
        }
    })?;
    Ok(kept)
}

/// The conversion, if it is there.
pub fn existing(path: &Path, scheme: Scheme) -> anyhow::Result<Option<PathBuf>> {
    let checkpoint = match Checkpoint::open_original(path) {
        Ok(checkpoint) => checkpoint,
        // Without originals what was kept of them is what there is.
        Err(Error::NoCheckpoint(_)) if path.join(scheme.name()).join(manifest::FILE).is_file() => {
            return Ok(Some(path.join(scheme.name())));
        }
        Err(error) => return Err(error.into()),
    };
    if checkpoint.origin.as_ref().is_some_and(|origin| is_to(origin, scheme)) {
        return Ok(Some(path.into()));
    }
    for folder in [path, &kept(path, &checkpoint, scheme)] {
        if folder.join(manifest::FILE).is_file() {
            let companions = companions(&checkpoint, folder)?;
            if mist_format::is_there(&checkpoint, folder, rounding(scheme), companions) {
                return Ok(Some(folder.into()));
            }
        }
    }
    Ok(None)
}

/// Where a run keeps its conversion: of a GGUF file beside it, whether the file is named or its folder.
fn kept(path: &Path, checkpoint: &Checkpoint, scheme: Scheme) -> PathBuf {
    match &checkpoint.gguf {
        Some(gguf) => gguf.path().with_extension(scheme.name()),
        None => path.join(scheme.name()),
    }
}

fn rounding(scheme: Scheme) -> Rounding {
    Rounding { quantize: Some(scheme), ..Rounding::default() }
}

/// Whether a conversion was made by quantizing to `scheme`'s mix, and by nothing else.
fn is_to(origin: &Origin, scheme: Scheme) -> bool {
    origin.roundings == [rounding(scheme)]
}

//! `--quantize` where a model runs: the conversion that is there, or one that is made and kept.

use std::path::{Path, PathBuf};

use mist::checkpoint::Checkpoint;
use mist::checkpoint::manifest::{self, Manifest};
use mist::checkpoint::output::Rounding;
use mist::kernels::Scheme;
use mist::terminal::Printer;

use super::convert;

/// The conversion of the checkpoint at `path` to `scheme`: what lies there, if it is one; else a folder of the scheme's
/// name in it, or beside a GGUF file, which is written if it is not there or was made of other weights.
pub fn conversion(path: &Path, scheme: Scheme, printer: &Printer) -> anyhow::Result<PathBuf> {
    let originals = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    if is_conversion(path, scheme, originals)? {
        return Ok(path.into());
    }
    let kept = match path.is_dir() {
        true => path.join(scheme.name()),
        false => path.with_extension(scheme.name()),
    };
    if !is_conversion(&kept, scheme, originals)? {
        let checkpoint = Checkpoint::open_original(path)?;
        printer.note(&format!("Quantizing to {scheme}, once: {} keeps it", kept.display()));
        convert::quantize(&checkpoint, &kept, scheme, printer)?;
    }
    Ok(kept)
}

/// Whether a folder holds a conversion to `scheme`'s mix, of the weights that lie in `originals`.
fn is_conversion(folder: &Path, scheme: Scheme, originals: &Path) -> anyhow::Result<bool> {
    if !folder.join(manifest::FILE).is_file() {
        return Ok(false);
    }
    let origin = Manifest::read(folder)?.origin;
    let asked = Rounding { quantize: Some(scheme), dense: origin.rounding.dense, pure: false };
    Ok(origin.rounding == asked && origin.changed(originals)?.is_empty())
}

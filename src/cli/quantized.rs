//! `--quantize` where a model runs: the conversion that is there, or one that is made and kept.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use mist::checkpoint::convert::output::Rounding;
use mist::checkpoint::error::Error;
use mist::checkpoint::layouts::mist as mist_format;
use mist::checkpoint::layouts::mist::manifest::{self, Manifest};
use mist::checkpoint::open::Checkpoint;
use mist::quant::Scheme;
use mist::system::files::{self, Claim};
use mist::terminal::Printer;

use super::convert::{self, sidecar_files};
use super::exit::Hint;
use super::located::Located;

/// The conversion of a checkpoint to `scheme`: what lies there, if it is one; else a folder of the scheme's name in it,
/// or of a GGUF file's beside that, or, where that cannot be written to, in the store. It is made if it is not there, or is
/// not of the weights, the description and the tokenizer that are.
pub fn conversion(located: &Located, scheme: Scheme, printer: &Printer) -> anyhow::Result<PathBuf> {
    if let Some(there) = existing(located, scheme)? {
        return Ok(there);
    }
    let checkpoint = Checkpoint::open_original(&located.path)?;
    // Another run may be at it: the second waits, and then finds what the first made.
    let (kept, _claim) = claim(located, &checkpoint, scheme, printer)?;
    if let Some(there) = existing(located, scheme)? {
        return Ok(there);
    }
    printer.note(&format!("Quantizing to {scheme}, once: {} keeps it", kept.display()));
    // An earlier one may be replaced, and nothing else of that name.
    let is_earlier = |there: Manifest| there.origin.is_rounded_as(&checkpoint, rounding(scheme));
    let earlier = Manifest::read(&kept).is_ok_and(is_earlier);
    convert::quantize(&checkpoint, &kept, scheme, earlier, printer).map_err(|error| {
        match error.downcast_ref() {
            Some(Error::Exists(_)) => error.context(Hint(format!("delete or rename {}", kept.display()))),
            _ => error,
        }
    })?;
    Ok(kept)
}

/// The folder that a conversion is kept in, claimed.
fn claim(
    located: &Located,
    checkpoint: &Checkpoint,
    scheme: Scheme,
    printer: &Printer,
) -> anyhow::Result<(PathBuf, Claim)> {
    let places = kept(located, checkpoint, scheme);
    let (last, others) = places.split_last().ok_or_else(|| no_place(located))?;
    for folder in others {
        match convert::claim(Some(&checkpoint.folder), folder, printer) {
            Err(error) if is_refused(&error) => continue,
            claimed => return Ok((folder.clone(), claimed?)),
        }
    }
    Ok((last.clone(), convert::claim(None, last, printer)?))
}

/// Whether the user may not write there.
fn is_refused(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    matches!(kind, Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem))
}

/// The error of a user without a home.
pub fn no_place(located: &Located) -> anyhow::Error {
    let error = anyhow!("{} is only read, and there is no folder for its conversion", located.name);
    error.context(Hint("set MIST_HOME to a folder".into()))
}

/// The conversion, if it is there.
pub fn existing(located: &Located, scheme: Scheme) -> anyhow::Result<Option<PathBuf>> {
    let (rounding, path) = (rounding(scheme), located.path.as_path());
    if !Checkpoint::has_original(path) && !is_converted(path) {
        // Without originals what was kept of them is what there is.
        let there = [path.join(scheme.name()), beside(path, scheme.name())].into_iter();
        let mut there = there.filter(|folder| is_converted(folder));
        if let Some(there) = there.next() {
            return Ok(Some(there));
        }
    }
    let checkpoint = Checkpoint::open_original(path)?;
    if checkpoint.origin.as_ref().is_some_and(|origin| origin.roundings == [rounding]) {
        return Ok(Some(path.into()));
    }
    for folder in [path.to_path_buf()].into_iter().chain(kept(located, &checkpoint, scheme)) {
        if is_converted(&folder) {
            // A damaged one is made anew; what is no file stands in the way.
            if let Err(error) = Manifest::read(&folder)
                && error.refused().is_some()
            {
                return Err(error.into());
            }
            let sidecars = sidecar_files(&checkpoint, &folder)?;
            if mist_format::is_there(&checkpoint, &folder, rounding, sidecars) {
                return Ok(Some(folder));
            }
        }
    }
    Ok(None)
}

/// Whether a folder has a conversion's description. What is wrong with it is reported by whoever opens it.
fn is_converted(folder: &Path) -> bool {
    files::exists(&folder.join(manifest::FILE)).unwrap_or(true)
}

/// What the folder of a conversion is called among those of one revision: as the conversion, behind its file's name for a
/// GGUF file, which may be one of several.
pub fn name_elsewhere(checkpoint: &Checkpoint, conversion: &str) -> OsString {
    match &checkpoint.gguf {
        Some(gguf) => beside(gguf.path(), conversion).file_name().unwrap_or_default().to_owned(),
        None => conversion.into(),
    }
}

/// Where a run keeps its conversion, best first.
fn kept(located: &Located, checkpoint: &Checkpoint, scheme: Scheme) -> Vec<PathBuf> {
    let path = located.path.as_path();
    let near = match &checkpoint.gguf {
        Some(gguf) => beside(gguf.path(), scheme.name()),
        None => path.join(scheme.name()),
    };
    let elsewhere = located.elsewhere.as_ref();
    let elsewhere = elsewhere.map(|folder| folder.join(name_elsewhere(checkpoint, scheme.name())));
    let near = (!located.is_read_only).then_some(near);
    near.into_iter().chain(elsewhere).collect()
}

/// The folder of a GGUF file's conversion, beside the file: `x.q8_0` of `x.gguf`.
pub fn beside(file: &Path, conversion: &str) -> PathBuf {
    match file.extension() {
        Some(extension) if extension == "gguf" => file.with_extension(conversion),
        _ => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            file.with_file_name(format!("{name}.{conversion}"))
        }
    }
}

fn rounding(scheme: Scheme) -> Rounding {
    Rounding { quantize: Some(scheme), ..Rounding::default() }
}

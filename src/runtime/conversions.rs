//! Finds the conversion of a model, or makes and keeps it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::checked::Check;
use super::error::Error;
use super::located::Located;
use super::opened::{Opened, compare_ids, tokenizer};
use super::quantize::Quantize;
use super::report::{Report, Silent};
use super::sidecars::sidecar_files;
use super::writing;
use crate::checkpoint;
use crate::checkpoint::convert::output::Rounding;
use crate::checkpoint::layouts::mist;
use crate::checkpoint::layouts::mist::manifest::{self, Manifest};
use crate::checkpoint::open::Checkpoint;
use crate::quant::Scheme;
use crate::system::files::{self, Claim};

impl Located {
    /// Opens the weights that `quantize` selects. A missing conversion is made and kept.
    ///
    /// Without a selection, opens a conversion in the model's folder if there is one, else the weights as published.
    ///
    /// # Errors
    /// The errors of [`conversion`] and [`Opened::new`].
    pub fn open(&self, report: &mut dyn Report) -> Result<Opened, Error> {
        let (name, path) = (&self.name, &self.path);
        match self.quantize {
            None => Opened::new(name, path, report),
            Some(Quantize::None) => Opened::as_published(name, path, report),
            Some(Quantize::To(scheme)) => Opened::new(name, &conversion(self, scheme, report)?, report),
        }
    }

    /// Opens the weights that `quantize` selects, but makes no conversion.
    ///
    /// # Errors
    /// The conversion does not exist ([`Error::NotPlanned`]); the errors of [`Opened::new`].
    pub fn open_existing(&self, report: &mut dyn Report) -> Result<Opened, Error> {
        let Some(scheme) = self.scheme() else { return self.open(report) };
        let existing = existing(self, scheme)?;
        let existing = existing.ok_or_else(|| Error::NotPlanned { path: self.path.clone(), scheme })?;
        Opened::new(&self.name, &existing, report)
    }

    /// Returns the path of the weights: that of the conversion if the name has a scheme.
    ///
    /// # Errors
    /// The conversion does not exist ([`Error::NoConversion`]).
    pub fn opened_as(&self) -> Result<PathBuf, Error> {
        let Some(scheme) = self.scheme() else { return Ok(self.path.clone()) };
        let existing = existing(self, scheme)?;
        existing.ok_or_else(|| Error::NoConversion { name: self.name.clone(), scheme })
    }
}

/// Returns the path of the conversion of a checkpoint to `scheme`, and makes the conversion if necessary.
///
/// The path is the checkpoint itself if it is such a conversion. Otherwise it is a folder named after the scheme: in the
/// checkpoint's folder, beside a GGUF file, or in the store if these are not writable. A conversion is replaced if it does
/// not match the current weights, description and tokenizer.
///
/// # Errors
/// The tokenizer of the originals is missing or invalid, or has ids without a row: an earlier conversion is then unchanged.
/// The folder holds something else ([`Error::InTheWay`]); there is no folder for the conversion ([`Error::NoPlace`]); the
/// conversion cannot be written, or was stopped.
pub fn conversion(located: &Located, scheme: Scheme, report: &mut dyn Report) -> Result<PathBuf, Error> {
    if let Some(there) = existing(located, scheme)? {
        return Ok(there);
    }
    let checkpoint = Checkpoint::open_original(&located.path)?;
    // Another run may be making this conversion. The claim waits for it, so search again.
    let (kept, _claim) = claim(located, &checkpoint, scheme, report)?;
    if let Some(there) = existing(located, scheme)? {
        return Ok(there);
    }
    // An earlier conversion is given up only for one that will open.
    compare_ids(&checkpoint, &tokenizer(&checkpoint)?, &mut Silent)?;
    report.note(&format!("Quantizing to {scheme}, once; stored in {}", kept.display()));
    // Only an outdated conversion with the same rounding is replaced, never another folder of this name.
    let is_earlier = |there: Manifest| there.provenance.is_rounded_as(&checkpoint, rounding(scheme));
    let earlier = Manifest::read(&kept).is_ok_and(is_earlier);
    writing::quantize(&checkpoint, &kept, scheme, earlier, report).map_err(|error| match error {
        Error::Checkpoint(reason @ checkpoint::Error::Exists(_)) => {
            Error::InTheWay { folder: kept.clone(), reason: Box::new(reason) }
        }
        error => error,
    })?;
    Ok(kept)
}

/// Quantizes the checkpoint that was downloaded to `folder`, and replaces an earlier conversion.
///
/// The conversion goes into `folder`, or beside a GGUF file.
///
/// # Errors
/// The checkpoint cannot be opened; the conversion cannot be written, or was stopped.
pub fn of_download(folder: &Path, scheme: Scheme, report: &mut dyn Report) -> Result<(), Error> {
    let checkpoint = Checkpoint::open_original(folder)?;
    let folder = match &checkpoint.gguf {
        Some(gguf) => beside(gguf.path(), scheme.name()),
        None => folder.into(),
    };
    let _claim = writing::claim(None, &folder, report)?;
    report.note(&format!("Quantizing to {scheme}; stored in {}", folder.display()));
    writing::quantize(&checkpoint, &folder, scheme, true, report)
}

/// Returns the first writable folder for a conversion, with a claim on it.
fn claim(
    located: &Located,
    checkpoint: &Checkpoint,
    scheme: Scheme,
    report: &mut dyn Report,
) -> Result<(PathBuf, Claim), Error> {
    let places = kept(located, gguf_path(checkpoint), scheme);
    let (last, others) = places.split_last().ok_or_else(|| no_place(located))?;
    for folder in others {
        match writing::claim(Some(&checkpoint.folder), folder, report) {
            Err(Error::Checkpoint(checkpoint::Error::Write { reason, .. })) if is_refused(&reason) => {}
            claimed => return Ok((folder.clone(), claimed?)),
        }
    }
    Ok((last.clone(), writing::claim(None, last, report)?))
}

/// Returns whether an error means that the folder is not writable.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Returns the error for a read-only checkpoint without a folder for conversions.
pub fn no_place(located: &Located) -> Error {
    Error::NoPlace { name: located.name.clone() }
}

/// Returns the path of the conversion to `scheme` if it exists and matches the weights, description and tokenizer.
///
/// # Errors
/// The originals cannot be opened; the description of a conversion is not a regular file.
pub fn existing(located: &Located, scheme: Scheme) -> Result<Option<PathBuf>, Error> {
    let (rounding, path) = (rounding(scheme), located.path.as_path());
    // Checks begin before any file is read, so that they notice all later changes.
    let checks = checks(located, scheme);
    if let Some(known) = checks.iter().find(|check| check.is_remembered()) {
        return Ok(Some(known.folder.clone()));
    }
    if !Checkpoint::has_original(path) && !is_converted(path) {
        // Without originals there is nothing to compare a conversion with.
        let there = [path.join(scheme.name()), beside(path, scheme.name())].into_iter();
        let mut there = there.filter(|folder| is_converted(folder));
        if let Some(there) = there.next() {
            return Ok(Some(there));
        }
    }
    let checkpoint = Checkpoint::open_original(path)?;
    if checkpoint.provenance.as_ref().is_some_and(|provenance| provenance.roundings == [rounding]) {
        return Ok(Some(path.into()));
    }
    let kept = kept(located, gguf_path(&checkpoint), scheme);
    for folder in [path.to_path_buf()].into_iter().chain(kept) {
        if is_converted(&folder) {
            // A damaged description leads to a new conversion, but one that is not a regular file is an error.
            if let Err(error) = Manifest::read(&folder)
                && error.refused().is_some()
            {
                return Err(error.into());
            }
            let sidecars = sidecar_files(&checkpoint, &folder)?;
            if mist::is_there(&checkpoint, &folder, rounding, sidecars) {
                let is_elsewhere =
                    located.elsewhere.as_ref().is_some_and(|elsewhere| folder.starts_with(elsewhere));
                let base = (!is_elsewhere).then_some(&*checkpoint.folder);
                let check = checks.iter().find(|check| check.folder == folder);
                if let Some(check) = check.filter(|_| is_elsewhere || !located.is_read_only) {
                    check.remember(&checkpoint, base);
                }
                return Ok(Some(folder));
            }
        }
    }
    Ok(None)
}

/// Begins a check of each folder that may hold the conversion, without opening the checkpoint.
fn checks(located: &Located, scheme: Scheme) -> Vec<Check<'_>> {
    let path = located.path.as_path();
    let gguf = (!path.is_dir()).then_some(path);
    let mut folders = vec![path.to_path_buf()];
    for folder in kept(located, gguf, scheme) {
        if gguf.is_none() {
            // Include the conversion of the folder's only GGUF file, regardless of the file's name.
            let entries = folder.parent().and_then(|parent| std::fs::read_dir(parent).ok());
            let entries = entries.into_iter().flatten().flatten().map(|entry| entry.path());
            folders.extend(entries.filter(|entry| entry.extension().is_some_and(|end| end == scheme.name())));
        }
        folders.push(folder);
    }
    folders.retain(|folder| is_converted(folder));
    Check::begin(path, folders, scheme)
}

/// Returns whether a folder has the description of a conversion. Opening it reports errors in the description.
fn is_converted(folder: &Path) -> bool {
    files::exists(&folder.join(manifest::FILE)).unwrap_or(true)
}

/// Returns the folder name of a conversion in the store: the name of the conversion, after the file's name for GGUF.
///
/// The store has one folder per revision of a repository, which may have several GGUF files.
pub fn name_elsewhere(checkpoint: &Checkpoint, conversion: &str) -> OsString {
    match &checkpoint.gguf {
        Some(gguf) => beside(gguf.path(), conversion).file_name().unwrap_or_default().to_owned(),
        None => conversion.into(),
    }
}

/// Returns the folders in which a run may keep the conversion of a folder or of a GGUF file, best first.
fn kept(located: &Located, gguf: Option<&Path>, scheme: Scheme) -> Vec<PathBuf> {
    let near = match gguf {
        Some(file) => beside(file, scheme.name()),
        None => located.path.join(scheme.name()),
    };
    let elsewhere = located.elsewhere.as_ref().zip(near.file_name()).map(|(folder, name)| folder.join(name));
    let near = (!located.is_read_only).then_some(near);
    near.into_iter().chain(elsewhere).collect()
}

/// Returns the folder for a conversion of a GGUF file, such as `x.q8_0` beside `x.gguf`.
pub fn beside(file: &Path, conversion: &str) -> PathBuf {
    match file.extension() {
        Some(extension) if extension == "gguf" => file.with_extension(conversion),
        _ => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            file.with_file_name(format!("{name}.{conversion}"))
        }
    }
}

fn gguf_path(checkpoint: &Checkpoint) -> Option<&Path> {
    checkpoint.gguf.as_ref().map(|gguf| gguf.path())
}

fn rounding(scheme: Scheme) -> Rounding {
    Rounding { quantize: Some(scheme), ..Rounding::default() }
}

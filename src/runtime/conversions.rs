//! The conversions of a model: the one that is there, or one that is made and kept.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::checked;
use super::error::Error;
use super::located::Located;
use super::opened::Opened;
use super::quantize::Quantize;
use super::report::Report;
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
    /// Opens the weights that are asked for: as published, a conversion that is made and kept if it is not there, or without
    /// a wish what lies there, a conversion first.
    ///
    /// # Errors
    /// Those of [`conversion`] and [`Opened::new`].
    pub fn open(&self, report: &mut dyn Report) -> Result<Opened, Error> {
        let (name, path) = (&self.name, &self.path);
        match self.quantize {
            None => Opened::new(name, path, report),
            Some(Quantize::None) => Opened::as_published(name, path, report),
            Some(Quantize::To(scheme)) => Opened::new(name, &conversion(self, scheme, report)?, report),
        }
    }

    /// The same, of a conversion only where it is there: nothing is made.
    ///
    /// # Errors
    /// [`Error::NotPlanned`] where it is not, and those of [`Opened::new`].
    pub fn open_existing(&self, report: &mut dyn Report) -> Result<Opened, Error> {
        let Some(scheme) = self.scheme() else { return self.open(report) };
        let existing = existing(self, scheme)?;
        let existing = existing.ok_or_else(|| Error::NotPlanned { path: self.path.clone(), scheme })?;
        Opened::new(&self.name, &existing, report)
    }

    /// The path that is opened: of a name with a scheme that of the conversion.
    ///
    /// # Errors
    /// [`Error::NoConversion`].
    pub fn opened_as(&self) -> Result<PathBuf, Error> {
        let Some(scheme) = self.scheme() else { return Ok(self.path.clone()) };
        let existing = existing(self, scheme)?;
        existing.ok_or_else(|| Error::NoConversion { name: self.name.clone(), scheme })
    }
}

/// The conversion of a checkpoint to `scheme`: what lies there, if it is one; else a folder of the scheme's name in it,
/// or of a GGUF file's beside that, or, where that cannot be written to, in the store. It is made if it is not there, or is
/// not of the weights, the description and the tokenizer that are.
///
/// # Errors
/// Something else is in the place of the conversion ([`Error::InTheWay`]); there is none ([`Error::NoPlace`]); it cannot be
/// written, or was stopped.
pub fn conversion(located: &Located, scheme: Scheme, report: &mut dyn Report) -> Result<PathBuf, Error> {
    if let Some(there) = existing(located, scheme)? {
        return Ok(there);
    }
    let checkpoint = Checkpoint::open_original(&located.path)?;
    // Another run may be at it: the second waits, and then finds what the first made.
    let (kept, _claim) = claim(located, &checkpoint, scheme, report)?;
    if let Some(there) = existing(located, scheme)? {
        return Ok(there);
    }
    report.note(&format!("Quantizing to {scheme}, once: {} keeps it", kept.display()));
    // An earlier one may be replaced, and nothing else of that name.
    let is_earlier = |there: Manifest| there.origin.is_rounded_as(&checkpoint, rounding(scheme));
    let earlier = Manifest::read(&kept).is_ok_and(is_earlier);
    writing::quantize(&checkpoint, &kept, scheme, earlier, report).map_err(|error| match error {
        Error::Checkpoint(source @ checkpoint::Error::Exists(_)) => {
            Error::InTheWay { folder: kept.clone(), source: Box::new(source) }
        }
        error => error,
    })?;
    Ok(kept)
}

/// Quantizes what was downloaded to `folder`: in it, or of a GGUF file beside that, in place of an earlier conversion.
///
/// # Errors
/// What is there cannot be opened, or the conversion cannot be written, or was stopped.
pub fn of_download(folder: &Path, scheme: Scheme, report: &mut dyn Report) -> Result<(), Error> {
    let checkpoint = Checkpoint::open_original(folder)?;
    let folder = match &checkpoint.gguf {
        Some(gguf) => beside(gguf.path(), scheme.name()),
        None => folder.into(),
    };
    let _claim = writing::claim(None, &folder, report)?;
    report.note(&format!("Quantizing to {scheme}: {} keeps it", folder.display()));
    writing::quantize(&checkpoint, &folder, scheme, true, report)
}

/// The folder that a conversion is kept in, claimed.
fn claim(
    located: &Located,
    checkpoint: &Checkpoint,
    scheme: Scheme,
    report: &mut dyn Report,
) -> Result<(PathBuf, Claim), Error> {
    let places = kept(located, checkpoint, scheme);
    let (last, others) = places.split_last().ok_or_else(|| no_place(located))?;
    for folder in others {
        match writing::claim(Some(&checkpoint.folder), folder, report) {
            Err(Error::Checkpoint(checkpoint::Error::Write { source, .. })) if is_refused(&source) => {}
            claimed => return Ok((folder.clone(), claimed?)),
        }
    }
    Ok((last.clone(), writing::claim(None, last, report)?))
}

/// Whether the user may not write there.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// The error of a user without a home.
pub fn no_place(located: &Located) -> Error {
    Error::NoPlace { name: located.name.clone() }
}

/// The conversion, if it is there: of these weights, this description and this tokenizer.
///
/// # Errors
/// The originals cannot be opened; what lies in the place of a conversion's description is no file.
pub fn existing(located: &Located, scheme: Scheme) -> Result<Option<PathBuf>, Error> {
    let (since, rounding, path) = (SystemTime::now(), rounding(scheme), located.path.as_path());
    if let Some(known) = known(located, scheme) {
        return Ok(Some(known));
    }
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
            if mist::is_there(&checkpoint, &folder, rounding, sidecars) {
                let is_elsewhere =
                    located.elsewhere.as_ref().is_some_and(|elsewhere| folder.starts_with(elsewhere));
                let base = (!is_elsewhere).then_some(&*checkpoint.folder);
                if is_elsewhere || !located.is_read_only {
                    checked::keep(path, &checkpoint, &folder, base, scheme, since);
                }
                return Ok(Some(folder));
            }
        }
    }
    Ok(None)
}

/// A conversion that was checked before and has not changed since, nor its originals.
fn known(located: &Located, scheme: Scheme) -> Option<PathBuf> {
    let (path, scheme_name) = (located.path.as_path(), scheme.name());
    let elsewhere = located.elsewhere.as_deref();
    let mut places = vec![path.to_path_buf()];
    if path.is_dir() {
        [Some(path), elsewhere].into_iter().flatten().for_each(|folder| {
            places.push(folder.join(scheme_name));
            // Of the folder's one GGUF file, whatever that is called.
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let named = |folder: &PathBuf| folder.extension().is_some_and(|end| end == scheme_name);
            places.extend(entries.map(|entry| entry.path()).filter(named));
        });
    } else {
        let beside = beside(path, scheme_name);
        places.extend(elsewhere.zip(beside.file_name()).map(|(folder, name)| folder.join(name)));
        places.insert(1, beside);
    }
    places.into_iter().find(|folder| checked::is_known(path, folder, scheme))
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

//! The files that together hold a folder's weights.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::formats::{safetensors, torch};
use super::read::{is_plain_file_name, read_text};
use super::tensors::Tensors;
use crate::json;
use crate::system::files;
use crate::system::quote::quoted;

/// How files store tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    SafeTensors,
    Torch,
}

/// The names of what is in a folder, sorted; those that are no UTF-8 are none of ours.
pub fn file_names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(Error::read(folder))?;
    // What is no file, or a link that leads nowhere, is refused by whoever opens it.
    let mut names: Vec<String> =
        entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// The shards that the file `index` names, else the file `whole`, as far as they are there.
pub fn find(folder: &Path, whole: &str, index: &str) -> Result<Option<Vec<PathBuf>>, Error> {
    let (whole, index) = (folder.join(whole), folder.join(index));
    let exists = |path: &Path| files::exists(path).map_err(Error::read(path));
    match (exists(&index)?, exists(&whole)?) {
        (true, _) => named_by(folder, &index).map(Some),
        (false, true) => Ok(Some(vec![whole])),
        (false, false) => Ok(None),
    }
}

/// The files of weights, and the index of them where there is one.
pub fn with_index(mut files: Vec<PathBuf>, index: PathBuf) -> Vec<PathBuf> {
    files.extend(Some(index).filter(|index| files::exists(index).unwrap_or(true)));
    files
}

/// The files that an index of shards names.
fn named_by(folder: &Path, index_path: &Path) -> Result<Vec<PathBuf>, Error> {
    let names = json::shards(read_text(index_path)?.as_bytes())
        .map_err(|e| Error::malformed(index_path, format!("is no index of shards: {e}")))?;
    for name in &names {
        if !is_plain_file_name(name) {
            return Err(Error::malformed(index_path, format!("{} is not a plain file name", quoted(name))));
        }
        let file = folder.join(name);
        if !files::exists(&file).map_err(Error::read(&file))? {
            return Err(Error::malformed(index_path, format!("names {name}, which is not there")));
        }
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// The tensors of all files, mapped.
///
/// # Errors
/// A file breaks its format, or a tensor is in two of them.
pub fn read(folder: &Path, storage: Storage, files: &[PathBuf]) -> Result<Tensors, Error> {
    let mut tensors = Tensors::new(folder);
    for file in files {
        match storage {
            Storage::SafeTensors => safetensors::read(file, &mut tensors, |_| None)?,
            Storage::Torch => torch::read(file, &mut tensors)?,
        }
    }
    Ok(tensors)
}

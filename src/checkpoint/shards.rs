//! Finds and reads the files that together hold a folder's weights.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::formats::{safetensors, torch};
use super::read::{is_plain_file_name, read_text};
use super::tensors::Tensors;
use crate::json;
use crate::system::files;
use crate::system::quote::quoted;

/// The format of the files that hold weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    SafeTensors,
    Torch,
}

/// Returns the sorted names of a folder's entries. Skips names that are not UTF-8: no layout has any.
pub fn file_names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(Error::read(folder))?;
    // Folders and dangling links stay in the list; opening them is an error.
    let mut names: Vec<String> =
        entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// Returns the shards that the file `index` names, or the single file `whole`. `None` if neither file exists.
pub fn find(folder: &Path, whole: &str, index: &str) -> Result<Option<Vec<PathBuf>>, Error> {
    let (whole, index) = (folder.join(whole), folder.join(index));
    let exists = |path: &Path| files::exists(path).map_err(Error::read(path));
    match (exists(&index)?, exists(&whole)?) {
        (true, _) => named_by(folder, &index).map(Some),
        (false, true) => Ok(Some(vec![whole])),
        (false, false) => Ok(None),
    }
}

/// Appends the index to the files of weights if it exists.
pub fn with_index(mut files: Vec<PathBuf>, index: PathBuf) -> Vec<PathBuf> {
    files.extend(Some(index).filter(|index| files::exists(index).unwrap_or(true)));
    files
}

/// Returns the files that an index of shards names.
fn named_by(folder: &Path, index_path: &Path) -> Result<Vec<PathBuf>, Error> {
    let names = json::shards(read_text(index_path)?.as_bytes())
        .map_err(|e| Error::malformed(index_path, format!("is not an index of shards: {e}")))?;
    for name in &names {
        if !is_plain_file_name(name) {
            return Err(Error::malformed(index_path, format!("{} is not a plain file name", quoted(name))));
        }
        let file = folder.join(name);
        if !files::exists(&file).map_err(Error::read(&file))? {
            return Err(Error::malformed(index_path, format!("names {name}, which is missing")));
        }
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Memory-maps all files and returns their tensors.
///
/// # Errors
/// A file breaks its format, or a tensor is in two files.
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

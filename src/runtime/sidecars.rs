//! The sidecar files that a conversion needs, copied or made from a GGUF file.

use std::collections::BTreeSet;
use std::path::Path;

use super::error::Error;
use super::opened::{end_ids, tokenizer};
use crate::checkpoint::convert::Content;
use crate::checkpoint::convert::plan::SidecarFiles;
use crate::checkpoint::open::Checkpoint;
use crate::checkpoint::{self, suggestions};
use crate::system::files::exists;
use crate::text;

/// Size limit for reading a `tokenizer_config.json`, in bytes.
const LARGEST_CONFIG: u64 = 16 << 20;

/// Returns the sidecar files for a conversion in `folder`; none if it shares those of the originals.
///
/// # Errors
/// A file cannot be read, or the tokenizer cannot be expressed as `tokenizer.json`.
pub fn sidecar_files(checkpoint: &Checkpoint, folder: &Path) -> Result<SidecarFiles, Error> {
    let own_folder = same_folder(&checkpoint.folder, folder);
    if checkpoint.gguf.is_none() && own_folder {
        return Ok(SidecarFiles::default());
    }
    let names = names(&[&checkpoint.folder, folder]);
    let mut files = Vec::new();
    if checkpoint.gguf.is_none() {
        for name in &names {
            let path = checkpoint.folder.join(name);
            if exists(&path).map_err(checkpoint::Error::read(&path))? {
                files.push((name.clone(), Content::copy_of(&path)?));
            }
        }
    }
    // Other programs may only read `tokenizer.json`.
    let has_tokenizer = checkpoint.gguf.is_some() || text::is_at(&checkpoint.folder);
    if has_tokenizer && !files.iter().any(|(name, _)| name == "tokenizer.json") {
        for (made, bytes) in tokenizer(checkpoint)?.files()? {
            if files.iter().all(|(name, _)| *name != made) {
                files.push((made, bytes.into()));
            }
        }
        let config = files.iter_mut().find(|(name, _)| name == "tokenizer_config.json");
        if let Some((_, content)) = config
            && let Some(changed) = text::config_beside(&content.read(LARGEST_CONFIG)?)
        {
            *content = changed.into();
        }
    }
    // Suggestions may come from a GGUF file or a model card, so there may be no file to copy.
    let suggestions = &checkpoint.suggestions;
    if !suggestions.is_empty() && files.iter().all(|(name, _)| name != suggestions::FILE) {
        let tokenizer = tokenizer(checkpoint)?;
        let json = suggestions.to_json(tokenizer.bos(), &end_ids(checkpoint, &tokenizer));
        files.push((suggestions::FILE.into(), format!("{json:#}\n").into_bytes().into()));
    }
    let is_absent = |name: &String| !own_folder && files.iter().all(|(file, _)| file != name);
    let absent = names.iter().filter(|name| is_absent(name)).cloned().collect();
    Ok(SidecarFiles { files, absent })
}

/// Returns the names of all known sidecar files, and of those that these folders hold.
fn names(folders: &[&Path]) -> BTreeSet<String> {
    let there = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    let there = there.filter_map(|entry| entry.file_name().into_string().ok());
    let fixed = text::FILES.into_iter().chain([suggestions::FILE]).map(str::to_owned);
    fixed.chain(there.filter(|name| text::is_file(name))).collect()
}

fn same_folder(a: &Path, b: &Path) -> bool {
    let canonical = |path: &Path| std::fs::canonicalize(path).ok();
    canonical(a).is_some() && canonical(a) == canonical(b)
}

//! Finds the checkpoints in a folder of checkpoints.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::name::is_gguf;
use crate::checkpoint::layouts::mist::manifest;
use crate::checkpoint::open::{Checkpoint, Format};
use crate::quant::quantize::WRITTEN;
use crate::system::files::is_leftover;

/// Lists what can be opened under `root`, sorted by path: GGUF files, folders, and folders `ORG/NAME`.
pub(super) fn checkpoints(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in visible(root) {
        found.extend(openable(&entry));
        if entry.is_dir() {
            found.extend(visible(&entry).iter().flat_map(|folder| openable(folder)));
        } else if is_gguf_file(&entry) {
            found.push(entry);
        }
    }
    found.retain(|path| !is_kept(path));
    found.sort();
    found.dedup();
    found
}

/// Returns whether a path is a GGUF file, or a folder with a checkpoint or with GGUF files.
pub(super) fn holds_checkpoint(path: &Path) -> bool {
    if path.is_file() { is_gguf(path) } else { Checkpoint::is_at(path) || !ggufs(path).is_empty() }
}

/// Returns whether a folder has a file of a checkpoint, even an incomplete one.
pub(super) fn is_begun(folder: &Path) -> bool {
    let known = [
        "mist-download.json",
        "config.json",
        "params.json",
        "tokenizer.json",
        "tokenizer.model",
        "tekken.json",
    ];
    holds_checkpoint(folder) || known.iter().any(|name| folder.join(name).is_file())
}

/// Returns whether `path` is a conversion that belongs to another checkpoint: beside a GGUF file (`x.q8_0`, `x.mist`),
/// or in a checkpoint's folder (`q8_0`, `hf`, `litgpt`, `gguf`). Such a conversion is found through that checkpoint.
fn is_kept(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else { return false };
    let is_converted = path.join(manifest::FILE).is_file();
    let beside = is_converted && path.with_extension("gguf").is_file();
    let is_scheme = WRITTEN.iter().any(|scheme| scheme.name() == name);
    let inside = is_scheme && is_converted || ["hf", "litgpt", "gguf"].contains(&name);
    beside || inside && path.parent().is_some_and(|parent| !openable(parent).is_empty())
}

/// Returns the folder if it is a checkpoint, or each of its GGUF files if it has several.
pub(super) fn openable(folder: &Path) -> Vec<PathBuf> {
    let ggufs = ggufs(folder);
    match ggufs.len() {
        _ if Checkpoint::is_at(folder) => vec![folder.into()],
        // The shards of one GGUF checkpoint.
        2.. if Checkpoint::layout(folder) == Some(Format::Gguf) => vec![folder.into()],
        // In a folder with a config.json, a GGUF file is opened only by its own name.
        1 if !folder.join("config.json").is_file() => vec![folder.into()],
        _ => ggufs,
    }
}

/// Lists the conversions in a checkpoint's folder or beside its file, sorted by path.
pub(super) fn conversions(path: &Path) -> Vec<PathBuf> {
    let converted = |folder: &PathBuf| folder.join(manifest::FILE).is_file();
    if path.is_file() {
        let beside = visible(path.parent().unwrap_or(Path::new(".")));
        let is_of = |folder: &PathBuf| folder.with_extension("gguf") == path && converted(folder);
        let mut found: Vec<PathBuf> = beside.into_iter().filter(is_of).collect();
        found.sort();
        return found;
    }
    let mut found: Vec<PathBuf> = visible(path).into_iter().filter(converted).collect();
    found.extend(ggufs(path).iter().flat_map(|file| conversions(file)));
    found.sort();
    found.dedup();
    found
}

/// Lists the folders that killed conversions left in a checkpoint's folder or beside its file.
pub(super) fn begun_conversions(path: &Path) -> Vec<PathBuf> {
    let (folder, file) = match path.is_file() {
        true => (path.parent().unwrap_or(Path::new(".")), Some(path)),
        false => (path, None),
    };
    let is_of = |folder: &PathBuf| file.is_none_or(|file| folder.with_extension("gguf") == file);
    visible(folder).into_iter().filter(|folder| is_of(folder) && holds_only_leftovers(folder)).collect()
}

/// Returns whether a folder holds nothing but what killed programs leave, and something of it.
fn holds_only_leftovers(folder: &Path) -> bool {
    let is_own = folder.symlink_metadata().is_ok_and(|found| found.is_dir());
    let mut entries = std::fs::read_dir(folder).into_iter().flatten().peekable();
    is_own
        && entries.peek().is_some()
        && entries.all(|entry| entry.is_ok_and(|e| is_leftover(&e.file_name())))
}

/// Lists the GGUF files of a folder, sorted by path.
pub fn ggufs(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = visible(folder).into_iter().filter(|file| is_gguf_file(file)).collect();
    files.sort();
    files
}

fn is_gguf_file(file: &Path) -> bool {
    is_gguf(file) && !file.is_dir()
}

/// Name of the hidden file that records that a conversion was checked. It is not counted in a checkpoint's size.
pub const CHECKED: &str = ".mist-checked";

/// Returns the total size in bytes of all files at a path but [`CHECKED`]. Links to files count with their targets'
/// sizes, as in the hub's cache.
pub fn bytes_at(path: &Path) -> u64 {
    let Ok(found) = path.metadata() else { return 0 };
    if !found.is_dir() {
        return if path.ends_with(CHECKED) { 0 } else { found.len() };
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let is_folder_behind_a_link = |path: &PathBuf| path.is_symlink() && path.is_dir();
    let paths = entries.map(|entry| entry.path()).filter(|path| !is_folder_behind_a_link(path));
    paths.map(|path| bytes_at(&path)).sum()
}

/// Lists the entries of a folder without hidden files, which are locks and partial files. Returns an empty list if the
/// folder cannot be read.
fn visible(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|e| !e.file_name().as_encoded_bytes().starts_with(b".")).map(|e| e.path()).collect()
}

// The lint exempts test functions but not their helpers, where a failure also fails the test.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name(root: &Path, path: &Path) -> String {
        path.strip_prefix(root).unwrap().display().to_string()
    }

    fn root(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        root
    }

    #[test]
    fn only_what_can_be_opened_is_found() {
        let root = root(&[
            "README.md",
            "mine.gguf",
            "shallow/model.gguf",
            "too/deep/down/model.gguf",
            "a/converted/mist.json",
            "a/hf/config.json",
            "a/hf/model.safetensors",
            "a/only-tokenizer/config.json",
            "a/only-tokenizer/tokenizer.json",
            "b/both/config.json",
            "b/both/model.safetensors",
            "b/both/q8_0/mist.json",
            "b/gguf/x.gguf",
            "b/hidden/.x.gguf.partial",
            "b/hidden/.mist.lock",
            "b/several/q8.gguf",
            "b/several/q4.gguf",
            ".c/gguf/x.gguf",
            "b/split/x-00001-of-00002.gguf",
            "b/split/x-00002-of-00002.gguf",
        ]);
        let names: Vec<String> =
            checkpoints(root.path()).iter().map(|path| name(root.path(), path)).collect();
        let nested =
            ["a/converted", "a/hf", "b/both", "b/gguf", "b/several/q4.gguf", "b/several/q8.gguf", "b/split"];
        assert_eq!(names, [nested.as_slice(), &["mine.gguf", "shallow"]].concat());
        assert!(checkpoints(&root.path().join("missing")).is_empty());
    }

    /// Regression: the folder `org` was taken for the checkpoint of the GGUF file in it, which hid the checkpoints
    /// beside the file.
    #[test]
    fn a_file_in_an_organisations_folder_hides_no_checkpoint_beside_it() {
        for (files, expected) in [
            (vec!["org/x.gguf", "org/m/config.json", "org/m/model.safetensors"], vec!["org", "org/m"]),
            (vec!["org/x.gguf", "org/x.q8_0/mist.json", "org/m/mist.json"], vec!["org", "org/m"]),
            (vec!["org/x.gguf", "org/x.mist/mist.json", "org/x.f16-q4_k/mist.json"], vec!["org"]),
            (vec!["org/x.gguf", "org/gguf/x-q4_k.gguf"], vec!["org"]),
            (vec!["org/x.gguf", "org/y.gguf", "org/m/z.gguf"], vec!["org/m", "org/x.gguf", "org/y.gguf"]),
            (
                vec![
                    "org/mist.json",
                    "org/m/mist.json",
                    "org/q4_k/mist.json",
                    "org/hf/config.json",
                    "org/hf/model.safetensors",
                ],
                vec!["org", "org/m"],
            ),
        ] {
            let root = root(&files);
            let found = checkpoints(root.path());
            assert_eq!(found.iter().map(|path| name(root.path(), path)).collect::<Vec<_>>(), expected);
        }
    }
}

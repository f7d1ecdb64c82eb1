//! The checkpoints in a folder of checkpoints.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::name::is_gguf;
use crate::checkpoint::layouts::mist::manifest;
use crate::checkpoint::open::{Checkpoint, Format};
use crate::quant::quantize::WRITTEN;

/// What can be opened under `root`, in the order of names: GGUF files, folders, and folders `ORG/NAME`.
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

/// Whether a path is a GGUF file or a folder that holds a checkpoint, or several GGUF files.
pub(super) fn holds_checkpoint(path: &Path) -> bool {
    if path.is_file() { is_gguf(path) } else { Checkpoint::is_at(path) || !ggufs(path).is_empty() }
}

/// Whether a folder has a file that belongs to a checkpoint, whole or not.
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

/// Whether a conversion was made where another checkpoint is, by which it is found: beside a GGUF file (`x.q8_0`,
/// `x.mist`), or in a checkpoint's folder (`q8_0`, `hf`, `litgpt`, `gguf`).
fn is_kept(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else { return false };
    let is_converted = path.join(manifest::FILE).is_file();
    let beside = is_converted && path.with_extension("gguf").is_file();
    let is_scheme = WRITTEN.iter().any(|scheme| scheme.name() == name);
    let inside = is_scheme && is_converted || ["hf", "litgpt", "gguf"].contains(&name);
    beside || inside && path.parent().is_some_and(|parent| !openable(parent).is_empty())
}

/// The folder, if it is a checkpoint; of a folder with several GGUF files, each of them.
pub(super) fn openable(folder: &Path) -> Vec<PathBuf> {
    let ggufs = ggufs(folder);
    match ggufs.len() {
        _ if Checkpoint::is_at(folder) => vec![folder.into()],
        // The parts of one.
        2.. if Checkpoint::layout(folder) == Some(Format::Gguf) => vec![folder.into()],
        // What has a config.json is not opened as a GGUF file unless that file is named.
        1 if !folder.join("config.json").is_file() => vec![folder.into()],
        _ => ggufs,
    }
}

/// The conversions that lie in a checkpoint's folder or beside its file, by name.
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

/// The GGUF files of a folder, by name.
pub fn ggufs(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = visible(folder).into_iter().filter(|file| is_gguf_file(file)).collect();
    files.sort();
    files
}

fn is_gguf_file(file: &Path) -> bool {
    is_gguf(file) && !file.is_dir()
}

/// Bytes of all files at a path, also of those that links to files lead to, as in the hub's cache.
pub fn bytes_at(path: &Path) -> u64 {
    let Ok(found) = path.metadata() else { return 0 };
    if !found.is_dir() {
        return found.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let is_folder_behind_a_link = |path: &PathBuf| path.is_symlink() && path.is_dir();
    let paths = entries.map(|entry| entry.path()).filter(|path| !is_folder_behind_a_link(path));
    paths.map(|path| bytes_at(&path)).sum()
}

/// What a folder holds but hidden files, which are locks and what is not complete; nothing if it cannot be read.
fn visible(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|e| !e.file_name().as_encoded_bytes().starts_with(b".")).map(|e| e.path()).collect()
}

// The lint knows functions marked as tests, not their helpers; a helper that fails here is a failed test.
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

    /// The folder `org` was taken for the checkpoint of the file in it, and what lay beside the file never offered.
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

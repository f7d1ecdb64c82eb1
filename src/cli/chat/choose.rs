//! Which checkpoint, where none is named: the one there is, the one of several that a person picks, or the
//! starter model.

use std::ffi::OsStr;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use mist::checkpoint::{Checkpoint, manifest};
use mist::environment::{self, HF_HUB_OFFLINE};
use mist::hub::{self, Size, starter};
use mist::terminal::{Interrupt, Printer};

use crate::cli::download::TerminalReport;
use crate::cli::exit::{Hint, Usage};
use crate::cli::values::scheme_named;

/// The path of the checkpoint under `root`; `ask` says whether a person can be asked.
pub fn checkpoint(
    root: &Path,
    ask: bool,
    interrupt: &Interrupt,
    printer: &Printer,
) -> anyhow::Result<PathBuf> {
    let mut found = checkpoints(root);
    match found.as_slice() {
        [] => fetch_starter(root, interrupt, printer),
        [_] => {
            let only = found.remove(0);
            printer.note(&format!("Checkpoint: {}", only.display()));
            Ok(only)
        }
        several if ask => {
            let index = pick(root, several, &mut io::stdin().lock(), printer)?;
            Ok(found.swap_remove(index))
        }
        several => {
            let names = several.iter().map(|path| name(root, path)).collect::<Vec<_>>().join(", ");
            let error = format!("there are {} checkpoints in {}: {names}", several.len(), root.display());
            Err(Usage::with_hint(error, format!("add --checkpoint-dir {}", name(root, &several[0]))))
        }
    }
}

fn fetch_starter(root: &Path, interrupt: &Interrupt, printer: &Printer) -> anyhow::Result<PathBuf> {
    if !environment::is_true(HF_HUB_OFFLINE) {
        printer.note(&format!(
            "No checkpoint found under {}/: fetching SmolLM2-135M-Instruct (Apache-2.0, {})",
            root.display(),
            Size(starter::SIZE)
        ));
    }
    let mut report = TerminalReport::new(printer);
    let listening = interrupt.listen();
    let path = starter::ensure(root, interrupt.flag(), &mut report);
    drop(listening);
    report.done();
    if let Err(hub::Error::Interrupted) = path {
        printer.note("Stopped: `mist chat` goes on from here");
    }
    Ok(path?)
}

/// What can be opened under `root`, in the order of names: GGUF files, folders, and folders `ORG/NAME`.
fn checkpoints(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in visible(root) {
        found.extend(openable(&entry));
        if entry.is_dir() {
            found.extend(visible(&entry).iter().flat_map(|folder| openable(folder)));
        } else if entry.extension() == Some("gguf".as_ref()) {
            found.push(entry);
        }
    }
    found.retain(|path| !is_kept(path));
    found.sort();
    found.dedup();
    found
}

/// Whether a conversion was made where another checkpoint is, by which it is found: beside a GGUF file (`x.q8_0`,
/// `x.mist`), or in a checkpoint's folder (`q8_0`, `hf`, `litgpt`, `gguf`).
fn is_kept(path: &Path) -> bool {
    let is_scheme =
        |name: Option<&OsStr>| name.and_then(OsStr::to_str).is_some_and(|n| scheme_named(n).is_some());
    let name = path.file_name();
    let is_converted = path.join(manifest::FILE).is_file();
    let beside = is_converted && path.with_extension("gguf").is_file();
    let is_format = |name: &OsStr| ["hf", "litgpt", "gguf"].iter().any(|format| name == *format);
    let inside = is_scheme(name) && is_converted || name.is_some_and(is_format);
    beside || inside && path.parent().is_some_and(|parent| !openable(parent).is_empty())
}

/// The folder, if it is a checkpoint; of a folder with several GGUF files, each of them.
fn openable(folder: &Path) -> Vec<PathBuf> {
    let is_gguf = |file: &PathBuf| file.extension() == Some("gguf".as_ref());
    let ggufs: Vec<PathBuf> = visible(folder).into_iter().filter(is_gguf).collect();
    match ggufs.len() {
        _ if Checkpoint::is_at(folder) => vec![folder.into()],
        // What has a config.json is not opened as a GGUF file unless that file is named.
        1 if !folder.join("config.json").is_file() => vec![folder.into()],
        _ => ggufs,
    }
}

/// What a folder holds but hidden files, which are locks and what is not complete; nothing if it cannot be read.
fn visible(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|e| !e.file_name().as_encoded_bytes().starts_with(b".")).map(|e| e.path()).collect()
}

/// The name that `--checkpoint-dir` takes.
fn name(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// Asks on stderr until `answers` has one of the numbers.
fn pick(
    root: &Path,
    several: &[PathBuf],
    answers: &mut impl BufRead,
    printer: &Printer,
) -> anyhow::Result<usize> {
    for (number, path) in (1..).zip(several) {
        printer.show(&format!("{number:>3}  {}\n", name(root, path).replace('\n', " ")));
    }
    loop {
        printer.show(&format!("Which checkpoint? (1-{}) ", several.len()));
        let mut line = String::new();
        if answers.read_line(&mut line).context("cannot read the answer")? == 0 {
            return Err(anyhow!("no checkpoint was chosen").context(Hint("add --checkpoint-dir PATH".into())));
        }
        match line.trim().parse::<usize>() {
            Ok(number) if (1..=several.len()).contains(&number) => return Ok(number - 1),
            _ => continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ]);
        let names: Vec<String> =
            checkpoints(root.path()).iter().map(|path| name(root.path(), path)).collect();
        let nested = ["a/converted", "a/hf", "b/both", "b/gguf", "b/several/q4.gguf", "b/several/q8.gguf"];
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

    #[test]
    fn the_only_one_is_taken_and_several_are_listed_where_nobody_can_be_asked() {
        let printer = Printer::new(true, false);
        let one = root(&["a/x/mist.json"]);
        let interrupt = Interrupt::install().unwrap();
        assert_eq!(checkpoint(one.path(), false, &interrupt, &printer).unwrap(), one.path().join("a/x"));
        let two = root(&["a/x/mist.json", "a/y/mist.json"]);
        let error = checkpoint(two.path(), false, &interrupt, &printer).unwrap_err();
        assert_eq!(error.downcast_ref::<Hint>().unwrap().0, "add --checkpoint-dir a/x");
        assert!(error.root_cause().to_string().ends_with(": a/x, a/y"));
    }

    #[test]
    fn the_question_is_asked_until_a_number_comes() {
        let (printer, several) = (Printer::new(true, false), ["a", "b"].map(PathBuf::from));
        let pick = |mut answers: &[u8]| pick(Path::new(""), &several, &mut answers, &printer);
        assert_eq!(pick(b"0\n3\nb\n\n 2 \n").unwrap(), 1);
        assert!(pick(b"3\n").is_err());
    }
}

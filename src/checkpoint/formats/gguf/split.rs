//! Opens a checkpoint in several GGUF files, as `llama-gguf-split` writes it: `NAME-00001-of-00003.gguf` and so on.
//!
//! The first file holds the metadata; every file holds some of the tensors. Each file has its number from zero
//! (`split.no`), the number of files (`split.count`) and the number of tensors in all files (`split.tensors.count`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::cursor::Value;
use super::read::Gguf;
use crate::checkpoint::Error;
use crate::checkpoint::tensors::MOST_TENSORS;
use crate::system::files;

/// Maximum number of files. The largest published checkpoints have a few dozen.
const MOST_PARTS: usize = 1 << 10;

/// A part's file name, `STEM-NUMBER-of-COUNT.gguf`.
#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    stem: &'a str,
    number: usize,
    count: usize,
}

impl<'a> Name<'a> {
    fn of(path: &'a Path) -> Option<Self> {
        let digits = |text: &str| match text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit()) {
            true => text.parse().ok(),
            false => None,
        };
        let (rest, count) = path.file_name()?.to_str()?.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        Some(Self { stem, number: digits(number)?, count: digits(count)? })
    }

    /// Returns the path of part `number` in the folder of `path`.
    fn sibling(&self, path: &Path, number: usize) -> PathBuf {
        path.with_file_name(format!("{}-{number:05}-of-{:05}.gguf", self.stem, self.count))
    }
}

/// Returns the first of `files`, which are sorted, if they are all parts of one checkpoint.
pub fn first_of_one<'a>(files: &'a [PathBuf]) -> Option<&'a PathBuf> {
    let set = |file: &'a PathBuf| Name::of(file).map(|name| (name.stem, name.count));
    let first = files.first()?;
    let one = set(first)?;
    files.iter().all(|file| set(file) == Some(one)).then_some(first)
}

impl Gguf {
    /// Opens and checks a file, and all other parts if it is one of several. Tensors are memory-mapped, not read.
    ///
    /// # Errors
    /// A file breaks the format, repeats a name or holds an unknown tensor type, or a part is missing.
    pub fn open(path: &Path) -> Result<Self, Error> {
        open_all(Self::open_one(path)?)
    }
}

/// Opens the checkpoint that `part` belongs to. Returns `part` itself if it is the only file.
fn open_all(part: Gguf) -> Result<Gguf, Error> {
    let count = number(&part, "split.count")?.unwrap_or(1);
    if count <= 1 {
        return Ok(part);
    }
    if count > MOST_PARTS {
        let rule = format!("is one of {count} parts, at most {MOST_PARTS} are read");
        return Err(Error::malformed(&part.path, rule));
    }
    let path = part.path.clone();
    let Some(name) = Name::of(&path).filter(|name| name.count == count) else {
        let rule =
            format!("is one of {count} parts, but its name does not end with -00001-of-{count:05}.gguf");
        return Err(Error::malformed(&path, rule));
    };
    let mut whole: Option<Gguf> = None;
    for n in 1..=count {
        let file = name.sibling(&path, n);
        if !files::exists(&file).map_err(Error::read(&file))? {
            let missing = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(Error::malformed(
                &path,
                format!("is one of {count} parts, of which {missing} is missing"),
            ));
        }
        let part = Gguf::open_one(&file)?;
        check_number(&part, n, count)?;
        match &mut whole {
            None => whole = Some(part),
            Some(whole) => {
                if whole.tensors.len() + part.tensors.len() > MOST_TENSORS {
                    let rule = format!("has more than {MOST_TENSORS} tensors in {n} parts");
                    return Err(Error::malformed(&path, rule));
                }
                whole.tensors.extend(part.tensors);
                whole.parts.extend(part.parts);
            }
        }
    }
    // Always `Some`: `count` is at least two.
    let Some(whole) = whole else { return Ok(part) };
    check_tensors(&whole)?;
    Ok(whole)
}

fn number(part: &Gguf, key: &str) -> Result<Option<usize>, Error> {
    part.typed(key, "a whole number", Value::as_usize)
}

fn check_number(part: &Gguf, n: usize, count: usize) -> Result<(), Error> {
    let found = (number(part, "split.no")?, number(part, "split.count")?);
    match found == (Some(n - 1), Some(count)) {
        true => Ok(()),
        false => {
            let rule = format!(
                "does not say that it is part {n} of {count} (split.no {}, split.count {count})",
                n - 1
            );
            Err(Error::malformed(&part.path, rule))
        }
    }
}

/// Checks the number of tensors and that no name is repeated.
fn check_tensors(whole: &Gguf) -> Result<(), Error> {
    let found = whole.tensors.len();
    if let Some(expected) = number(whole, "split.tensors.count")?.filter(|expected| *expected != found) {
        let rule = format!("split.tensors.count is {expected}, the parts hold {found} tensors");
        return Err(Error::malformed(&whole.path, rule));
    }
    let mut names = BTreeSet::new();
    match whole.tensors.iter().find(|(name, _)| !names.insert(name)) {
        Some((name, _)) => Err(Error::DuplicateTensor { path: whole.path.clone(), name: name.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::File;
    use super::*;

    type Parts<'a> = Vec<(&'a str, File)>;

    /// Returns part `n` of `count` with one tensor, and `n` as the metadata entry `name`.
    fn part(n: u64, count: u64, total: u64, tensor: &str) -> File {
        let file =
            File::new(1, 4).string("split.no").u32(10).u64(n - 1).string("split.count").u32(10).u64(count);
        let file = file.string("split.tensors.count").u32(10).u64(total);
        file.string("name").u32(8).string(&n.to_string()).tensor(tensor, &[8], 0, 0).padded(32)
    }

    fn folder(parts: &[(&str, File)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, file) in parts {
            std::fs::write(folder.path().join(name), file.bytes_so_far()).unwrap();
        }
        folder
    }

    const NAMES: [&str; 3] =
        ["a-1-00001-of-00003.gguf", "a-1-00002-of-00003.gguf", "a-1-00003-of-00003.gguf"];

    fn three(change: impl FnOnce(&mut Parts)) -> tempfile::TempDir {
        let tensors = ["x", "y", "z"];
        let mut parts = (0..3).map(|i| (NAMES[i], part(i as u64 + 1, 3, 3, tensors[i]))).collect();
        change(&mut parts);
        folder(&parts)
    }

    #[track_caller]
    fn assert_refused(folder: &tempfile::TempDir, name: &str, part: &str) {
        let error = Gguf::open(&folder.path().join(name)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn any_part_opens_all_with_the_metadata_of_the_first() {
        let folder = three(|_| ());
        for name in NAMES {
            let gguf = Gguf::open(&folder.path().join(name)).unwrap();
            assert_eq!(gguf.path(), folder.path().join(NAMES[0]));
            assert_eq!(gguf.get("name").and_then(Value::as_str), Some("1"));
            assert!(["x", "y", "z"].iter().all(|name| gguf.tensor(name).is_some()));
        }
    }

    #[test]
    fn a_missing_part_is_named() {
        let folder = three(|parts| drop(parts.remove(1)));
        assert_refused(&folder, NAMES[0], "is one of 3 parts, of which a-1-00002-of-00003.gguf is missing");
        assert_refused(&folder, NAMES[2], "is one of 3 parts, of which a-1-00002-of-00003.gguf is missing");
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let refused = |change: &dyn Fn(&mut Parts), rule: &str| {
            assert_refused(&three(change), NAMES[0], rule);
        };
        refused(&|parts| parts[1].1 = part(3, 3, 3, "y"), "does not say that it is part 2 of 3");
        refused(&|parts| parts[1].1 = part(2, 4, 3, "y"), "does not say that it is part 2 of 3");
        refused(&|parts| parts[1].1 = File::new(0, 0).padded(0), "does not say that it is part 2 of 3");
        refused(&|parts| parts[1].1 = part(2, 3, 3, "x"), "two tensors named x");
        refused(&|parts| parts[0].1 = part(1, 3, 7, "x"), "split.tensors.count is 7, the parts hold 3");
        refused(&|parts| parts[0].1 = part(1, 1 << 40, 3, "x"), "at most 1024 are read");
        assert_refused(&folder(&[("a.gguf", part(1, 3, 3, "x"))]), "a.gguf", "its name does not end with");
    }

    #[test]
    fn a_folder_of_parts_is_one_checkpoint_and_of_two_sets_is_not() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(first_of_one(&paths(&NAMES)), Some(&PathBuf::from(NAMES[0])));
        assert_eq!(first_of_one(&paths(&[NAMES[0], "b-00002-of-00003.gguf"])), None);
        assert_eq!(first_of_one(&paths(&["a.gguf", "b.gguf"])), None);
        assert_eq!(Name::of(Path::new("a-001-of-003.gguf")), None);
    }
}

//! A conversion that was once found to be of its originals is believed again for as long as no file of either has changed.
//!
//! To find it out takes the originals opened, their tokenizer written anew and compared: two to three times what a run that
//! names the conversion takes to begin. So what was found is kept in a hidden file of the conversion, with a [`Stamp`] of
//! every file that it depends on: size, times, number, and the first bytes. Anything that differs, or that cannot be read,
//! leads to the whole check.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoint::open::Checkpoint;
use crate::json;
use crate::quant::Scheme;
use crate::system::files::{self, Folder, Replacement};

/// The file's name. It is hidden: no listing of a checkpoint's folder looks at such files.
const FILE: &str = ".mist-checked.json";

/// The largest such file that is read, in bytes.
const LARGEST: u64 = 4 << 20;

/// The version of the check and of this file: one with another number is not believed.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "/1");

/// Files younger than this when a check begins may change once more without a change of their times: some file systems count
/// times in steps of two seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// Bytes at a file's beginning that are compared.
const HEAD: u64 = 4 << 10;

/// What a check found out about.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: String,
    scheme: Scheme,
    /// The original that was named, if it is a file and not a folder.
    file: Option<String>,
    originals: Listing,
    conversion: Listing,
}

/// What lies in a folder.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// Everything by name, but hidden files; whether it is a folder.
    names: BTreeMap<String, bool>,
    files: BTreeMap<String, Stamp>,
}

/// What tells a file from another version of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stamp {
    bytes: u64,
    /// Since 1970, when the bytes were changed.
    modified: Duration,
    /// What nobody can set back, where the system has it.
    identity: Option<Identity>,
    /// The SHA-256 of its first bytes.
    head: String,
}

/// A file to its system.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    /// Seconds and nanoseconds since 1970, when anything about the file was changed.
    changed: (i64, i64),
    /// Numbers of its disk, and of the file there.
    number: (u64, u64),
}

/// Whether the conversion in `folder` was found to be that of `path` to `scheme`, and nothing has changed since.
pub fn is_known(path: &Path, folder: &Path, scheme: Scheme) -> bool {
    let Ok(bytes) = files::read(&folder.join(FILE), LARGEST) else { return false };
    let Ok(record) = json::typed::<Record>(&bytes, json::SETTINGS) else { return false };
    let Record { version, scheme: known, file, originals, conversion } = record;
    version == VERSION
        && known == scheme
        && file == file_name(path)
        && originals.is_in(originals_of(path), path.is_dir())
        && conversion.is_in(folder, true)
}

/// Keeps in `folder` that its conversion is that of `path` to `scheme`, which `checkpoint` was opened from, as a check that
/// began at `since` has found out; unless a file has changed lately. Beneath `base` no link is followed. Where nothing can be
/// written the next run checks again.
pub fn keep(
    path: &Path,
    checkpoint: &Checkpoint,
    folder: &Path,
    base: Option<&Path>,
    scheme: Scheme,
    since: SystemTime,
) {
    let record = || -> io::Result<Record> {
        let originals = originals_of(path);
        let names = checkpoint.files.iter().filter_map(|file| Some(file.file_name()?.to_str()?.to_owned()));
        // A GGUF file is its own tokenizer and its own description.
        let mut originals = match checkpoint.gguf {
            Some(_) => Listing::of(originals, names)?,
            None => Listing::of_all(originals)?,
        };
        if !path.is_dir() {
            originals.names.clear();
        }
        let conversion = Listing::of_all(folder)?;
        Ok(Record { version: VERSION.into(), scheme, file: file_name(path), originals, conversion })
    };
    let Ok(record) = record() else { return };
    let settled = since.checked_sub(SETTLED).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let mut stamps = record.originals.files.values().chain(record.conversion.files.values());
    let is_settled = |stamp: &Stamp| settled.is_some_and(|settled| stamp.newest() < settled);
    if !stamps.all(is_settled) {
        return;
    }
    let opened = match base {
        Some(base) => Folder::make_in(base, folder),
        None => Folder::open(folder),
    };
    let written = opened
        .and_then(|folder| Replacement::in_folder(&folder, FILE))
        .and_then(|file| file.finish_with(&serde_json::to_vec(&record)?));
    // The next run checks again.
    let _ = written;
}

/// The folder that the originals lie in.
fn originals_of(path: &Path) -> &Path {
    match path.parent() {
        _ if path.is_dir() => path,
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The name of a path that is a file.
fn file_name(path: &Path) -> Option<String> {
    let name = (!path.is_dir()).then(|| path.file_name()).flatten();
    name.map(|name| name.to_string_lossy().into_owned())
}

impl Listing {
    /// A folder with all of its files but hidden ones.
    fn of_all(folder: &Path) -> io::Result<Self> {
        let names = names(folder)?;
        let files = names.iter().filter(|(_, is_folder)| !**is_folder).map(|(name, _)| name.clone());
        Self::of(folder, files)
    }

    /// A folder with some of its files.
    fn of(folder: &Path, files: impl Iterator<Item = String>) -> io::Result<Self> {
        let stamped = |name: String| Stamp::of(&folder.join(&name)).map(|stamp| (name, stamp));
        Ok(Self { names: names(folder)?, files: files.map(stamped).collect::<io::Result<_>>()? })
    }

    /// Whether this is what `folder` holds now. Sizes and times come first: they cost less than the beginnings of files.
    fn is_in(&self, folder: &Path, with_names: bool) -> bool {
        let is_same = |(name, stamp): (&String, &Stamp)| {
            Stamp::of(&folder.join(name)).is_ok_and(|found| found == *stamp)
        };
        (!with_names || names(folder).is_ok_and(|names| names == self.names))
            && self.files.iter().all(is_same)
    }
}

/// What a folder holds but hidden files, and whether each is a folder.
fn names(folder: &Path) -> io::Result<BTreeMap<String, bool>> {
    let mut names = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| io::ErrorKind::InvalidData)?;
        if !name.starts_with('.') {
            names.insert(name, entry.path().is_dir());
        }
    }
    Ok(names)
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let mut head = Vec::new();
        let file = files::open(path)?;
        let data = file.metadata()?;
        file.take(HEAD).read_to_end(&mut head)?;
        let modified = data.modified()?.duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let head = Sha256::digest(&head).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { bytes: data.len(), modified, identity: identity(&data), head })
    }

    /// When the file was changed last, since 1970.
    fn newest(&self) -> Duration {
        let changed = self.identity.as_ref().and_then(|Identity { changed: (seconds, nanos), .. }| {
            Some(Duration::new(u64::try_from(*seconds).ok()?, u32::try_from(*nanos).ok()?))
        });
        changed.map_or(self.modified, |changed| changed.max(self.modified))
    }
}

#[cfg(unix)]
fn identity(data: &Metadata) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    Some(Identity { changed: (data.ctime(), data.ctime_nsec()), number: (data.dev(), data.ino()) })
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<Identity> {
    None
}

// The lint knows functions marked as tests, not their helpers; a helper that fails here is a failed test.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::runtime::{Silent, writing};

    /// A checkpoint with a conversion that was checked; whether that is still believed after `change`.
    fn is_known_after(change: impl FnOnce(&Path)) -> bool {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/tiny-mistral");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for entry in fs::read_dir(fixture).unwrap() {
            let file = entry.unwrap().path();
            fs::copy(&file, path.join(file.file_name().unwrap())).unwrap();
        }
        let checkpoint = Checkpoint::open_original(path).unwrap();
        let kept = path.join("q8_0");
        writing::quantize(&checkpoint, &kept, Scheme::Q8_0, false, &mut Silent).unwrap();
        // What was just written is not believed: it may change once more in the same tick of a clock.
        keep(path, &checkpoint, &kept, Some(path), Scheme::Q8_0, SystemTime::now());
        assert!(!is_known(path, &kept, Scheme::Q8_0));
        let later = SystemTime::now() + 2 * SETTLED;
        keep(path, &checkpoint, &kept, Some(path), Scheme::Q8_0, later);
        assert!(is_known(path, &kept, Scheme::Q8_0) && !is_known(path, &kept, Scheme::Q4K));
        change(path);
        is_known(path, &kept, Scheme::Q8_0)
    }

    /// Other bytes of the same size, at the end, with the time of before.
    fn change_end(file: &Path) {
        let time = fs::metadata(file).unwrap().modified().unwrap();
        let mut bytes = fs::read(file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(file, bytes).unwrap();
        File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn a_conversion_is_believed_until_a_file_changes() {
        assert!(is_known_after(|_| ()));
        assert!(is_known_after(|path| fs::write(path.join(".hidden"), "x").unwrap()));
        for name in ["config.json", "model.safetensors", "tokenizer.json", "q8_0/mist.safetensors"] {
            let file = |path: &Path| path.join(name);
            assert!(!is_known_after(|path| fs::remove_file(file(path)).unwrap()), "{name}");
            let longer = |path: &Path| {
                let bytes = [fs::read(file(path)).unwrap(), b" ".to_vec()].concat();
                fs::write(file(path), bytes).unwrap();
            };
            assert!(!is_known_after(longer), "{name}");
            let touched = |path: &Path| {
                let file = File::options().write(true).open(file(path)).unwrap();
                file.set_modified(SystemTime::now() + SETTLED).unwrap();
            };
            assert!(!is_known_after(touched), "{name}");
            // Another file of the same bytes and times.
            if cfg!(unix) {
                assert!(!is_known_after(|path| change_end(&file(path))), "{name}");
                let replaced = |path: &Path| {
                    let time = fs::metadata(file(path)).unwrap().modified().unwrap();
                    fs::copy(file(path), path.join(".new")).unwrap();
                    let new = File::options().write(true).open(path.join(".new")).unwrap();
                    new.set_modified(time).unwrap();
                    fs::rename(path.join(".new"), file(path)).unwrap();
                };
                assert!(!is_known_after(replaced), "{name}");
            }
        }
        for new in ["chat_template.jinja", "mist.json", "q8_0/tokenizer.model"] {
            assert!(!is_known_after(|path| fs::write(path.join(new), "{}").unwrap()), "{new}");
        }
        assert!(!is_known_after(|path| fs::create_dir(path.join("q4_k")).unwrap()));
        assert!(!is_known_after(|path| fs::write(path.join("q8_0").join(FILE), "{}").unwrap()));
    }
}

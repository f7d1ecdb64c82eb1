//! The record that a conversion matches its originals, valid as long as no file of either changes.
//!
//! The full check opens the originals, then writes and compares their tokenizer. It takes two to three times as long as
//! starting a run by the path of the conversion. Its result is therefore recorded in a hidden file of the conversion, with
//! a [`Stamp`] of every file that it depends on: size, times, inode number, and the first bytes. A difference, or a file
//! that cannot be read, leads to a full check.

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

/// The name of the record's file. Listings of a checkpoint's folder skip hidden files.
const FILE: &str = ".mist-checked.json";

/// Size limit for reading the record, in bytes.
const LARGEST: u64 = 4 << 20;

/// The version of the check and of the record. A record of another version is ignored.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "/1");

/// Age that a file must have when the check begins. A younger file may change again without a change of its times, as
/// some file systems store times in steps of two seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// Number of bytes at the beginning of a file that are hashed.
const HEAD: u64 = 4 << 10;

/// The record of a successful check.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: String,
    scheme: Scheme,
    /// The name of the original; `None` if it is a folder.
    file: Option<String>,
    originals: Listing,
    conversion: Listing,
}

/// The contents of a folder.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// Whether each entry is a folder, by name, without hidden entries.
    names: BTreeMap<String, bool>,
    files: BTreeMap<String, Stamp>,
}

/// The properties that distinguish a file from a changed version of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stamp {
    bytes: u64,
    /// Time of the last change of the bytes, since 1970.
    modified: Duration,
    /// The properties that no program can set back; `None` if the system has none.
    identity: Option<Identity>,
    /// The SHA-256 of the first [`HEAD`] bytes.
    head: String,
}

/// The identity of a file in its file system.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    /// Time of the last change of the file or its metadata (ctime), in seconds and nanoseconds since 1970.
    changed: (i64, i64),
    /// The device number and the inode number.
    number: (u64, u64),
}

/// Returns whether a valid record says that `folder` holds the conversion of `path` to `scheme`.
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

/// Records in `folder` that it holds the conversion of `path` to `scheme`, unless a file has changed recently.
///
/// `checkpoint` is the one opened from `path`; `since` is the time when the check began. Follows no links below `base`.
/// If the record cannot be written, the next run does a full check.
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
        // A GGUF file contains the tokenizer and the description.
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
    // Without a record the next run does a full check.
    let _ = written;
}

/// Returns the folder of the originals.
fn originals_of(path: &Path) -> &Path {
    match path.parent() {
        _ if path.is_dir() => path,
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns the file name of a path; `None` for a folder.
fn file_name(path: &Path) -> Option<String> {
    let name = (!path.is_dir()).then(|| path.file_name()).flatten();
    name.map(|name| name.to_string_lossy().into_owned())
}

impl Listing {
    /// Lists a folder, with stamps of all files except hidden ones.
    fn of_all(folder: &Path) -> io::Result<Self> {
        let names = names(folder)?;
        let files = names.iter().filter(|(_, is_folder)| !**is_folder).map(|(name, _)| name.clone());
        Self::of(folder, files)
    }

    /// Lists a folder, with stamps of the given files.
    fn of(folder: &Path, files: impl Iterator<Item = String>) -> io::Result<Self> {
        let stamped = |name: String| Stamp::of(&folder.join(&name)).map(|stamp| (name, stamp));
        Ok(Self { names: names(folder)?, files: files.map(stamped).collect::<io::Result<_>>()? })
    }

    /// Returns whether the stamps, and the names if `with_names`, match the current contents of `folder`.
    fn is_in(&self, folder: &Path, with_names: bool) -> bool {
        let is_same = |(name, stamp): (&String, &Stamp)| {
            Stamp::of(&folder.join(name)).is_ok_and(|found| found == *stamp)
        };
        (!with_names || names(folder).is_ok_and(|names| names == self.names))
            && self.files.iter().all(is_same)
    }
}

/// Returns whether each entry of a folder is itself a folder, by name, without hidden entries.
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

    /// Returns the time of the file's last change, since 1970.
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

// The lint exempts functions marked as tests, but not their helpers. A panic in a helper fails its test.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::runtime::{Silent, writing};

    /// Checks a conversion, applies `change` to the checkpoint, and returns whether the record is still valid.
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
        // A file that was just written may change again within the same clock tick, so nothing is recorded.
        keep(path, &checkpoint, &kept, Some(path), Scheme::Q8_0, SystemTime::now());
        assert!(!is_known(path, &kept, Scheme::Q8_0));
        let later = SystemTime::now() + 2 * SETTLED;
        keep(path, &checkpoint, &kept, Some(path), Scheme::Q8_0, later);
        assert!(is_known(path, &kept, Scheme::Q8_0) && !is_known(path, &kept, Scheme::Q4K));
        change(path);
        is_known(path, &kept, Scheme::Q8_0)
    }

    /// Changes the last byte of a file and keeps its size and time.
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
            // A changed byte with the old time, and a copy with the same bytes and time.
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

//! The record that a conversion matches its originals, valid as long as no file of either changes.
//!
//! The full check opens the originals, then writes and compares their tokenizer. It takes two to three times as long as
//! starting a run by the path of the conversion. Its result is therefore recorded in a hidden file of the conversion: a
//! digest of the state of both folders, taken before the check and unchanged after it. Any other state leads to a full
//! check.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::checkpoint::layouts::mist::manifest;
use crate::checkpoint::open::Checkpoint;
use crate::quant::Scheme;
use crate::store::{CHECKED, is_gguf};
use crate::system::files::{self, Folder, Replacement};

/// The version of the check. Raise it when the schemes of a mix, the sidecar files or the contents of a state change: a
/// record of another version is ignored.
const VERSION: u32 = 2;

/// Age that a file must have when the check begins. A younger file may change again without a change of its times, as
/// some file systems store times in steps of two seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// Number of bytes at the beginning of a file that are hashed.
const HEAD: u64 = 4 << 10;

/// A check that a folder holds the conversion of a checkpoint, with the state of the files before it.
pub struct Check<'a> {
    /// The path of the checkpoint.
    path: &'a Path,
    /// The folder of the conversion.
    pub folder: PathBuf,
    scheme: Scheme,
    began: SystemTime,
    state: State,
}

/// The state of the files of a checkpoint and of a conversion.
#[derive(Clone, Debug)]
struct State {
    digest: Sha256,
    /// Time of the last change of any file, since 1970.
    newest: Duration,
}

impl<'a> Check<'a> {
    /// Begins a check of each folder, which has to happen before any file is read. Leaves out folders if they or the
    /// properties of a file cannot be read.
    pub fn begin(path: &'a Path, folders: Vec<PathBuf>, scheme: Scheme) -> Vec<Self> {
        let began = SystemTime::now();
        if folders.is_empty() {
            return Vec::new();
        }
        // The originals are hashed once for all folders.
        let Ok(originals) = State::of_originals(path, scheme) else { return Vec::new() };
        let check = |folder: PathBuf| {
            let state = originals.clone().and(&folder).ok()?;
            Some(Self { path, folder, scheme, began, state })
        };
        folders.into_iter().filter_map(check).collect()
    }

    /// Returns whether an earlier check succeeded in the same state.
    pub fn is_remembered(&self) -> bool {
        let known = self.state.text();
        files::read(&self.folder.join(CHECKED), known.len() as u64)
            .is_ok_and(|bytes| bytes == known.as_bytes())
    }

    /// Records that the check succeeded for `checkpoint`, unless the state may have changed since it began.
    ///
    /// Follows no links below `base`. If the record cannot be written, the next run does a full check.
    pub fn remember(&self, checkpoint: &Checkpoint, base: Option<&Path>) {
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let is_settled = self.state.newest + SETTLED < began;
        let after = State::of_originals(self.path, self.scheme).and_then(|state| state.and(&self.folder));
        let is_same = after.is_ok_and(|after| after.text() == self.state.text());
        // An index may name a hidden file of weights, which the state does not include.
        let is_seen =
            checkpoint.files.iter().all(|file| file.file_name().is_some_and(|name| !is_hidden(name)));
        if !(is_settled && is_same && is_seen) {
            return;
        }
        let opened = match base {
            Some(base) => Folder::make_in(base, &self.folder),
            None => Folder::open(&self.folder),
        };
        // Without a record the next run does a full check.
        let _ = opened
            .and_then(|folder| Replacement::in_folder(&folder, CHECKED))
            .and_then(|file| file.finish_with(self.state.text().as_bytes()));
    }
}

impl State {
    /// Returns the state of a checkpoint's files.
    fn of_originals(path: &Path, scheme: Scheme) -> io::Result<Self> {
        let mut state = Self { digest: Sha256::new(), newest: Duration::ZERO };
        state.add(env!("CARGO_PKG_VERSION").as_bytes());
        state.add(&VERSION.to_le_bytes());
        state.add(&manifest::VERSION.to_le_bytes());
        state.add(scheme.name().as_bytes());
        if path.is_dir() {
            state.add_folder(path, |_| true)?;
        } else {
            // The other shards of a GGUF checkpoint are GGUF files as well.
            let name = path.file_name().unwrap_or_default();
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            state.add(name.as_encoded_bytes());
            state.add_folder(parent.unwrap_or(Path::new(".")), |other| {
                other == name || is_gguf(Path::new(other))
            })?;
        }
        Ok(state)
    }

    /// Adds the files of a conversion.
    fn and(mut self, folder: &Path) -> io::Result<Self> {
        self.add_folder(folder, |_| true)?;
        Ok(self)
    }

    /// Adds the entries of a folder for which `counts` returns `true`, without hidden ones: locks, partial files and the
    /// record.
    fn add_folder(&mut self, folder: &Path, counts: impl Fn(&OsStr) -> bool) -> io::Result<()> {
        let entries = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
        let mut names = entries.collect::<io::Result<Vec<_>>>()?;
        names.retain(|name| !is_hidden(name) && counts(name));
        names.sort();
        self.add(&names.len().to_le_bytes());
        for name in names {
            self.add(name.as_encoded_bytes());
            self.add_entry(&folder.join(name))?;
        }
        Ok(())
    }

    /// Adds a file, a folder without its contents, or a link with its target.
    ///
    /// A file that cannot be read is added without its bytes, because a check that needs them fails.
    fn add_entry(&mut self, path: &Path) -> io::Result<()> {
        let own = path.symlink_metadata()?;
        let target = path.metadata().ok();
        for data in [Some(&own), target.as_ref()] {
            match data {
                Some(data) if data.is_dir() => self.add(b"folder"),
                Some(data) => self.add_times(data)?,
                None => self.add(b"nowhere"),
            }
        }
        if target.is_some_and(|data| data.is_file()) {
            let mut head = Vec::new();
            let read = files::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
            self.add(if read.is_ok() { b"read" } else { b"unreadable" });
            self.add(&head);
        }
        Ok(())
    }

    /// Adds the properties that distinguish a file from a changed version of it. No program can set back the ctime.
    #[cfg(unix)]
    fn add_times(&mut self, data: &Metadata) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        let changed = (data.ctime(), data.ctime_nsec());
        for number in [changed.0, changed.1, data.mtime(), data.mtime_nsec()] {
            self.add(&number.to_le_bytes());
        }
        for number in [data.len(), data.dev(), data.ino()] {
            self.add(&number.to_le_bytes());
        }
        let seconds = u64::try_from(changed.0).map_err(io::Error::other)?;
        let nanos = u32::try_from(changed.1).map_err(io::Error::other)?;
        self.newest = self.newest.max(Duration::new(seconds, nanos));
        Ok(())
    }

    /// Returns an error, so that nothing is recorded: systems other than Unix have no ctime.
    #[cfg(not(unix))]
    fn add_times(&mut self, _: &Metadata) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn add(&mut self, bytes: &[u8]) {
        self.digest.update(bytes.len().to_le_bytes());
        self.digest.update(bytes);
    }

    /// Returns the digest in hexadecimal.
    fn text(&self) -> String {
        self.digest.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

// The lint exempts functions marked as tests, but not their helpers. A panic in a helper fails its test.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::quant::mix::{Mix, Role};
    use crate::quant::quantize::WRITTEN;
    use crate::runtime::{Silent, writing};

    /// Creates a checkpoint with a conversion to q8_0.
    fn converted() -> (tempfile::TempDir, Checkpoint) {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/tiny-mistral");
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(fixture).unwrap() {
            let file = entry.unwrap().path();
            fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        let checkpoint = Checkpoint::open_original(folder.path()).unwrap();
        writing::quantize(&checkpoint, &folder.path().join("q8_0"), Scheme::Q8_0, false, &mut Silent)
            .unwrap();
        (folder, checkpoint)
    }

    fn begin(path: &Path, scheme: Scheme) -> Check<'_> {
        Check::begin(path, vec![path.join("q8_0")], scheme).pop().unwrap()
    }

    /// Begins a check at a time when all files are old enough.
    fn begin_later(path: &Path) -> Check<'_> {
        Check { began: SystemTime::now() + 2 * SETTLED, ..begin(path, Scheme::Q8_0) }
    }

    /// Checks a conversion, applies `change`, and returns whether the record is still valid.
    fn is_known_after(change: impl FnOnce(&Path)) -> bool {
        let (folder, checkpoint) = converted();
        let path = folder.path();
        // A file that was just written may change again within the same clock tick, so nothing is recorded.
        begin(path, Scheme::Q8_0).remember(&checkpoint, Some(path));
        assert!(!begin(path, Scheme::Q8_0).is_remembered());
        begin_later(path).remember(&checkpoint, Some(path));
        assert!(begin(path, Scheme::Q8_0).is_remembered() && !begin(path, Scheme::Q4K).is_remembered());
        change(path);
        begin(path, Scheme::Q8_0).is_remembered()
    }

    /// Regression: the state was taken after the check, so that a change during the check was never noticed.
    #[test]
    fn what_changes_during_a_check_is_not_remembered() {
        let changes: [fn(&Path); 3] = [
            |path| fs::remove_file(path.join("tokenizer_config.json")).unwrap(),
            |path| fs::write(path.join("chat_template.jinja"), "x").unwrap(),
            |path| fs::rename(path.join("q8_0/tokenizer.json"), path.join("q8_0/moved.json")).unwrap(),
        ];
        for change in changes {
            let (folder, checkpoint) = converted();
            let check = begin_later(folder.path());
            change(folder.path());
            check.remember(&checkpoint, None);
            assert!(!check.is_remembered() && !begin(folder.path(), Scheme::Q8_0).is_remembered());
        }
    }

    /// Regression: the originals were hashed for each folder that may hold the conversion.
    #[test]
    fn several_folders_are_checked_like_each_alone() {
        let (folder, _) = converted();
        let path = folder.path();
        let folders = vec![path.join("q8_0"), path.join("nothing"), path.to_path_buf()];
        let together: Vec<_> = Check::begin(path, folders.clone(), Scheme::Q8_0);
        let alone = folders.into_iter().flat_map(|folder| Check::begin(path, vec![folder], Scheme::Q8_0));
        let states = |check: Check<'_>| (check.folder, check.state.text());
        let (together, alone): (Vec<_>, Vec<_>) =
            (together.into_iter().map(states).collect(), alone.map(states).collect());
        assert_eq!((together.len(), &together), (2, &alone));
    }

    /// Regression: a link that was changed to another file with an old time was not noticed.
    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_elsewhere_is_seen() {
        let (folder, checkpoint) = converted();
        let config = folder.path().join("tokenizer_config.json");
        for name in [".a", ".b"] {
            fs::copy(&config, folder.path().join(name)).unwrap();
        }
        let link = |to: &str| {
            fs::remove_file(&config).unwrap();
            std::os::unix::fs::symlink(to, &config).unwrap();
        };
        link(".a");
        begin_later(folder.path()).remember(&checkpoint, None);
        assert!(begin(folder.path(), Scheme::Q8_0).is_remembered());
        link(".b");
        assert!(!begin(folder.path(), Scheme::Q8_0).is_remembered());
    }

    /// Regression: a file with a time in the future, a broken link or a name that is not UTF-8 kept every check from being
    /// recorded.
    #[cfg(unix)]
    #[test]
    fn files_that_the_check_does_not_read_do_not_keep_it_from_being_remembered() {
        use std::os::unix::ffi::OsStrExt;
        let (folder, checkpoint) = converted();
        let path = folder.path();
        let readme = File::create(path.join("README.md")).unwrap();
        readme.set_modified(SystemTime::now() + 1000 * SETTLED).unwrap();
        std::os::unix::fs::symlink("nowhere", path.join("link")).unwrap();
        // Some file systems refuse such names.
        let _ = File::create(path.join(OsStr::from_bytes(b"\xff")));
        begin_later(path).remember(&checkpoint, None);
        assert!(begin(path, Scheme::Q8_0).is_remembered());
    }

    /// If this digest changes, conversions change, and `VERSION` has to be raised.
    #[test]
    fn what_a_conversion_is_has_a_version() {
        let mut digest = Sha256::new();
        for scheme in WRITTEN {
            for (layers, experts, layer) in (0..32).flat_map(|layer| [(32, 0, layer), (80, 8, layer)]) {
                let mix = Mix {
                    asked: scheme,
                    pure: false,
                    layers,
                    experts,
                    grouped_heads: true,
                    tied_head: false,
                };
                for role in [Role::Embedding, Role::Head, Role::Value, Role::AttentionOutput, Role::Down] {
                    digest.update(mix.scheme(role, layer, 4096).name());
                }
            }
        }
        // The conversion of a GGUF file includes a new `tokenizer.json`.
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/mixtral.gguf");
        let checkpoint = Checkpoint::open_original(&fixture).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("q4_k");
        writing::quantize(&checkpoint, &kept, Scheme::Q4K, false, &mut Silent).unwrap();
        let mut files: Vec<_> = fs::read_dir(kept).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|end| end != "safetensors"));
        files.sort();
        for file in &files {
            digest.update(fs::read(file).unwrap());
        }
        let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(files.len() > 1);
        assert_eq!((VERSION, &digest[..16]), (2, "c8c2b07d19d3791c"));
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
        assert!(!is_known_after(|path| fs::write(path.join("q8_0").join(CHECKED), "{}").unwrap()));
    }
}

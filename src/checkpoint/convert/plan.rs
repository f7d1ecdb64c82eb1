//! A conversion: what will be written, made before anything is; then the writing, and the proof that what was written
//! is what the originals give.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::fs;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

use bytes::Bytes;

use super::output::Output;
pub use super::sidecar::Content;
use crate::checkpoint::error::Error;
use crate::quant::Scheme;
use crate::system::files::{
    self, Folder, InLargePages, Replacement, abandoned, delete_abandoned, free_space,
};
use crate::system::threads::{self, NoThread};

/// Runs of bytes that wait for the disk while the next ones are made.
const WAITING: usize = 4;

/// Takes a run of bytes; its error ends what makes them.
pub(in crate::checkpoint) type Sink<'a> = dyn FnMut(Bytes) -> io::Result<()> + 'a;

/// A file of weights, as the bytes that it will have.
pub(in crate::checkpoint) trait Payload: Debug {
    /// Where it will be.
    fn path(&self) -> &Path;
    /// Bytes.
    fn size(&self) -> u64;
    /// The tensors in it.
    fn tensors(&self) -> &[Output];
    /// Gives all of its bytes to `sink`, in their order, the same each time.
    ///
    /// # Errors
    /// A weight that its new type cannot hold; what `sink` returns.
    fn produce(&self, sink: &mut Sink<'_>) -> io::Result<()>;
}

/// The small files that go with a converted checkpoint: the tokenizer's.
#[derive(Debug, Default)]
pub struct SidecarFiles {
    /// Those that are written, by name.
    pub files: Vec<(String, Content)>,
    /// Names of those that must not be there: they would be taken for this checkpoint's.
    pub absent: Vec<String>,
}

impl From<Vec<(String, Vec<u8>)>> for SidecarFiles {
    fn from(files: Vec<(String, Vec<u8>)>) -> Self {
        let files = files.into_iter().map(|(name, bytes)| (name, bytes.into()));
        Self { files: files.collect(), absent: Vec::new() }
    }
}

impl SidecarFiles {
    /// What of them a plan for `folder` writes, and what is stale there.
    pub(in crate::checkpoint) fn placed(self, folder: &Path) -> (Vec<(PathBuf, Content)>, Vec<PathBuf>) {
        let files = self.files.into_iter().map(|(name, content)| (folder.join(name), content));
        (files.collect(), self.absent.iter().map(|name| folder.join(name)).collect())
    }
}

/// What a conversion will write.
#[derive(Debug)]
pub struct Plan {
    pub(in crate::checkpoint) payloads: Vec<Box<dyn Payload>>,
    /// Small files, the one that makes a folder a checkpoint last.
    pub(in crate::checkpoint) texts: Vec<(PathBuf, Content)>,
    /// Files that would be believed before the new ones, or that the new ones are not of.
    pub(in crate::checkpoint) stale: Vec<PathBuf>,
    /// The folder beneath which no link is followed on the way to the files.
    pub(in crate::checkpoint) base: Option<PathBuf>,
}

impl Plan {
    /// The same, written without following a link beneath `folder`, a checkpoint's, which may come from a stranger: for
    /// places in it that the user did not name.
    pub fn without_links_in(self, folder: &Path) -> Self {
        Self { base: Some(folder.into()), ..self }
    }

    /// The files that will be written, with their sizes in bytes.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let payloads = self.payloads.iter().map(|file| (file.path().to_path_buf(), file.size()));
        let texts = self.texts.iter().map(|(path, content)| (path.clone(), content.size()));
        payloads.chain(texts).collect()
    }

    /// Bytes of all files of weights: what `progress` is told of.
    pub fn weights_size(&self) -> u64 {
        self.payloads.iter().map(|file| file.size()).sum()
    }

    /// How many tensors are stored in each scheme.
    pub fn schemes(&self) -> BTreeMap<Scheme, usize> {
        let mut counts = BTreeMap::new();
        for tensor in self.payloads.iter().flat_map(|file| file.tensors()) {
            *counts.entry(tensor.scheme).or_default() += 1;
        }
        counts
    }

    /// The most bytes that writing keeps in memory, the maps of the originals not counted: runs that wait, the one
    /// that is written, the one that is made, in rows and in panels, and the program's own.
    pub fn memory(&self) -> u64 {
        // A vocabulary alone takes 30 MB on its way to a GGUF file.
        const OWN: u64 = 64 << 20;
        let runs = self.payloads.iter().flat_map(|file| file.tensors()).map(Output::run);
        (WAITING as u64 + 3) * runs.max().unwrap_or(0) + OWN
    }

    /// Whether all of it is there already and nothing stale, as far as sizes and the small files tell.
    pub fn is_there(&self) -> bool {
        let size = |file: &Path| fs::metadata(file).map(|data| data.len()).ok();
        self.other_stale().is_none()
            && self.payloads.iter().all(|file| size(file.path()) == Some(file.size()))
            && self.texts.iter().all(|(path, content)| content.is_in(path).is_ok_and(|same| same))
    }

    /// A stale file that is there and will not be written.
    fn other_stale(&self) -> Option<&PathBuf> {
        let files = self.files();
        self.stale.iter().find(|stale| files.iter().all(|(path, _)| path != *stale) && stale.exists())
    }

    /// Checks that nothing is in the way: a file of one of these names with another content, or one that would be
    /// believed before the new ones, unless `force`; or a disk too full, less what killed conversions have left.
    ///
    /// # Errors
    /// The first thing that is.
    pub fn check(&self, force: bool) -> Result<(), Error> {
        if let Some(file) = self.payloads.iter().find(|file| !force && file.path().exists()) {
            return Err(Error::Exists(file.path().into()));
        }
        for (path, content) in self.texts.iter().filter(|(path, _)| !force && path.exists()) {
            if !content.is_in(path).map_err(Error::read(path))? {
                return Err(Error::Exists(path.clone()));
            }
        }
        if let Some(other) = self.other_stale().filter(|_| !force) {
            return Err(Error::Exists(other.clone()));
        }
        let files = self.files();
        let Some((first, _)) = files.first() else { return Ok(()) };
        let needed = files.iter().map(|(_, size)| size).sum::<u64>();
        let folder = first.parent().unwrap_or(first);
        let left_behind = Folder::open(folder).map_or(0, |folder| {
            let names = files.iter().filter_map(|(path, _)| path.file_name());
            names.flat_map(|name| abandoned(&folder, name)).map(|(_, size)| size).sum::<u64>()
        });
        let free = free_space(folder).map_err(Error::read(folder))? + left_behind;
        match free < needed {
            true => Err(Error::NoSpace { path: folder.into(), needed, free }),
            false => Ok(()),
        }
    }

    /// Writes the files. They take their names when all of them are complete and on the disk, in the order of
    /// [`files`](Self::files); meanwhile the description of what was there before is gone. `progress` is told of every
    /// run of bytes of weights; its error ends the writing.
    ///
    /// # Errors
    /// A file cannot be written, a weight is too large for its new type, or `progress` failed: what was there before
    /// is as it was. A file cannot take its name: the folder is no checkpoint any more, or not yet.
    pub fn write(&self, progress: &mut dyn FnMut(u64) -> io::Result<()>) -> Result<(), Error> {
        let folders = self.make_folders()?;
        let place = |path: &Path| place(&folders, path).map_err(Error::write(path));
        for (path, _) in self.files() {
            let (folder, name) = place(&path)?;
            delete_abandoned(folder, &name);
        }
        let mut complete = Vec::new();
        for file in &self.payloads {
            let path = file.path().to_path_buf();
            let (folder, name) = place(&path)?;
            let begun = Replacement::in_folder(folder, name);
            let written = begun.and_then(|new| write_payload(&**file, new, progress));
            complete.push((written.map_err(Error::write(&path))?, path));
        }
        for (path, content) in &self.texts {
            let (folder, name) = place(path)?;
            let mut file = Replacement::in_folder(folder, name).map_err(Error::write(path))?;
            content.write(&mut file).map_err(Error::write(path))?;
            complete.push((file, path.clone()));
        }
        complete.iter().try_for_each(|(file, path)| file.sync().map_err(Error::write(path)))?;
        let description = self.texts.last().map(|(path, _)| path);
        for path in self.stale.iter().chain(description) {
            let (folder, name) = place(path)?;
            if folder.has(&name) {
                folder.remove(&name).map_err(Error::write(path))?;
            }
        }
        for (file, path) in complete {
            file.rename().map_err(Error::write(&path))?;
        }
        folders.iter().try_for_each(|(path, folder)| folder.sync().map_err(Error::write(path)))
    }

    /// The folders of all files, by path, made where they do not exist.
    fn make_folders(&self) -> Result<BTreeMap<PathBuf, Folder>, Error> {
        let files = self.files();
        let mut folders = BTreeMap::new();
        for path in files.iter().map(|(path, _)| path).chain(&self.stale).filter_map(|path| path.parent()) {
            if !folders.contains_key(path) {
                let made = match &self.base {
                    Some(base) => Folder::make_in(base, path),
                    None => Folder::make(path),
                };
                folders.insert(path.to_path_buf(), made.map_err(Error::write(path))?);
            }
        }
        Ok(folders)
    }

    /// Reads the files of weights again and compares them with what the originals give.
    ///
    /// # Errors
    /// [`Error::Malformed`] for the first file that differs; one that cannot be read; `progress` failed.
    pub fn verify(&self, progress: &mut dyn FnMut(u64) -> io::Result<()>) -> Result<(), Error> {
        for file in &self.payloads {
            let path = file.path();
            let mut written =
                BufReader::with_capacity(1 << 20, files::open(path).map_err(Error::read(path))?);
            let mut found = Vec::new();
            let compared = file.produce(&mut |bytes| {
                found.resize(bytes.len(), 0);
                written.read_exact(&mut found)?;
                progress(bytes.len() as u64)?;
                match found == bytes {
                    true => Ok(()),
                    false => Err(io::ErrorKind::InvalidData.into()),
                }
            });
            match compared {
                Err(e) if matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                    return Err(Error::malformed(path, "it does not hold what was written"));
                }
                compared => compared.map_err(Error::read(path))?,
            }
        }
        Ok(())
    }
}

/// The opened folder that a file belongs to, and its name.
fn place<'a>(folders: &'a BTreeMap<PathBuf, Folder>, path: &Path) -> io::Result<(&'a Folder, OsString)> {
    let folder = path.parent().and_then(|folder| folders.get(folder));
    folder.zip(path.file_name().map(OsStr::to_owned)).ok_or(io::ErrorKind::InvalidInput.into())
}

/// Writes a file, not yet under its name: one thread waits for the disk while the others make the next bytes.
fn write_payload(
    payload: &dyn Payload,
    file: Replacement,
    progress: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<Replacement> {
    let mut file = InLargePages::new(file);
    thread::scope(|scope| {
        let (sender, runs) = sync_channel::<Bytes>(WAITING);
        let write = move || {
            for run in runs {
                file.write_all(&run)?;
            }
            file.finish()
        };
        let writer = threads::builder("write", threads::STACK);
        let writer = writer.and_then(|thread| thread.spawn_scoped(scope, write)).map_err(NoThread)?;
        let produced = payload.produce(&mut |run| {
            let bytes = run.len() as u64;
            // A writer that has ended has an error to tell.
            sender.send(run).map_err(io::Error::other)?;
            progress(bytes)
        });
        drop(sender);
        let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer failed")))?;
        produced.map(|()| written)
    })
}

#[cfg(test)]
impl Plan {
    /// Writes it as a command does, and checks what every plan owes.
    pub(in crate::checkpoint) fn write_checked(&self) {
        self.check(false).unwrap();
        let mut told = 0;
        self.write(&mut |bytes| {
            told += bytes;
            Ok(())
        })
        .unwrap();
        assert_eq!(told, self.weights_size());
        for (path, size) in self.files() {
            assert_eq!(fs::metadata(&path).unwrap().len(), size, "{}", path.display());
        }
        self.verify(&mut |_| Ok(())).unwrap();
        assert!(matches!(self.check(false), Err(Error::Exists(_))));
        self.check(true).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of one run, and what becomes of it.
    #[derive(Debug)]
    struct Simple(PathBuf, &'static [u8]);

    impl Payload for Simple {
        fn path(&self) -> &Path {
            &self.0
        }
        fn size(&self) -> u64 {
            self.1.len() as u64
        }
        fn tensors(&self) -> &[Output] {
            &[]
        }
        fn produce(&self, sink: &mut Sink<'_>) -> io::Result<()> {
            self.1.chunks(2).try_for_each(|run| sink(Bytes::from_static(run)))
        }
    }

    fn plan(folder: &Path) -> Plan {
        let payloads: Vec<Box<dyn Payload>> = vec![Box::new(Simple(folder.join("w"), b"weights"))];
        let texts = vec![(folder.join("t"), b"text".to_vec().into())];
        Plan { payloads, texts, stale: vec![folder.join("old")], base: None }
    }

    #[test]
    fn what_is_written_is_proven_and_what_differs_is_found() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("new");
        let plan = plan(&folder);
        plan.check(false).unwrap();
        plan.write(&mut |_| Ok(())).unwrap();
        assert_eq!(fs::read(folder.join("w")).unwrap(), b"weights");
        plan.verify(&mut |_| Ok(())).unwrap();
        assert!(matches!(plan.check(false), Err(Error::Exists(path)) if path.ends_with("w")));
        plan.check(true).unwrap();
        for wrong in ["weighty", "weight", ""] {
            fs::write(folder.join("w"), wrong).unwrap();
            assert!(matches!(plan.verify(&mut |_| Ok(())), Err(Error::Malformed { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_failure_leaves_what_was_there() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("old"), "x").unwrap();
        fs::write(root.path().join("w"), "before").unwrap();
        let error = plan(root.path()).write(&mut |_| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert!(matches!(error, Error::Write { .. }));
        assert_eq!(fs::read(root.path().join("w")).unwrap(), b"before");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }
}

//! The plan of a conversion: the files to write, their checks before writing, the writing, and the verification.

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

/// Capacity of the queue of runs that wait for the disk while later runs are computed.
const QUEUED_RUNS: usize = 4;

/// Receives runs of bytes. An error stops the producer.
pub(in crate::checkpoint) type Sink<'a> = dyn FnMut(Bytes) -> io::Result<()> + 'a;

/// A file of weights to be written.
pub(in crate::checkpoint) trait Payload: Debug {
    /// Returns the path of the file.
    fn path(&self) -> &Path;
    /// Returns the size in bytes.
    fn size(&self) -> u64;
    /// Returns the tensors in the file.
    fn tensors(&self) -> &[Output];
    /// Passes the file's bytes to `sink`, in order. Every call passes the same bytes.
    ///
    /// # Errors
    /// A weight does not fit its new type, or `sink` fails.
    fn produce(&self, sink: &mut Sink<'_>) -> io::Result<()>;
}

/// The small files that go with a converted checkpoint: the tokenizer's.
#[derive(Debug, Default)]
pub struct SidecarFiles {
    /// Files to write, by name.
    pub files: Vec<(String, Content)>,
    /// Names of files that must not exist, since readers would take them for this checkpoint's.
    pub absent: Vec<String>,
}

impl From<Vec<(String, Vec<u8>)>> for SidecarFiles {
    fn from(files: Vec<(String, Vec<u8>)>) -> Self {
        let files = files.into_iter().map(|(name, bytes)| (name, bytes.into()));
        Self { files: files.collect(), absent: Vec::new() }
    }
}

impl SidecarFiles {
    /// Returns the files to write into `folder`, and the stale files to delete there.
    pub(in crate::checkpoint) fn placed(self, folder: &Path) -> (Vec<(PathBuf, Content)>, Vec<PathBuf>) {
        let files = self.files.into_iter().map(|(name, content)| (folder.join(name), content));
        (files.collect(), self.absent.iter().map(|name| folder.join(name)).collect())
    }
}

/// The files that a conversion will write.
#[derive(Debug)]
pub struct ConversionPlan {
    pub(in crate::checkpoint) payloads: Vec<Box<dyn Payload>>,
    /// Small files. The last is the description, which makes the folder a checkpoint.
    pub(in crate::checkpoint) texts: Vec<(PathBuf, Content)>,
    /// Files to delete: they would take precedence over the new files, or belong to another checkpoint.
    pub(in crate::checkpoint) stale: Vec<PathBuf>,
    /// The folder below which symbolic links on the way to the files are not followed.
    pub(in crate::checkpoint) base: Option<PathBuf>,
}

impl ConversionPlan {
    /// Returns the plan with symbolic links below `folder` not followed.
    ///
    /// Used for paths in a checkpoint's folder that the user did not name, since the folder may be untrusted.
    pub fn without_links_in(self, folder: &Path) -> Self {
        Self { base: Some(folder.into()), ..self }
    }

    /// Returns the files that will be written, with their sizes in bytes.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let payloads = self.payloads.iter().map(|file| (file.path().to_path_buf(), file.size()));
        let texts = self.texts.iter().map(|(path, content)| (path.clone(), content.size()));
        payloads.chain(texts).collect()
    }

    /// Returns the total size in bytes of all files of weights, which `progress` counts.
    pub fn weights_size(&self) -> u64 {
        self.payloads.iter().map(|file| file.size()).sum()
    }

    /// Returns the number of tensors in each scheme.
    pub fn schemes(&self) -> BTreeMap<Scheme, usize> {
        let mut counts = BTreeMap::new();
        for tensor in self.payloads.iter().flat_map(|file| file.tensors()) {
            *counts.entry(tensor.scheme).or_default() += 1;
        }
        counts
    }

    /// Returns the peak memory of writing in bytes, without the memory maps of the source.
    ///
    /// This is the queued runs, the run that is written, the run that is computed (as rows and as panels), and the
    /// program's other memory.
    pub fn memory(&self) -> u64 {
        // A vocabulary alone takes 30 MB while it is written to a GGUF file.
        const OVERHEAD: u64 = 64 << 20;
        let runs = self.payloads.iter().flat_map(|file| file.tensors()).map(Output::run);
        (QUEUED_RUNS as u64 + 3) * runs.max().unwrap_or(0) + OVERHEAD
    }

    /// Returns whether all files already exist and no stale file does. Compares the sizes of the files of weights, and
    /// the contents of the small files.
    pub fn is_there(&self) -> bool {
        let size = |file: &Path| fs::metadata(file).map(|data| data.len()).ok();
        self.other_stale().is_none()
            && self.payloads.iter().all(|file| size(file.path()) == Some(file.size()))
            && self.texts.iter().all(|(path, content)| content.is_in(path).is_ok_and(|same| same))
    }

    /// Returns a stale file that exists and will not be overwritten.
    fn other_stale(&self) -> Option<&PathBuf> {
        let files = self.files();
        self.stale.iter().find(|stale| files.iter().all(|(path, _)| path != *stale) && stale.exists())
    }

    /// Checks that the files can be written.
    ///
    /// Temporary files of killed conversions count as free space, since [`write`](Self::write) deletes them.
    ///
    /// # Errors
    /// - [`Error::Exists`], unless `force` is set: a file of weights, a stale file, or a small file with other content
    ///   exists.
    /// - [`Error::NoSpace`]: the disk has too little free space.
    /// - [`Error::Read`]: a file or the disk's free space cannot be read.
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

    /// Writes the files.
    ///
    /// Writes to temporary files first. When all are complete and on the disk, deletes the old description and the
    /// stale files, then renames the new files in the order of [`files`](Self::files). Calls `progress` with the size
    /// of each run of weights.
    ///
    /// # Errors
    /// - A file cannot be written, a weight does not fit its new type, or `progress` fails: old files are unchanged.
    /// - A file cannot be deleted or renamed: the folder holds no complete checkpoint.
    pub fn write(&self, progress: &mut dyn FnMut(u64) -> io::Result<()>) -> Result<(), Error> {
        let folders = self.make_folders()?;
        let place = |path: &Path| place(&folders, path).map_err(Error::write(path));
        self.delete_abandoned_in(&folders);
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
        folders.iter().try_for_each(|(path, folder)| folder.sync().map_err(Error::write(path)))?;
        // Those that were too young at the beginning.
        self.delete_abandoned_in(&folders);
        Ok(())
    }

    /// Deletes the temporary files that killed conversions of the same files left.
    ///
    /// # Errors
    /// The folder of a file cannot be opened.
    pub fn delete_abandoned(&self) -> Result<(), Error> {
        self.delete_abandoned_in(&self.make_folders()?);
        Ok(())
    }

    fn delete_abandoned_in(&self, folders: &BTreeMap<PathBuf, Folder>) {
        for (path, _) in self.files() {
            if let Ok((folder, name)) = place(folders, &path) {
                delete_abandoned(folder, &name);
            }
        }
    }

    /// Opens the folders of all files, creating those that do not exist. Returns them by path.
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

    /// Reads the files of weights again and compares them with bytes computed from the source.
    ///
    /// # Errors
    /// - [`Error::Malformed`]: a file differs.
    /// - [`Error::Read`]: a file cannot be read, or `progress` fails.
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

/// Returns the opened folder of a file, and the file's name.
fn place<'a>(folders: &'a BTreeMap<PathBuf, Folder>, path: &Path) -> io::Result<(&'a Folder, OsString)> {
    let folder = path.parent().and_then(|folder| folders.get(folder));
    folder.zip(path.file_name().map(OsStr::to_owned)).ok_or(io::ErrorKind::InvalidInput.into())
}

/// Writes a file under a temporary name. One thread waits for the disk while the others compute the next bytes.
fn write_payload(
    payload: &dyn Payload,
    file: Replacement,
    progress: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<Replacement> {
    let mut file = InLargePages::new(file);
    thread::scope(|scope| {
        let (sender, runs) = sync_channel::<Bytes>(QUEUED_RUNS);
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
            // Fails if the writer has ended; its own error is reported below.
            sender.send(run).map_err(io::Error::other)?;
            progress(bytes)
        });
        drop(sender);
        let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer failed")))?;
        produced.map(|()| written)
    })
}

#[cfg(test)]
impl ConversionPlan {
    /// Writes the files as a command does, and checks the properties of every plan.
    pub(in crate::checkpoint) fn write_checked(&self) {
        self.check(false).unwrap();
        let mut reported = 0;
        self.write(&mut |bytes| {
            reported += bytes;
            Ok(())
        })
        .unwrap();
        assert_eq!(reported, self.weights_size());
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

    /// A file with its path and its bytes.
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

    fn plan(folder: &Path) -> ConversionPlan {
        let payloads: Vec<Box<dyn Payload>> = vec![Box::new(Simple(folder.join("w"), b"weights"))];
        let texts = vec![(folder.join("t"), b"text".to_vec().into())];
        ConversionPlan { payloads, texts, stale: vec![folder.join("old")], base: None }
    }

    #[test]
    fn written_files_verify_and_differences_are_found() {
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
    fn a_failure_leaves_the_old_files() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("old"), "x").unwrap();
        fs::write(root.path().join("w"), "before").unwrap();
        let error = plan(root.path()).write(&mut |_| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert!(matches!(error, Error::Write { .. }));
        assert_eq!(fs::read(root.path().join("w")).unwrap(), b"before");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }
}

//! Makes, changes and deletes files in folders without following links.
//!
//! A checkpoint's folder may come from a stranger, with links in it that lead to the user's files. The path *to* the
//! folder is under the user's control, and its links are followed: `checkpoints/`, `ORG/` and `NAME/` are often links
//! to another disk. A name *in* the folder is looked up by the opened descriptor, and a link there is never followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::platform::{self, How};
use super::read::{readable, regular};
use super::refused::{Kind, Refused};

/// Maximum depth of folders that [`Folder::remove_all`] deletes.
const MAX_DEPTH: u32 = 64;

/// An open folder. Operations act on the folder that was opened, even if its path leads elsewhere by then.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    handle: Arc<platform::Handle>,
}

impl Folder {
    /// Opens the folder at `path`; links are followed.
    ///
    /// # Errors
    /// The folder does not exist or cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let handle = platform::open_folder(path)?;
        Ok(Self { path: path.into(), handle: Arc::new(handle) })
    }

    /// Opens the folder at `path`, and creates it and its parents if they do not exist.
    ///
    /// # Errors
    /// The folder cannot be created or opened.
    #[allow(clippy::disallowed_methods)]
    pub fn make(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Self::open(path)
    }

    /// Opens the folder at `path`, and creates it if it does not exist. Does not follow links in the part of the path
    /// below `base`, a checkpoint's folder; links in the rest are followed.
    ///
    /// # Errors
    /// The folder cannot be created or opened; [`Refused::Link`] if there is a link below `base`.
    pub fn make_in(base: &Path, path: &Path) -> io::Result<Self> {
        let Some(names) = beneath(base, path) else { return Self::make(path) };
        names.iter().try_fold(Self::make(base)?, |folder, name| folder.make_below(name))
    }

    /// Opens or creates the folder `name` in this one, and returns whether it was created now.
    pub(super) fn make_or_enter(&self, name: &OsStr) -> io::Result<(Self, bool)> {
        match platform::make_folder_in(&self.handle, plain(name)?) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok((self.below(name)?, false)),
            made => made.and_then(|()| Ok((self.below(name)?, true))),
        }
    }

    /// Returns the descriptor of the folder.
    pub(super) fn handle(&self) -> &platform::Handle {
        &self.handle
    }

    /// Returns the folder's path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a file in the folder, for messages.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Opens the folder `name` in this one.
    ///
    /// # Errors
    /// The folder does not exist; [`Refused::Link`]; [`Refused::NotAFolder`].
    pub fn below(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let name = plain(name.as_ref())?;
        let opened = platform::open_folder_in(&self.handle, name);
        let handle = opened.map_err(|error| match platform::kind_in(&self.handle, name) {
            Ok(Some(Kind::Link)) => Refused::Link.into(),
            Ok(Some(kind)) if kind != Kind::Folder => Refused::NotAFolder(kind).into(),
            _ => error,
        })?;
        Ok(Self { path: self.path.join(name), handle: Arc::new(handle) })
    }

    /// Opens the folder `name` in this one, and creates it if it does not exist.
    ///
    /// # Errors
    /// The folder cannot be created; the errors of [`below`](Self::below).
    pub fn make_below(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        self.make_or_enter(name.as_ref()).map(|(folder, _)| folder)
    }

    /// Opens a file that processes lock, and creates it if it does not exist. Its content is kept.
    ///
    /// # Errors
    /// The file cannot be opened; [`Refused`] if it is not a regular file.
    pub fn lock_file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        self.open_with(name.as_ref(), How::Change)
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// The file cannot be opened; [`Refused`] if it is a link or not a regular file.
    pub fn read(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        self.open_with(name.as_ref(), How::Read)
    }

    /// Opens a file to append to what an earlier run wrote, and creates it if it does not exist. A link, a pipe or a
    /// device of that name is replaced. So is a file with a second hard link, which may be anywhere.
    ///
    /// # Errors
    /// The file cannot be opened or created; a folder has the name.
    pub fn change(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let name = name.as_ref();
        match self.open_with(name, How::Change) {
            Ok(file) if platform::has_one_name(&file)? => return Ok(file),
            Err(e) if Refused::inside(&e).is_none_or(|e| e == Refused::NotAFile(Kind::Folder)) => {
                return Err(e);
            }
            _ => {}
        }
        self.create(name, 0o666)
    }

    /// Creates a file with the permissions `mode`, and replaces any existing file or link. The target of a replaced link
    /// is not changed.
    ///
    /// # Errors
    /// The file cannot be created; a folder has the name.
    pub fn create(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<File> {
        match self.remove(&name) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => self.create_new(name, mode),
        }
    }

    /// Creates a file with the permissions `mode` (on Unix) under an unused name.
    ///
    /// # Errors
    /// The file cannot be created; [`io::ErrorKind::AlreadyExists`].
    pub fn create_new(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<File> {
        platform::open_in(&self.handle, plain(name.as_ref())?, How::New(mode)).and_then(regular)
    }

    fn open_with(&self, name: &OsStr, how: How) -> io::Result<File> {
        let name = plain(name)?;
        let opened = platform::open_in(&self.handle, name, how);
        let opened = opened.and_then(if matches!(how, How::Read) { readable } else { regular });
        opened.map_err(|error| match platform::kind_in(&self.handle, name) {
            Ok(Some(Kind::Link)) => Refused::Link.into(),
            Ok(Some(kind)) if kind != Kind::File => Refused::NotAFile(kind).into(),
            _ => error,
        })
    }

    /// Returns whether the name exists; a dangling link counts.
    pub fn has(&self, name: impl AsRef<OsStr>) -> bool {
        let name = plain(name.as_ref());
        name.and_then(|name| platform::kind_in(&self.handle, name)).is_ok_and(|kind| kind.is_some())
    }

    /// Deletes a file, or a link but not its target.
    ///
    /// # Errors
    /// The system's I/O error; a folder has the name.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        platform::remove_in(&self.handle, plain(name.as_ref())?)
    }

    /// Deletes an empty folder.
    ///
    /// # Errors
    /// The system's I/O error; the folder is not empty.
    pub fn remove_empty(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        platform::remove_folder_in(&self.handle, plain(name.as_ref())?)
    }

    /// Deletes a file, a link, or a folder with its content.
    ///
    /// # Errors
    /// The system's I/O error.
    pub fn remove_all(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        self.remove_deep(name.as_ref(), MAX_DEPTH)
    }

    fn remove_deep(&self, name: &OsStr, depth: u32) -> io::Result<()> {
        match platform::kind_in(&self.handle, plain(name)?)? {
            None => Ok(()),
            Some(Kind::Folder) if depth > 0 => {
                let folder = self.below(name)?;
                folder.names()?.iter().try_for_each(|name| folder.remove_deep(name, depth - 1))?;
                platform::remove_folder_in(&self.handle, name)
            }
            Some(_) => self.remove(name),
        }
    }

    /// Creates a hard link in this folder to the file at `from`, which is not a symbolic link.
    ///
    /// # Errors
    /// The system's I/O error, for example if the file is on another disk or the name exists.
    pub fn link(&self, from: &Path, name: impl AsRef<OsStr>) -> io::Result<()> {
        platform::link_in(from, &self.handle, plain(name.as_ref())?)
    }

    /// Renames `from` to `to`, and replaces any existing file of that name.
    ///
    /// # Errors
    /// The system's I/O error.
    pub fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
        platform::rename_in(&self.handle, plain(from.as_ref())?, plain(to.as_ref())?)
    }

    /// Returns the names in the folder.
    ///
    /// # Errors
    /// The system's I/O error.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        platform::names_in(&self.handle)
    }

    /// Syncs the folder's names to the disk, as after a rename. Does nothing on Windows, and on network file systems
    /// that do not support it.
    ///
    /// # Errors
    /// The system's I/O error.
    pub fn sync(&self) -> io::Result<()> {
        platform::sync(&self.handle)
    }
}

/// Creates the folder at `path` and its parents, accessible to this user only.
///
/// # Errors
/// The system's I/O error.
#[allow(clippy::disallowed_methods)]
pub fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Opens the folder that contains `file`, following links, and returns it with the file's name.
///
/// # Errors
/// The folder does not exist; the path does not end in a name.
pub fn folder_of(file: &Path) -> io::Result<(Folder, &OsStr)> {
    let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((Folder::open(file.parent().unwrap_or(Path::new(".")))?, name))
}

/// Returns `name` if it is a single name, not a path.
fn plain(name: &OsStr) -> io::Result<&OsStr> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        // A link whose name ends in a slash would be followed.
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Returns the names that lead from `base` to `path`, if `path` is below `base` by its spelling.
pub(super) fn beneath<'a>(base: &Path, path: &'a Path) -> Option<Vec<&'a OsStr>> {
    fn parts(path: &Path) -> impl Iterator<Item = Component<'_>> {
        path.components().filter(|part| *part != Component::CurDir)
    }
    let mut rest = parts(path);
    parts(base).all(|part| rest.next() == Some(part)).then_some(())?;
    rest.map(|part| if let Component::Normal(name) = part { Some(name) } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beneath_a_folder_are_found_by_their_spelling() {
        let names = |base: &str, path: &str| {
            let names = beneath(Path::new(base), Path::new(path))?;
            Some(names.iter().map(|name| name.to_string_lossy()).collect::<Vec<_>>().join(" "))
        };
        for (base, path, expected) in [
            ("m", "m/q8_0", Some("q8_0")),
            ("./m/", "m/./a//b/", Some("a b")),
            (".", "x.q8_0", Some("x.q8_0")),
            ("", "x.q8_0", Some("x.q8_0")),
            ("../m", "../m/q8_0", Some("q8_0")),
            ("m", "m", Some("")),
            ("m", "n/q8_0", None),
            ("m", "m/../n", None),
            (".", "../n", None),
            (".", "/n", None),
            ("/m", "/m/a", Some("a")),
        ] {
            assert_eq!(names(base, path).as_deref(), expected, "{path} in {base}");
        }
    }

    #[test]
    fn only_plain_names_are_looked_up() {
        for name in ["", ".", "..", "/", "a/b", "../a", "a/"] {
            assert!(plain(OsStr::new(name)).is_err(), "{name:?}");
        }
        assert!(plain(OsStr::new("..a")).is_ok());
    }

    #[cfg(unix)]
    mod links {
        use std::fs;
        use std::os::unix::fs::symlink;

        use super::super::*;

        /// A folder with links to a file and a folder elsewhere, a hard link and a pipe.
        fn hostile() -> (tempfile::TempDir, Folder, PathBuf) {
            let root = tempfile::tempdir().unwrap();
            let precious = root.path().join("precious");
            fs::write(&precious, "precious").unwrap();
            fs::create_dir(root.path().join("elsewhere")).unwrap();
            fs::create_dir(root.path().join("m")).unwrap();
            let folder = Folder::open(&root.path().join("m")).unwrap();
            symlink("../precious", folder.join("link")).unwrap();
            symlink("../nowhere", folder.join("dangling")).unwrap();
            symlink("../elsewhere", folder.join("sub")).unwrap();
            fs::hard_link(&precious, folder.join("hard")).unwrap();
            rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("pipe"), rustix::fs::Mode::RWXU).unwrap();
            (root, folder, precious)
        }

        #[test]
        fn a_link_is_neither_locked_nor_read_nor_entered() {
            let (root, folder, precious) = hostile();
            for name in ["link", "dangling", "sub"] {
                for error in [folder.lock_file(name).unwrap_err(), folder.read(name).unwrap_err()] {
                    assert_eq!(Refused::inside(&error), Some(Refused::Link), "{name}");
                }
                let error = folder.make_below(name).unwrap_err();
                assert_eq!(Refused::inside(&error), Some(Refused::Link), "{name}");
            }
            let error = folder.lock_file("pipe").unwrap_err();
            assert_eq!(Refused::inside(&error), Some(Refused::NotAFile(Kind::Pipe)));
            let error = Folder::make_in(folder.path(), &folder.join("sub/deeper")).unwrap_err();
            assert_eq!(Refused::inside(&error), Some(Refused::Link));
            assert!(!root.path().join("nowhere").exists());
            assert_eq!(fs::read_dir(root.path().join("elsewhere")).unwrap().count(), 0);
            assert_eq!(fs::read(precious).unwrap(), b"precious");
        }

        #[test]
        fn what_has_the_name_of_a_file_that_is_written_gives_way() {
            use std::io::Write;
            for name in ["link", "dangling", "sub", "hard", "pipe", "new"] {
                for open in [Folder::change, |f: &Folder, name| Folder::create(f, name, 0o666)] {
                    let (root, folder, precious) = hostile();
                    open(&folder, name).unwrap().write_all(b"x").unwrap();
                    assert_eq!(fs::read(folder.join(name)).unwrap(), b"x");
                    assert!(folder.join(name).symlink_metadata().unwrap().is_file());
                    assert_eq!(fs::read(precious).unwrap(), b"precious", "{name}");
                    assert!(!root.path().join("nowhere").exists());
                }
            }
        }

        #[test]
        fn deleting_takes_the_link_and_not_what_it_points_to() {
            let (root, folder, precious) = hostile();
            fs::write(root.path().join("elsewhere/kept"), "x").unwrap();
            let scratch = folder.make_below("scratch").unwrap();
            symlink("../../elsewhere", scratch.join("out")).unwrap();
            scratch.make_below("deep").unwrap().create("file", 0o666).unwrap();
            for name in ["link", "sub", "pipe", "hard", "scratch", "never-there"] {
                folder.remove_all(name).unwrap();
                assert!(!folder.has(name), "{name}");
            }
            assert!(folder.has("dangling"));
            assert!(root.path().join("elsewhere/kept").exists());
            assert_eq!(fs::read(precious).unwrap(), b"precious");
        }
    }
}

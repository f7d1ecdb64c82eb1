//! Reads files, up to a limit.
//!
//! Links are followed, since the hub's cache is made of them. The kind of a file is checked on its open descriptor, so
//! that nobody can replace the file between the check and the use.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::platform;
use super::refused::{Kind, Refused};

/// Maximum number of bytes of a file beyond its reported size. A file may grow, and files of `/proc` report a size of
/// 0; some of those never end.
const SLACK: u64 = 1 << 20;

/// Bytes that are requested to detect the end of a file: some files of `/proc` return only whole records.
const PROBE: usize = 64;
/// The largest system file that is read, in bytes: the list of a process's maps takes a kilobyte per map.
const LARGEST_OF_SYSTEM: u64 = 64 << 20;

/// Opens a regular file for reading. Never blocks, even if there is a pipe at `path`.
///
/// # Errors
/// The file cannot be opened; [`Refused::NotAFile`] for a folder, a pipe, a device or a socket.
pub fn open(path: &Path) -> io::Result<File> {
    let opened = platform::open(path).and_then(readable);
    // A socket, and on some systems a folder, cannot be opened at all, and the system's message is less clear.
    opened.map_err(|error| match Refused::inside(&error) {
        Some(_) => error,
        None => kind(path).map_or_else(|| explained(path, error), |kind| Refused::NotAFile(kind).into()),
    })
}

/// Returns whether `path` exists; links are followed. A dangling link is an error, not an absent file: without the file
/// a folder may mean something else.
///
/// # Errors
/// [`Refused::LeadsNowhere`]; the system's I/O error.
pub fn exists(path: &Path) -> io::Result<bool> {
    match path.metadata().map_err(|error| explained(path, error)) {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns whether the error means that the name does not exist.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Turns the error of looking up `path` into [`Refused::LeadsNowhere`] if `path` is a dangling link.
pub fn explained(path: &Path, error: io::Error) -> io::Error {
    match path.read_link() {
        Ok(target) if error.kind() == io::ErrorKind::NotFound => Refused::LeadsNowhere(target).into(),
        _ => error,
    }
}

/// Returns the kind of what is at `path`, links followed, unless it is a regular file.
fn kind(path: &Path) -> Option<Kind> {
    let kind = Kind::of(path.metadata().ok()?.file_type());
    (kind != Kind::File).then_some(kind)
}

/// Returns `file` if it is a regular file.
pub(super) fn regular(file: File) -> io::Result<File> {
    match Kind::of(file.metadata()?.file_type()) {
        Kind::File => platform::blocking(file),
        other => Err(Refused::NotAFile(other).into()),
    }
}

/// Returns `file` if it is a regular file, for reading. Leaves an empty file non-blocking: it may be a file of `/proc`
/// whose reads wait for data.
pub(super) fn readable(file: File) -> io::Result<File> {
    let data = file.metadata()?;
    match Kind::of(data.file_type()) {
        Kind::File if data.len() == 0 => Ok(file),
        _ => regular(file),
    }
}

/// Opens a regular file as a stream that fails with [`Refused::TooLarge`] after `limit` bytes.
///
/// # Errors
/// The errors of [`open`]; [`Refused::TooLarge`] if the reported size exceeds the limit.
pub fn stream(path: &Path, limit: u64) -> io::Result<Limited<File>> {
    within(open(path)?, limit)
}

/// Returns the stream of an open regular file that fails with [`Refused::TooLarge`] after `limit` bytes.
pub(super) fn within(file: File, limit: u64) -> io::Result<Limited<File>> {
    let length = file.metadata()?.len();
    if length > limit {
        return Err(Refused::TooLarge(limit).into());
    }
    let most = limit.min(length.saturating_add(SLACK));
    let refused = if most == limit { Refused::TooLarge(limit) } else { Refused::Endless(length) };
    Ok(Limited { inner: file, left: most, refused })
}

/// Reads a whole regular file.
///
/// # Errors
/// The errors of [`stream`]; not enough memory.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    collect(stream(path, limit)?)
}

/// Reads the rest of a file's stream into a buffer that is allocated once.
fn collect(mut stream: Limited<File>) -> io::Result<Vec<u8>> {
    let length = stream.inner.metadata()?.len().min(stream.left);
    let mut bytes = Vec::new();
    // The extra bytes let `read_to_end` find the end without growing the buffer.
    bytes.try_reserve_exact(usize::try_from(length).unwrap_or(usize::MAX).saturating_add(PROBE))?;
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a source of text that the user named: a file, or a pipe or a terminal (`--file <(…)`, `/dev/stdin`), for which
/// reads wait. The stream fails with [`Refused::TooLarge`] after `limit` bytes.
///
/// # Errors
/// The source cannot be opened; [`Refused::NotAFile`] for a folder, a disk or a socket.
pub fn input(path: &Path, limit: u64) -> io::Result<Limited<File>> {
    // Opening a disk may start it, and the system's message for a socket is less clear.
    if let Some(other @ (Kind::Folder | Kind::BlockDevice | Kind::Socket)) = kind(path) {
        return Err(Refused::NotAFile(other).into());
    }
    #[allow(clippy::disallowed_methods)]
    let file = File::open(path)?;
    match Kind::of(file.metadata()?.file_type()) {
        Kind::File | Kind::Pipe | Kind::Device => Ok(Limited::new(file, limit)),
        other => Err(Refused::NotAFile(other).into()),
    }
}

/// Reads a system file, such as one of `/proc`, as text.
///
/// # Errors
/// The system's I/O error.
pub fn of_system(path: &Path) -> io::Result<String> {
    input(path, LARGEST_OF_SYSTEM)?.text()
}

/// Converts bytes to text.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if the bytes are not UTF-8.
pub fn utf8(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        io::Error::new(io::ErrorKind::InvalidData, format!("byte {at} is not UTF-8"))
    })
}

/// A stream that fails after a number of bytes.
#[derive(Debug)]
pub struct Limited<R> {
    inner: R,
    left: u64,
    refused: Refused,
}

impl<R: Read> Limited<R> {
    /// Limits `inner` to `limit` bytes.
    pub fn new(inner: R, limit: u64) -> Self {
        Self { inner, left: limit, refused: Refused::TooLarge(limit) }
    }

    /// Reads the rest as text, without the byte order mark that programs on Windows write.
    ///
    /// # Errors
    /// Errors in reading; [`io::ErrorKind::InvalidData`] if the bytes are not UTF-8.
    pub fn text(mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        let mut text = utf8(bytes)?;
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Ok(text)
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            return match self.inner.read(&mut [0; PROBE]).map_err(waiting)? {
                0 => Ok(0),
                _ => Err(self.refused.clone().into()),
            };
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let read = self.inner.read(&mut bytes[..most]).map_err(waiting)?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Replaces the error of a non-blocking read that has no data.
fn waiting(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => Refused::Waiting.into(),
        _ => error,
    }
}

/// Returns whether `bytes` is an LFS pointer, which `git clone` without `git lfs` leaves in place of a large file.
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs.github.com/spec/")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit_and_not_beyond() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        fs::write(&file, [7; 100]).unwrap();
        assert_eq!(read(&file, 100).unwrap(), [7; 100]);
        let error = read(&file, 99).unwrap_err();
        assert_eq!(Refused::inside(&error), Some(Refused::TooLarge(99)));
        assert_eq!(error.to_string(), "it is larger than the limit of 99 bytes");
        assert_eq!(read(&folder.path().join("y"), 99).unwrap_err().kind(), io::ErrorKind::NotFound);
        let mut bytes = Vec::new();
        let error = Limited::new(&[1; 10][..], 9).read_to_end(&mut bytes).unwrap_err();
        assert_eq!((bytes.len(), Refused::inside(&error)), (9, Some(Refused::TooLarge(9))));
        assert_eq!(Limited::new(&b"1234"[..], 4).text().unwrap(), "1234");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        use std::os::unix::fs::symlink;
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink("/dev/zero", at("device")).unwrap();
        for (name, kind) in [
            ("pipe", Kind::Pipe),
            ("socket", Kind::Socket),
            ("folder", Kind::Folder),
            ("device", Kind::Device),
        ] {
            symlink(name, at("link")).unwrap();
            for name in [name, "link"] {
                let error = read(&at(name), 1 << 20).unwrap_err();
                assert_eq!(Refused::inside(&error), Some(Refused::NotAFile(kind)), "{name}");
            }
            fs::remove_file(at("link")).unwrap();
        }
        // The system reports a length of 0, and the file has more bytes than fit in memory.
        #[cfg(target_os = "linux")]
        {
            let error = read(Path::new("/proc/self/pagemap"), 64 << 20).unwrap_err();
            assert_eq!(Refused::inside(&error), Some(Refused::Endless(0)));
            assert!(read(Path::new("/proc/self/status"), 64 << 20).unwrap().starts_with(b"Name:"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_a_user_names_as_a_source_may_be_a_pipe_or_a_device_and_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::write(pipe, "text").unwrap()
        });
        assert_eq!(input(&pipe, 10).unwrap().text().unwrap(), "text");
        writer.join().unwrap();
        assert_eq!(input(Path::new("/dev/null"), 10).unwrap().text().unwrap(), "");
        let error = input(Path::new("/dev/zero"), 1000).unwrap().text().unwrap_err();
        assert_eq!(Refused::inside(&error), Some(Refused::TooLarge(1000)));
        let error = input(folder.path(), 10).unwrap_err();
        assert_eq!(Refused::inside(&error), Some(Refused::NotAFile(Kind::Folder)));
    }
}

//! What a small file beside the weights will hold: bytes that were made, or those of another file, which are copied and
//! compared a piece at a time. A stranger's folder may hold one of any size.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::checkpoint::error::Error;
use crate::system::files;

/// Bytes that are copied or compared at once.
const PIECE: usize = 64 << 10;

/// What a file will hold.
#[derive(Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The bytes of this file, which are so many.
    CopyOf(PathBuf, u64),
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl Content {
    /// What a regular file holds. It is not read yet.
    ///
    /// # Errors
    /// It cannot be opened, or is no regular file.
    pub fn copy_of(path: &Path) -> Result<Self, Error> {
        let length = files::open(path).and_then(|file| file.metadata()).map(|data| data.len());
        Ok(Self::CopyOf(path.into(), length.map_err(Error::read(path))?))
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::CopyOf(_, length) => *length,
        }
    }

    /// All of its bytes, at most `limit`.
    ///
    /// # Errors
    /// The file that is copied is larger, or cannot be read.
    pub fn read(&self, limit: u64) -> Result<Vec<u8>, Error> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::CopyOf(from, _) => files::read(from, limit).map_err(Error::read(from)),
        }
    }

    /// Whether a file holds this, and no more.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(in crate::checkpoint) fn is_in(&self, path: &Path) -> io::Result<bool> {
        let mut there = files::open(path)?;
        if there.metadata()?.len() != self.size() {
            return Ok(false);
        }
        match self {
            Self::Bytes(bytes) => same(&mut &bytes[..], &mut there),
            Self::CopyOf(from, _) => same(&mut files::open(from)?, &mut there),
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// What writing reports; the file that is copied cannot be read, or has changed its size.
    pub(in crate::checkpoint) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let Self::CopyOf(from, length) = self else {
            let Self::Bytes(bytes) = self else { return Ok(()) };
            return to.write_all(bytes);
        };
        let mut file: File = files::open(from)?;
        let (mut piece, mut left) = (vec![0; PIECE], *length);
        loop {
            let read = fill(&mut file, &mut piece)?;
            left = match left.checked_sub(read as u64) {
                Some(left) if read > 0 => left,
                Some(0) => return Ok(()),
                _ => {
                    let why = format!("{} has changed while it was copied", from.display());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
            };
            to.write_all(&piece[..read])?;
        }
    }
}

/// Whether two streams hold the same bytes.
fn same(a: &mut impl Read, b: &mut impl Read) -> io::Result<bool> {
    let mut pieces = [vec![0; PIECE], vec![0; PIECE]];
    loop {
        let [first, second] = &mut pieces;
        let (in_a, in_b) = (fill(a, first)?, fill(b, second)?);
        match first[..in_a] == second[..in_b] {
            true if in_a == 0 => return Ok(true),
            true => {}
            false => return Ok(false),
        }
    }
}

/// Reads until the piece is full or the end is reached.
fn fill(from: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match from.read(&mut piece[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_copy_is_the_file_and_any_other_byte_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (from, there) = (folder.path().join("from"), folder.path().join("there"));
        for length in [0, 1, PIECE - 1, PIECE, 3 * PIECE + 7] {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 7919 % 251) as u8).collect();
            fs::write(&from, &bytes).unwrap();
            for content in [Content::copy_of(&from).unwrap(), bytes.clone().into()] {
                let mut written = Vec::new();
                content.write(&mut written).unwrap();
                assert!(written == bytes);
                assert_eq!(content.size(), length as u64);
                fs::write(&there, &bytes).unwrap();
                assert!(content.is_in(&there).unwrap());
                fs::write(&there, [&bytes[..], b"x"].concat()).unwrap();
                assert!(!content.is_in(&there).unwrap());
                if let Some((last, rest)) = bytes.split_last() {
                    fs::write(&there, [rest, &[last ^ 1]].concat()).unwrap();
                    assert!(!content.is_in(&there).unwrap());
                    fs::write(&there, rest).unwrap();
                    assert!(!content.is_in(&there).unwrap());
                }
            }
        }
    }

    #[test]
    fn a_file_that_changes_while_it_is_copied_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::write(&from, [1; 100]).unwrap();
        let content = Content::copy_of(&from).unwrap();
        for length in [99, 101, 0] {
            fs::write(&from, vec![1; length]).unwrap();
            let error = content.write(&mut Vec::new()).unwrap_err().to_string();
            assert!(error.ends_with("from has changed while it was copied"), "{error}");
        }
    }
}

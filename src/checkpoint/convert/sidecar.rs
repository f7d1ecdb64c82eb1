//! The content of a small file beside the weights: bytes in memory, or a copy of another file.
//!
//! Files are copied and compared piece by piece, since files of an untrusted folder may have any size.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::checkpoint::error::Error;
use crate::system::files;

/// Bytes that are copied or compared at a time.
const PIECE: usize = 64 << 10;

/// The content of a file to be written.
#[derive(Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The bytes of this file, with their number.
    CopyOf(PathBuf, u64),
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl Content {
    /// Returns the content of a regular file without reading it.
    ///
    /// # Errors
    /// The file cannot be opened or is not a regular file.
    pub fn copy_of(path: &Path) -> Result<Self, Error> {
        let length = files::open(path).and_then(|file| file.metadata()).map(|data| data.len());
        Ok(Self::CopyOf(path.into(), length.map_err(Error::read(path))?))
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::CopyOf(_, length) => *length,
        }
    }

    /// Returns the bytes. A copied file has at most `limit`.
    ///
    /// # Errors
    /// The copied file is larger than `limit` or cannot be read.
    pub fn read(&self, limit: u64) -> Result<Vec<u8>, Error> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::CopyOf(from, _) => files::read(from, limit).map_err(Error::read(from)),
        }
    }

    /// Returns whether the file at `path` has exactly this content.
    ///
    /// # Errors
    /// That file or the copied file cannot be read.
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

    /// Writes the content to `to`.
    ///
    /// # Errors
    /// Writing fails, or the copied file cannot be read or has changed its size.
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

/// Returns whether two streams hold the same bytes.
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

/// Reads until `piece` is full or the stream ends. Returns the number of bytes read.
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

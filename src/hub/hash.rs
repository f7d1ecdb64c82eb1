//! The hashes of a listing, and hashers that compute them while bytes arrive.

use std::fmt;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::names::{Digest, hexadecimal};

/// Git's id of a file's content: the sha1 of `blob SIZE\0` and the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobId([u8; 20]);

impl BlobId {
    /// Parses 40 hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        hexadecimal(text).map(Self)
    }

    /// Returns the id of a file in large-file storage, for which git itself stores a pointer of three lines.
    pub(super) fn of_pointer(sha256: Digest, size: u64) -> Self {
        let note = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n");
        let mut hash = blob(note.len() as u64);
        hash.update(note);
        Self(hash.finalize().into())
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn blob(size: u64) -> Sha1 {
    Sha1::new_with_prefix(format!("blob {size}\0"))
}

/// The hash of a file's content in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// The sha256 of a file in large-file storage, as all weights are.
    Sha256(Digest),
    /// Git's id of any other file.
    GitBlob(BlobId),
}

impl Hash {
    /// Returns the sha256, if the hash is one.
    pub fn sha256(self) -> Option<Digest> {
        match self {
            Self::Sha256(digest) => Some(digest),
            Self::GitBlob(_) => None,
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => write!(f, "sha256 {digest}"),
            Self::GitBlob(id) => write!(f, "git blob {id}"),
        }
    }
}

/// Hashes a file's bytes in order: always its sha256, and also the expected hash if that is of another kind.
#[derive(Clone, Debug)]
pub(super) struct Hasher {
    expected: Option<Hash>,
    sha256: Sha256,
    blob: Option<Sha1>,
}

impl Hasher {
    /// Returns a hasher for a file of `size` bytes with the listed hash `expected`.
    pub fn new(expected: Option<Hash>, size: u64) -> Self {
        let blob = matches!(expected, Some(Hash::GitBlob(_))).then(|| blob(size));
        Self { expected, sha256: Sha256::new(), blob }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(blob) = &mut self.blob {
            blob.update(bytes);
        }
    }

    /// Returns the sha256 of all bytes.
    ///
    /// # Errors
    /// The hash differs from the expected one.
    pub fn finish(self) -> Result<Digest, Mismatch> {
        let sha256 = Digest(self.sha256.finalize().into());
        let found = match self.blob {
            Some(blob) => Hash::GitBlob(BlobId(blob.finalize().into())),
            None => Hash::Sha256(sha256),
        };
        match self.expected {
            Some(expected) if expected != found => Err(Mismatch { expected, found }),
            _ => Ok(sha256),
        }
    }
}

/// A file's hash differs from the listing's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub expected: Hash,
    pub found: Hash,
}

#[cfg(test)]
mod tests {
    use super::*;

    // `printf 'hello\n' | git hash-object --stdin`
    const HELLO: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

    #[test]
    fn a_small_file_is_held_to_gits_id_and_its_sha256_is_told() {
        let expected = Hash::GitBlob(BlobId::parse(HELLO).unwrap());
        let hashed = |text: &str| {
            let mut hasher = Hasher::new(Some(expected), text.len() as u64);
            hasher.update(text.as_bytes());
            hasher.finish()
        };
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!(hashed("hello\n").unwrap().to_string(), sha256);
        assert_eq!(hashed("hellO\n").unwrap_err().expected, expected);
    }

    #[test]
    fn a_pointers_id_is_what_git_gives_the_note() {
        // `printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 6\n' $SHA | git hash-object --stdin`
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let id = BlobId::of_pointer(Digest::parse(sha256).unwrap(), 6);
        assert_eq!(id.to_string(), POINTER);
    }

    const POINTER: &str = "fa61e1ef71c9908c0926776a4aa3504b3a27f159";
}

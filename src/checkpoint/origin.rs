//! What a conversion was made of: enough of each file to see later that another one lies in its place.

use std::fs::File;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Error;
use super::output::Rounding;
use super::read::is_plain_file_name;
use crate::files::read_at;

/// Bytes that are hashed at the beginning, in the middle and at the end of a file: other weights differ in each.
const SAMPLE: u64 = 64 << 10;

/// How a conversion was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// What became of the types of weights.
    pub rounding: Rounding,
    /// The files of weights that it was made from.
    pub sources: Vec<Source>,
}

/// A file of weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its name.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of samples of it, in hexadecimal.
    pub samples: String,
}

impl Origin {
    /// A conversion of these files.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn of(rounding: Rounding, files: &[impl AsRef<Path>]) -> Result<Self, Error> {
        let sources = files.iter().map(|file| Source::of(file.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { rounding, sources })
    }

    /// The sources in whose place other files lie in `folder`. Those that are not there were deleted, perhaps.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn changed(&self, folder: &Path) -> Result<Vec<&str>, Error> {
        let mut changed = Vec::new();
        for source in self.sources.iter().filter(|source| is_plain_file_name(&source.file)) {
            let file = folder.join(&source.file);
            if file.is_file() && Source::of(&file)? != *source {
                changed.push(source.file.as_str());
            }
        }
        Ok(changed)
    }
}

impl Source {
    fn of(path: &Path) -> Result<Self, Error> {
        let (bytes, samples) = samples(path).map_err(Error::read(path))?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { file, bytes, samples })
    }
}

/// Size of a file, and the hash of its samples.
fn samples(path: &Path) -> io::Result<(u64, String)> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut hash = Sha256::new();
    for start in [0, bytes / 2, bytes.saturating_sub(SAMPLE)] {
        let mut sample = vec![0; SAMPLE.min(bytes - start) as usize];
        let mut read = 0;
        while read < sample.len() {
            match read_at(&file, &mut sample[read..], start + read as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => read += n,
            }
        }
        hash.update(&sample);
    }
    Ok((bytes, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn other_bytes_anywhere_that_is_sampled_and_other_sizes_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weights");
        let bytes: Vec<u8> = (0..1_000_000u32).map(|i| (i * 7919 >> 5) as u8).collect();
        fs::write(&file, &bytes).unwrap();
        let origin = Origin::of(Rounding::default(), &[&file]).unwrap();
        assert!(origin.changed(folder.path()).unwrap().is_empty());
        for at in [0, 65_535, 500_000, 999_999] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            fs::write(&file, &other).unwrap();
            assert_eq!(origin.changed(folder.path()).unwrap(), ["weights"], "{at}");
        }
        for size in [0, 10, 999_999] {
            fs::write(&file, &bytes[..size]).unwrap();
            assert_eq!(origin.changed(folder.path()).unwrap(), ["weights"], "{size}");
        }
        fs::remove_file(&file).unwrap();
        assert!(origin.changed(folder.path()).unwrap().is_empty());
    }
}

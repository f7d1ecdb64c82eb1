//! The provenance of a conversion: sizes and sampled hashes of its source files, by which changes are detected.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoint::convert::output::Rounding;
use crate::checkpoint::read::is_plain_file_name;
use crate::system::files;

/// Number of samples of a file that are hashed. They are evenly spread, so a change of 1/255 of the file in one place
/// changes at least one sample.
const SAMPLES: u64 = 256;
/// Size of a sample, in bytes.
const SAMPLE: u64 = 4 << 10;

/// The sources of a conversion, and how types were changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// How types of weights were changed, step by step if a conversion was converted again; empty if they were not
    /// changed.
    pub roundings: Vec<Rounding>,
    /// The files of weights that the first conversion was made from.
    pub sources: Vec<Source>,
}

/// A file of weights that a conversion was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Name of the file.
    pub file: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the file's samples, in hexadecimal.
    pub samples: String,
}

impl Provenance {
    /// Returns the names of the sources that differ from the files of these names in `folder`. Files that are missing
    /// (they may have been deleted) or unreadable do not count.
    pub fn changed(&self, folder: &Path) -> Vec<&str> {
        let other = |source: &&Source| {
            let file = folder.join(&source.file);
            is_plain_file_name(&source.file) && file.is_file() && !source.matches(&file)
        };
        self.sources.iter().filter(other).map(|source| source.file.as_str()).collect()
    }
}

impl Source {
    /// Returns the name, size and sampled hash of a file.
    pub(in crate::checkpoint) fn of(path: &Path) -> io::Result<Self> {
        let mut file = files::open(path)?;
        let bytes = file.metadata()?.len();
        let mut hash = Sha256::new();
        let mut sample = vec![0; SAMPLE.min(bytes) as usize];
        let room = bytes - sample.len() as u64;
        for i in 0..SAMPLES {
            let start = (u128::from(room) * u128::from(i) / u128::from(SAMPLES - 1)) as u64;
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut sample)?;
            hash.update(&sample);
        }
        let samples = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { file, bytes, samples })
    }

    /// Returns whether `file` has the size and the sampled hash of this source. A file that cannot be read counts as
    /// equal.
    pub(super) fn matches(&self, file: &Path) -> bool {
        match Self::of(file) {
            Ok(found) => found.bytes == self.bytes && found.samples == self.samples,
            Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn other_bytes_and_other_sizes_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weights");
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(7919) >> 5) as u8).collect();
        fs::write(&file, &bytes).unwrap();
        let provenance = Provenance { roundings: Vec::new(), sources: vec![Source::of(&file).unwrap()] };
        let changed = || !provenance.changed(folder.path()).is_empty();
        assert!(!changed());
        // A hundredth of the file, at any place.
        for start in (0..bytes.len()).step_by(91_111) {
            let mut other = bytes.clone();
            other[start..(start + 30_000).min(bytes.len())].fill(0);
            fs::write(&file, &other).unwrap();
            assert!(changed(), "{start}");
        }
        for size in [0, 10, bytes.len() - 1] {
            fs::write(&file, &bytes[..size]).unwrap();
            assert!(changed(), "{size}");
        }
        fs::remove_file(&file).unwrap();
        assert!(!changed());
        for size in [0, 1, 4095, 4096, 4097] {
            fs::write(&file, &bytes[..size]).unwrap();
            assert_eq!(Source::of(&file).unwrap().bytes, size as u64);
        }
    }
}

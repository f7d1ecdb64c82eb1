//! What a conversion was made of: enough of each file to see later that another one lies in its place.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoint::convert::output::Rounding;
use crate::checkpoint::read::is_plain_file_name;
use crate::system::files;

/// Places of a file that are hashed, evenly spread, and the bytes of each: no change of a stretch of a 255th of a file is
/// missed.
const SAMPLES: u64 = 256;
const SAMPLE: u64 = 4 << 10;

/// How a conversion was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// What became of the types of weights, one after the other where a conversion was converted; none if they are as
    /// they were.
    pub roundings: Vec<Rounding>,
    /// The files of weights that it was made from at first.
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

impl Provenance {
    /// The sources in whose place other files lie in `folder`. Those that are not there were deleted,
    /// perhaps; those that cannot be read are not others as far as can be told.
    pub fn changed(&self, folder: &Path) -> Vec<&str> {
        let other = |source: &&Source| {
            let file = folder.join(&source.file);
            is_plain_file_name(&source.file) && file.is_file() && !source.is(&file)
        };
        self.sources.iter().filter(other).map(|source| source.file.as_str()).collect()
    }
}

impl Source {
    /// What a file has to show.
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

    /// Whether `file` is this one, as far as can be told: one that cannot be read may be.
    pub(super) fn is(&self, file: &Path) -> bool {
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
        // A hundredth of it, wherever that is.
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

//! Whether a conversion was made from a checkpoint, or would be the same.

use std::path::PathBuf;

use super::provenance::{Provenance, Source};
use crate::checkpoint::convert::output::Rounding;
use crate::checkpoint::error::Error;
use crate::checkpoint::open::Checkpoint;

impl Provenance {
    /// Of a conversion of `checkpoint`; of a conversion, what that was made of.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn of(checkpoint: &Checkpoint, rounding: Rounding) -> Result<Self, Error> {
        let of_file = |file: &PathBuf| Source::of(file).map_err(Error::read(file));
        let sources = match known(checkpoint) {
            Some(known) => known.sources.clone(),
            None => checkpoint.files.iter().map(of_file).collect::<Result<_, _>>()?,
        };
        Ok(Self { roundings: roundings(checkpoint, rounding), sources })
    }

    /// Whether a conversion of `checkpoint` with this rounding would have it.
    pub fn is_of(&self, checkpoint: &Checkpoint, rounding: Rounding) -> bool {
        let is_source = |file: &PathBuf| {
            let name = file.file_name().unwrap_or_default();
            self.sources.iter().any(|source| name == source.file.as_str() && source.is(file))
        };
        let are_sources = || match known(checkpoint) {
            Some(known) => self.sources == known.sources,
            None => self.sources.len() == checkpoint.files.len() && checkpoint.files.iter().all(is_source),
        };
        self.is_rounded_as(checkpoint, rounding) && are_sources()
    }

    /// Whether weights became in it what they would in a conversion of `checkpoint` with this rounding.
    pub fn is_rounded_as(&self, checkpoint: &Checkpoint, rounding: Rounding) -> bool {
        self.roundings == roundings(checkpoint, rounding)
    }
}

/// What a checkpoint was made of, where it was converted and says so.
fn known(checkpoint: &Checkpoint) -> Option<&Provenance> {
    checkpoint.origin.as_ref().filter(|provenance| !provenance.sources.is_empty())
}

/// What became of the types of weights once `rounding` was done as well.
fn roundings(checkpoint: &Checkpoint, rounding: Rounding) -> Vec<Rounding> {
    let before = known(checkpoint).map_or(&[][..], |provenance| &provenance.roundings);
    let all = before.iter().copied().chain([rounding]);
    all.filter(|rounding| *rounding != Rounding::default()).collect()
}

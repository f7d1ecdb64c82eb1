//! Determines the provenance of a conversion, and compares it with a checkpoint.

use std::path::PathBuf;

use super::provenance::{Provenance, Source};
use crate::checkpoint::convert::output::Rounding;
use crate::checkpoint::error::Error;
use crate::checkpoint::open::Checkpoint;

impl Provenance {
    /// Returns the provenance of a conversion of `checkpoint`. If `checkpoint` is a conversion itself, the sources are
    /// those that it was made from.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn of(checkpoint: &Checkpoint, rounding: Rounding) -> Result<Self, Error> {
        let of_file = |file: &PathBuf| Source::of(file).map_err(Error::read(file));
        let sources = match recorded(checkpoint) {
            Some(provenance) => provenance.sources.clone(),
            None => checkpoint.files.iter().map(of_file).collect::<Result<_, _>>()?,
        };
        Ok(Self { roundings: roundings(checkpoint, rounding), sources })
    }

    /// Returns whether a conversion of `checkpoint` with this rounding would have this provenance.
    pub fn is_of(&self, checkpoint: &Checkpoint, rounding: Rounding) -> bool {
        let is_source = |file: &PathBuf| {
            let name = file.file_name().unwrap_or_default();
            self.sources.iter().any(|source| name == source.file.as_str() && source.matches(file))
        };
        let are_sources = || match recorded(checkpoint) {
            Some(provenance) => self.sources == provenance.sources,
            None => self.sources.len() == checkpoint.files.len() && checkpoint.files.iter().all(is_source),
        };
        self.is_rounded_as(checkpoint, rounding) && are_sources()
    }

    /// Returns whether types were changed as in a conversion of `checkpoint` with this rounding.
    pub fn is_rounded_as(&self, checkpoint: &Checkpoint, rounding: Rounding) -> bool {
        self.roundings == roundings(checkpoint, rounding)
    }
}

/// Returns the provenance that a checkpoint records; `None` if it is not a conversion or lists no sources.
fn recorded(checkpoint: &Checkpoint) -> Option<&Provenance> {
    checkpoint.provenance.as_ref().filter(|provenance| !provenance.sources.is_empty())
}

/// Returns all changes of types, `rounding` included.
fn roundings(checkpoint: &Checkpoint, rounding: Rounding) -> Vec<Rounding> {
    let before = recorded(checkpoint).map_or(&[][..], |provenance| &provenance.roundings);
    let all = before.iter().copied().chain([rounding]);
    all.filter(|rounding| *rounding != Rounding::default()).collect()
}

//! Names as a person types them: the checks of `names`, with an error that quotes what was typed.

use std::str::FromStr;

use super::{Error, FileName, RepoId, Revision};

impl FromStr for RepoId {
    type Err = Error;

    fn from_str(typed: &str) -> Result<Self, Error> {
        Self::parse(typed).ok_or_else(|| Error::RepoName { typed: typed.to_string() })
    }
}

impl FromStr for Revision {
    type Err = Error;

    fn from_str(typed: &str) -> Result<Self, Error> {
        Self::parse(typed).ok_or_else(|| Error::RevisionName { typed: typed.to_string() })
    }
}

impl FromStr for FileName {
    type Err = Error;

    fn from_str(typed: &str) -> Result<Self, Error> {
        Self::parse(typed).ok_or_else(|| Error::FileName { typed: typed.to_string() })
    }
}

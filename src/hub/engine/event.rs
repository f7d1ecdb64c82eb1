//! Messages from the download's threads to the thread that runs it.

use std::sync::Arc;

use super::part::Part;
use crate::hub::{Digest, Error};

/// Messages from the threads to the caller's.
#[derive(Debug)]
pub(super) enum Event {
    /// A message for the user.
    Note(String),
    /// The download of a file has started.
    Begun(Arc<Part>),
    /// A file is complete and has its final name.
    Finished(Arc<Part>, Digest),
    /// The download cannot continue.
    Failed(Error),
}

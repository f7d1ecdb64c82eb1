//! Threads that the system does not give.

use std::io;

/// What the user can do where the system gives no more threads.
pub const NO_THREAD: &str =
    "`ulimit -u` shows how many processes and threads a user may have: end some, or raise the limit";

/// The error of a thread that could not be started. It travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("no thread could be started: {0}")]
pub struct NoThread(pub io::Error);

impl From<NoThread> for io::Error {
    fn from(error: NoThread) -> Self {
        io::Error::new(error.0.kind(), error)
    }
}

//! Starts threads, and reports an error if the system refuses.

use std::io;
use std::thread::Builder;

use memmap2::MmapMut;

/// The hint for a system that allows no more threads.
pub const NO_THREAD: &str =
    "`ulimit -u` shows how many processes and threads a user may have: end some, or raise the limit";

/// Stack size in bytes of a thread that needs no large stack.
pub const STACK: usize = 2 << 20;

/// Address space that must be free beside a new thread's stack, in bytes. glibc aborts the process if a starting thread
/// gets no memory for its thread-locals.
const SPARE: usize = 4 << 20;

/// Returns a builder of a thread with this name and stack size in bytes, which is not spawned yet.
///
/// # Errors
/// [`io::ErrorKind::OutOfMemory`] if the system has no room for the stack and the thread-locals.
pub fn builder(name: &str, stack: usize) -> io::Result<Builder> {
    room(stack)?;
    Ok(Builder::new().name(name.into()).stack_size(stack))
}

/// Checks that there is room for a thread that a library starts, with this stack size in bytes.
///
/// # Errors
/// [`io::ErrorKind::OutOfMemory`] if there is none.
pub fn room(stack: usize) -> io::Result<()> {
    // Takes address space only, since nothing is written to it, and is unmapped immediately.
    match MmapMut::map_anon(stack.saturating_add(SPARE)) {
        Ok(_) => Ok(()),
        Err(_) => Err(io::ErrorKind::OutOfMemory.into()),
    }
}

/// The error for a thread that could not be started. It travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("no thread could be started: {0}")]
pub struct NoThread(pub io::Error);

impl From<NoThread> for io::Error {
    fn from(error: NoThread) -> Self {
        io::Error::new(error.0.kind(), error)
    }
}

// The lint exempts test functions but not their helpers, where a failure also fails the test.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_beyond_all_memory_is_an_error_and_an_ordinary_one_runs() {
        assert_eq!(builder("large", isize::MAX as usize).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        let thread =
            builder("small", STACK).unwrap().spawn(|| std::thread::current().name().map(str::to_owned));
        assert_eq!(thread.unwrap().join().unwrap().as_deref(), Some("small"));
    }
}

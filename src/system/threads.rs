//! Threads, and what becomes of one that the system does not give.

use std::io;
use std::thread::Builder;

use memmap2::MmapMut;

/// What the user can do where the system gives no more threads.
pub const NO_THREAD: &str =
    "`ulimit -u` shows how many processes and threads a user may have: end some, or raise the limit";

/// The stack of a thread that needs no large one, in bytes.
pub const STACK: usize = 2 << 20;

/// Address space that there must be beside a new thread's stack, in bytes. glibc aborts the process where a thread that
/// begins is refused the few bytes that its thread-locals take.
const SPARE: usize = 4 << 20;

/// A thread of that name with a stack of so many bytes, which is still to be spawned.
///
/// # Errors
/// [`io::ErrorKind::OutOfMemory`] where the system has no room for the stack and what a thread begins with.
pub fn builder(name: &str, stack: usize) -> io::Result<Builder> {
    room(stack)?;
    Ok(Builder::new().name(name.into()).stack_size(stack))
}

/// Whether there is room for a thread that a library starts, with a stack of so many bytes.
///
/// # Errors
/// [`io::ErrorKind::OutOfMemory`] where there is none.
pub fn room(stack: usize) -> io::Result<()> {
    // Nothing is written to it, so that it takes address space alone, and it is given back at once.
    match MmapMut::map_anon(stack.saturating_add(SPARE)) {
        Ok(_) => Ok(()),
        Err(_) => Err(io::ErrorKind::OutOfMemory.into()),
    }
}

/// The error of a thread that could not be started. It travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("no thread could be started: {0}")]
pub struct NoThread(pub io::Error);

impl From<NoThread> for io::Error {
    fn from(error: NoThread) -> Self {
        io::Error::new(error.0.kind(), error)
    }
}

// The lint knows functions marked as tests, not their helpers; a helper that fails here is a failed test.
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

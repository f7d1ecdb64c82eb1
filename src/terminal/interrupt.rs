//! Ctrl-C during a reply stops the reply, not the chat. Everywhere else it ends the process with 130.
//!
//! The line editor reads Ctrl-C as a key, so no signal comes from there. `kill` and a closed terminal
//! (SIGTERM, SIGHUP) are not caught: they end the process as they end any other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::system::hinted::Hinted;
use crate::system::threads::{self, NO_THREAD};
use crate::system::type_ahead;

/// The exit status of a process that was ended by Ctrl-C: 128 + SIGINT.
const STATUS: i32 = 130;

static STATE: State = State::new();

/// What the signal's thread and the program share.
struct State {
    /// Guards that live.
    listening: AtomicUsize,
    interrupted: AtomicBool,
}

impl State {
    const fn new() -> Self {
        Self { listening: AtomicUsize::new(0), interrupted: AtomicBool::new(false) }
    }

    /// Notes a signal. Whether it has to end the process: nobody listens, or the one before it was not taken.
    fn signal(&self) -> bool {
        self.listening.load(Ordering::SeqCst) == 0 || self.interrupted.swap(true, Ordering::SeqCst)
    }
}

/// Ctrl-C cannot be caught.
#[derive(Debug, thiserror::Error)]
pub enum InterruptError {
    /// What the system reports, or that there is a handler already.
    #[error("cannot install the Ctrl-C handler: {0}")]
    Install(ctrlc::Error),
    /// The system gives this process no more threads.
    #[error("no thread could be started to wait for Ctrl-C: {0}")]
    NoThread(std::io::Error),
}

impl Hinted for InterruptError {
    fn hint(&self) -> Option<String> {
        matches!(self, Self::NoThread(_)).then(|| NO_THREAD.into())
    }
}

impl From<ctrlc::Error> for InterruptError {
    fn from(error: ctrlc::Error) -> Self {
        match error {
            // Its other errors of the system have no kind.
            ctrlc::Error::System(cause) if cause.kind() != std::io::ErrorKind::Other => Self::NoThread(cause),
            error => Self::Install(error),
        }
    }
}

/// The process's handler of Ctrl-C.
#[derive(Debug)]
pub struct Interrupt(());

impl Interrupt {
    /// Installs the handler, if it is not there yet.
    ///
    /// # Errors
    /// [`InterruptError`] if there is another one or the system refuses.
    pub fn install() -> Result<Self, InterruptError> {
        static INSTALLED: Mutex<bool> = Mutex::new(false);
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if *installed {
            return Ok(Self(()));
        }
        threads::room(threads::STACK).map_err(InterruptError::NoThread)?;
        ctrlc::set_handler(|| {
            if STATE.signal() {
                type_ahead::restore();
                // The main thread is busy, or it would have taken the signal before: only this thread can end it.
                #[allow(clippy::exit)]
                std::process::exit(STATUS);
            }
        })?;
        *installed = true;
        Ok(Self(()))
    }

    /// From here until the guard is dropped, and others that live then, the first Ctrl-C only sets the flag, and the
    /// second, if the first was not taken, ends the process. Clears the flag.
    #[must_use = "Ctrl-C ends the process as soon as the guard is dropped"]
    pub fn listen(&self) -> Listening {
        STATE.interrupted.store(false, Ordering::SeqCst);
        STATE.listening.fetch_add(1, Ordering::SeqCst);
        Listening(())
    }

    /// Whether Ctrl-C came since [`listen`](Self::listen) or the last `take`; clears the flag.
    pub fn take(&self) -> bool {
        STATE.interrupted.swap(false, Ordering::SeqCst)
    }

    /// The flag itself, for loops that only look.
    pub fn flag(&self) -> &'static AtomicBool {
        &STATE.interrupted
    }
}

/// While it lives, Ctrl-C is a request and not the end.
#[derive(Debug)]
pub struct Listening(());

impl Drop for Listening {
    fn drop(&mut self) {
        STATE.listening.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_the_process_unless_someone_listens() {
        let state = State::new();
        assert!(state.signal());
        assert!(!state.interrupted.load(Ordering::SeqCst));
    }

    #[test]
    fn the_second_signal_ends_the_process_unless_the_first_was_taken() {
        let state = State::new();
        state.listening.store(1, Ordering::SeqCst);
        assert!(!state.signal());
        assert!(state.signal());
        state.interrupted.store(false, Ordering::SeqCst);
        assert!(!state.signal());
    }
}

//! Handles Ctrl-C: it stops a running reply but not the chat. Otherwise it ends the process with status 130.
//!
//! The line editor reads Ctrl-C as a key, so it causes no signal there. SIGTERM and SIGHUP are not caught.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::system::hinted::Hinted;
use crate::system::threads::{self, NO_THREAD};
use crate::system::type_ahead;

/// The exit status after Ctrl-C: 128 + SIGINT.
const STATUS: i32 = 130;

static STATE: State = State::new();

/// The state that the thread of the signal handler shares with the program.
struct State {
    /// Number of [`Listening`] guards.
    listening: AtomicUsize,
    interrupted: AtomicBool,
}

impl State {
    const fn new() -> Self {
        Self { listening: AtomicUsize::new(0), interrupted: AtomicBool::new(false) }
    }

    /// Records a signal. Returns whether it ends the process: there is no guard, or the last signal was not taken.
    fn signal(&self) -> bool {
        self.listening.load(Ordering::SeqCst) == 0 || self.interrupted.swap(true, Ordering::SeqCst)
    }
}

/// An error in installing the Ctrl-C handler.
#[derive(Debug, thiserror::Error)]
pub enum InterruptError {
    /// The system refuses the handler, or another handler exists.
    #[error("cannot install the Ctrl-C handler: {0}")]
    Install(ctrlc::Error),
    /// The process cannot start another thread.
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
            // ctrlc's other system errors have the kind `Other`.
            ctrlc::Error::System(cause) if cause.kind() != std::io::ErrorKind::Other => Self::NoThread(cause),
            error => Self::Install(error),
        }
    }
}

/// The Ctrl-C handler of the process.
#[derive(Debug)]
pub struct Interrupt(());

impl Interrupt {
    /// Installs the handler unless it is installed already.
    ///
    /// # Errors
    /// Another handler exists; the system refuses the handler or its thread.
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
                // The main thread is busy, or it would have taken the earlier signal. Only this thread can end the process.
                #[allow(clippy::exit)]
                std::process::exit(STATUS);
            }
        })?;
        *installed = true;
        Ok(Self(()))
    }

    /// Clears the flag and returns a guard, during which the first Ctrl-C only sets the flag.
    ///
    /// A second Ctrl-C ends the process if the first was not taken. Guards may overlap.
    #[must_use = "Ctrl-C ends the process as soon as the guard is dropped"]
    pub fn listen(&self) -> Listening {
        STATE.interrupted.store(false, Ordering::SeqCst);
        STATE.listening.fetch_add(1, Ordering::SeqCst);
        Listening(())
    }

    /// Returns whether Ctrl-C was pressed since [`listen`](Self::listen) or the last `take`, and clears the flag.
    pub fn take(&self) -> bool {
        STATE.interrupted.swap(false, Ordering::SeqCst)
    }

    /// Returns the flag for code that only reads it.
    pub fn flag(&self) -> &'static AtomicBool {
        &STATE.interrupted
    }
}

/// A guard during which Ctrl-C sets a flag instead of ending the process.
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

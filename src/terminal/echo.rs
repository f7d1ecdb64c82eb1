//! What is typed while a reply is written is not shown in the middle of it: it waits for the next prompt, which shows
//! it. Keys that are signals, Ctrl-C among them, still are.

#[cfg(unix)]
pub use self::unix::Silence;
#[cfg(unix)]
pub(super) use self::unix::restore;

/// While it lives, the terminal on stdin shows nothing of what is typed. Nothing changes where stdin is none.
#[cfg(not(unix))]
#[derive(Debug)]
pub struct Silence(());

#[cfg(not(unix))]
impl Silence {
    /// From now on.
    pub fn begin() -> Self {
        Self(())
    }
}

#[cfg(not(unix))]
pub(super) fn restore() -> bool {
    false
}

#[cfg(unix)]
mod unix {
    use std::io::stdin;
    use std::sync::{Mutex, PoisonError};

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

    /// How the terminal was, while it is silent: the thread of a signal may have to end the process.
    static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

    /// While it lives, the terminal on stdin shows nothing of what is typed. Nothing changes where stdin is none.
    #[derive(Debug)]
    pub struct Silence(());

    impl Silence {
        /// From now on.
        pub fn begin() -> Self {
            if let Ok(before) = tcgetattr(stdin()) {
                let mut silent = before.clone();
                silent.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
                *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
                // A terminal that cannot be set shows what is typed, no more.
                let _ = tcsetattr(stdin(), OptionalActions::Now, &silent);
            }
            Self(())
        }
    }

    impl Drop for Silence {
        fn drop(&mut self) {
            restore();
        }
    }

    /// Ends the silence; whether there was one.
    pub(in crate::terminal) fn restore() -> bool {
        let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(before) = &before {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
        before.is_some()
    }
}

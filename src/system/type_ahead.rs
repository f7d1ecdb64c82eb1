//! Type-ahead: keeps the keys that the user types during a computation for the next read, and does not echo them in the
//! output.
//!
//! By default a terminal echoes typed keys at the cursor, and Ctrl-C discards unread input. While a [`TypeAhead`]
//! lives, the terminal does neither (no `ECHO`; `NOFLSH`), and it passes bytes on as they come (no `ICANON`), so that
//! the next read also finds an unfinished line. Ctrl-C still sends a signal. Pastes are bracketed, so that a paste of
//! several lines is recognised as one.
//!
//! The modes are restored however the process ends, unless it cannot notice its end (SIGKILL): by dropping, by
//! [`restore`] before the process exits, and by handlers of SIGTERM, SIGHUP and SIGQUIT. Ctrl-Z restores them, and `fg`
//! sets them again. Unread input is then discarded, as without a [`TypeAhead`]: it was not meant for the shell, which
//! would run it.
//!
//! A terminal buffers about 4 KB in this way (Linux; 1 KB on macOS). Further input stays with the sender, and a Ctrl-C
//! after it has no effect before the buffer is read.
//!
//! Windows echoes only what a program reads, and buffers the rest: there the functions do nothing.

pub use platform::{TypeAhead, restore, stop};

#[cfg(not(unix))]
mod platform {
    /// Does nothing.
    #[derive(Debug)]
    pub struct TypeAhead(());

    impl TypeAhead {
        /// Does nothing.
        ///
        /// # Errors
        /// None.
        pub fn keep(_: bool) -> std::io::Result<Self> {
            Ok(Self(()))
        }

        /// Does nothing.
        pub fn pause(&self) {}

        /// Does nothing.
        pub fn resume(&self) {}
    }

    /// Does nothing.
    pub fn restore() {}

    /// Does nothing.
    pub fn stop() {}
}

#[cfg(unix)]
#[allow(unsafe_code)]
mod platform {
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::{AsFd, OwnedFd};
    use std::ptr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    use libc::c_int;
    use rustix::fs::{Mode, OFlags};
    use rustix::termios::{self, LocalModes, OptionalActions, QueueSelector, Termios};

    const BRACKET_PASTES: &[u8] = b"\x1b[?2004h";
    const PASTE_PLAINLY: &[u8] = b"\x1b[?2004l";

    /// Signals that end the process.
    const ENDS: [c_int; 3] = [libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

    /// The terminal and its original modes; the first [`TypeAhead`] opens it.
    static TERMINAL: OnceLock<Terminal> = OnceLock::new();
    /// Whether the terminal's modes are changed now.
    static IS_CHANGED: AtomicBool = AtomicBool::new(false);

    #[derive(Debug)]
    struct Terminal {
        handle: OwnedFd,
        original: Termios,
        bracket_pastes: bool,
    }

    impl Terminal {
        /// Opens the terminal that controls the process, or else the one on stdin.
        fn open(bracket_pastes: bool) -> io::Result<Self> {
            let own = rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
            let handle = own.or_else(|_| io::stdin().as_fd().try_clone_to_owned())?;
            let original = termios::tcgetattr(&handle)?;
            Ok(Self { handle, original, bracket_pastes })
        }

        /// Sets the modes, unless the process is in the background, where the call would stop it.
        fn set(&self, modes: &Termios, paste: &[u8]) {
            let own = rustix::process::getpgrp();
            if termios::tcgetpgrp(&self.handle).is_ok_and(|group| group != own) {
                return;
            }
            // A failure means that the terminal is gone.
            let _ = termios::tcsetattr(&self.handle, OptionalActions::Now, modes);
            if self.bracket_pastes {
                let _ = rustix::io::write(&self.handle, paste);
            }
        }

        /// Restores the modes, if they are changed.
        fn put_back(&self) {
            if IS_CHANGED.swap(false, Ordering::SeqCst) {
                self.set(&self.original, PASTE_PLAINLY);
            }
        }

        /// Sets the modes that keep typed keys for the next read.
        fn keep(&self) {
            let mut modes = self.original.clone();
            modes.local_modes -=
                LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::IEXTEN;
            modes.local_modes |= LocalModes::NOFLSH;
            IS_CHANGED.store(true, Ordering::SeqCst);
            self.set(&modes, BRACKET_PASTES);
        }
    }

    /// Keeps typed keys for the next read while it lives. Only one may live at a time.
    #[derive(Debug)]
    pub struct TypeAhead {
        terminal: &'static Terminal,
        /// The previous handlers of the signals.
        handlers: Vec<Handler>,
    }

    impl TypeAhead {
        /// Begins to keep typed keys, and brackets pastes if `bracket_pastes` is set because the terminal supports it.
        ///
        /// # Errors
        /// There is no terminal; the system's I/O error.
        pub fn keep(bracket_pastes: bool) -> io::Result<Self> {
            let terminal = match TERMINAL.get() {
                Some(terminal) => terminal,
                None => {
                    let opened = Terminal::open(bracket_pastes)?;
                    TERMINAL.get_or_init(|| opened)
                }
            };
            let ends = ENDS.into_iter().filter_map(|signal| Handler::install(signal, on_end));
            let stop = Handler::install(libc::SIGTSTP, on_stop);
            let handlers = ends.chain(stop).collect();
            terminal.keep();
            Ok(Self { terminal, handlers })
        }

        /// Restores the terminal's modes, for a read that needs the original ones.
        pub fn pause(&self) {
            self.terminal.put_back();
        }

        /// Ends a [`pause`](Self::pause), or a read that may have changed the modes.
        pub fn resume(&self) {
            self.terminal.keep();
        }
    }

    impl Drop for TypeAhead {
        fn drop(&mut self) {
            self.terminal.put_back();
            self.handlers.drain(..).for_each(Handler::uninstall);
        }
    }

    /// Restores the terminal's modes if they are changed, and discards unread input, before the process ends. May be
    /// called by any thread and in a signal handler.
    pub fn restore() {
        if let Some(terminal) = TERMINAL.get()
            && IS_CHANGED.load(Ordering::SeqCst)
        {
            let _ = termios::tcflush(&terminal.handle, QueueSelector::IFlush);
            terminal.put_back();
        }
    }

    /// Stops the process group, after Ctrl-Z was read as a key. Returns when this process continues, or immediately if
    /// SIGTSTP is ignored. Must be called by the thread that uses the terminal.
    pub fn stop() {
        let signal = libc::SIGTSTP;
        let Some(handler) = Handler::install(signal, on_stop) else { return };
        // SAFETY: any signal may be sent and ignored. This process ignores the signal that it sends to the group, which
        // could be delivered at any time to any thread, and then stops itself.
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
            libc::kill(0, signal);
            libc::signal(signal, libc::SIG_DFL);
        }
        stop_alone(signal);
        handler.uninstall();
    }

    /// Stops the process with the terminal's original modes, and sets the current modes again when the process
    /// continues. The handler of `signal` must be the system's default.
    fn stop_alone(signal: c_int) {
        let terminal = TERMINAL.get().map(|terminal| (terminal, termios::tcgetattr(&terminal.handle)));
        if let Some((terminal, _)) = &terminal {
            let _ = termios::tcflush(&terminal.handle, QueueSelector::IFlush);
            terminal.set(&terminal.original, PASTE_PLAINLY);
        }
        // SAFETY: any signal may be raised. A raised signal goes to this thread, and takes effect before the call ends.
        unsafe { libc::raise(signal) };
        if let Some((terminal, Ok(before))) = terminal {
            let is_changed = IS_CHANGED.load(Ordering::SeqCst);
            terminal.set(&before, if is_changed { BRACKET_PASTES } else { PASTE_PLAINLY });
        }
    }

    /// The previous handler of a signal.
    struct Handler {
        signal: c_int,
        before: libc::sigaction,
    }

    impl std::fmt::Debug for Handler {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_tuple("Handler").field(&self.signal).finish()
        }
    }

    impl Handler {
        /// Installs a handler; returns `None`, without a change, if the signal is ignored, as under `nohup`.
        fn install(signal: c_int, handler: extern "C" fn(c_int)) -> Option<Self> {
            // SAFETY: the pointers are valid, or null where the call allows it. The handlers are async-signal-safe:
            // they load and store atomics, make system calls, and call functions that POSIX lists as such.
            unsafe {
                let mut before = MaybeUninit::<libc::sigaction>::uninit();
                if libc::sigaction(signal, ptr::null(), before.as_mut_ptr()) != 0 {
                    return None;
                }
                let before = before.assume_init();
                if before.sa_sigaction == libc::SIG_IGN {
                    return None;
                }
                let mut own: libc::sigaction = MaybeUninit::zeroed().assume_init();
                own.sa_sigaction = handler as usize;
                // With these flags a handler that raises its signal again gets the default action.
                own.sa_flags = libc::SA_RESTART | libc::SA_RESETHAND | libc::SA_NODEFER;
                libc::sigemptyset(&raw mut own.sa_mask);
                (libc::sigaction(signal, &raw const own, ptr::null_mut()) == 0)
                    .then_some(Self { signal, before })
            }
        }

        fn uninstall(self) {
            // SAFETY: the action was returned by the system.
            unsafe { libc::sigaction(self.signal, &raw const self.before, ptr::null_mut()) };
        }
    }

    /// Restores the terminal, and ends the process by the signal.
    extern "C" fn on_end(signal: c_int) {
        restore();
        // SAFETY: any signal may be raised.
        unsafe { libc::raise(signal) };
    }

    /// Stops the process, and installs itself again when the process continues.
    extern "C" fn on_stop(signal: c_int) {
        stop_alone(signal);
        let _ = Handler::install(signal, on_stop);
    }
}

//! Type-ahead: what is typed while the program computes waits for its next read, and is not echoed into its output.
//!
//! As it is for other programs, a terminal echoes what is typed wherever the cursor stands, and Ctrl-C throws away what
//! nobody has read. While a [`TypeAhead`] lives, the terminal does neither (no `ECHO`; `NOFLSH`), and gives bytes on as
//! they come (no `ICANON`), so that the next read finds an unfinished line, too. Ctrl-C stays a signal. Pastes are
//! bracketed, so that one of several lines is known as one.
//!
//! The modes are put back on every way out that the system lets a program see: by dropping, by [`restore`] before the
//! process exits, and by handlers of SIGTERM, SIGHUP and SIGQUIT. Ctrl-Z puts them back, and `fg` sets them again. What
//! nobody has read by then was not meant for the shell, which would run it: it is thrown away, as without a [`TypeAhead`].
//!
//! A terminal keeps about 4 KB in this way (Linux; 1 KB on macOS). What is more waits where it comes from, and a Ctrl-C
//! behind it is not seen before it is read.
//!
//! Windows echoes only what a program reads, and keeps the rest: there the functions do nothing.

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

    /// The terminal as it was found; the first [`TypeAhead`] opens it.
    static TERMINAL: OnceLock<Terminal> = OnceLock::new();
    /// Whether its modes are others now.
    static IS_CHANGED: AtomicBool = AtomicBool::new(false);

    #[derive(Debug)]
    struct Terminal {
        handle: OwnedFd,
        original: Termios,
        bracket_pastes: bool,
    }

    impl Terminal {
        /// The terminal that controls the process, else the one on stdin.
        fn open(bracket_pastes: bool) -> io::Result<Self> {
            let own = rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
            let handle = own.or_else(|_| io::stdin().as_fd().try_clone_to_owned())?;
            let original = termios::tcgetattr(&handle)?;
            Ok(Self { handle, original, bracket_pastes })
        }

        /// Sets the modes. A process in the background would be stopped for that.
        fn set(&self, modes: &Termios, paste: &[u8]) {
            let own = rustix::process::getpgrp();
            if termios::tcgetpgrp(&self.handle).is_ok_and(|group| group != own) {
                return;
            }
            // Where the terminal is gone there is nothing to set.
            let _ = termios::tcsetattr(&self.handle, OptionalActions::Now, modes);
            if self.bracket_pastes {
                let _ = rustix::io::write(&self.handle, paste);
            }
        }

        /// Puts the modes back, if they are others.
        fn put_back(&self) {
            if IS_CHANGED.swap(false, Ordering::SeqCst) {
                self.set(&self.original, PASTE_PLAINLY);
            }
        }

        /// Keeps what is typed from now on.
        fn keep(&self) {
            let mut modes = self.original.clone();
            modes.local_modes -=
                LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::IEXTEN;
            modes.local_modes |= LocalModes::NOFLSH;
            IS_CHANGED.store(true, Ordering::SeqCst);
            self.set(&modes, BRACKET_PASTES);
        }
    }

    /// While it lives, what is typed waits for the next read. One at a time.
    #[derive(Debug)]
    pub struct TypeAhead {
        terminal: &'static Terminal,
        /// What handled the signals before.
        handlers: Vec<Handler>,
    }

    impl TypeAhead {
        /// Begins to keep what is typed; `bracket_pastes` where the terminal understands that.
        ///
        /// # Errors
        /// What the system reports; there is no terminal.
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

        /// The terminal is as it was, as for a read that wants it so.
        pub fn pause(&self) {
            self.terminal.put_back();
        }

        /// The end of [`pause`](Self::pause), or of a read that may have left other modes.
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

    /// Before the process ends: puts the terminal's modes back, if they are others, and throws away what nobody has read.
    /// By any thread, and in a handler of signals.
    pub fn restore() {
        if let Some(terminal) = TERMINAL.get()
            && IS_CHANGED.load(Ordering::SeqCst)
        {
            let _ = termios::tcflush(&terminal.handle, QueueSelector::IFlush);
            terminal.put_back();
        }
    }

    /// Ctrl-Z, where it was read as a key: stops the process group. Returns when this process goes on, or at once where
    /// such signals are ignored. By the thread that uses the terminal, which does nothing in between.
    pub fn stop() {
        let signal = libc::SIGTSTP;
        let Some(handler) = Handler::install(signal, on_stop) else { return };
        // SAFETY: any signal may be sent, and ignored. This process ignores the one that is for the others: it could be
        // delivered at any time to any thread.
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
            libc::kill(0, signal);
            libc::signal(signal, libc::SIG_DFL);
        }
        stop_alone(signal);
        handler.uninstall();
    }

    /// Stops the process, whose handler of `signal` is the system's, and leaves the terminal as it was; when it goes on,
    /// the modes are those of before.
    fn stop_alone(signal: c_int) {
        let terminal = TERMINAL.get().map(|terminal| (terminal, termios::tcgetattr(&terminal.handle)));
        if let Some((terminal, _)) = &terminal {
            let _ = termios::tcflush(&terminal.handle, QueueSelector::IFlush);
            terminal.set(&terminal.original, PASTE_PLAINLY);
        }
        // SAFETY: any signal may be raised. One that is raised is this thread's, and has its effect before the call ends.
        unsafe { libc::raise(signal) };
        if let Some((terminal, Ok(before))) = terminal {
            let is_changed = IS_CHANGED.load(Ordering::SeqCst);
            terminal.set(&before, if is_changed { BRACKET_PASTES } else { PASTE_PLAINLY });
        }
    }

    /// What handled a signal before.
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
        /// `None` where the signal is ignored, as under `nohup`, and stays so.
        fn install(signal: c_int, handler: extern "C" fn(c_int)) -> Option<Self> {
            // SAFETY: the pointers are valid, or null where the call allows it. The handlers do only what handlers may:
            // they load and store atomics, make system calls, and call functions that POSIX lists for them.
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
                // A handler may raise its signal again, which then has its usual effect.
                own.sa_flags = libc::SA_RESTART | libc::SA_RESETHAND | libc::SA_NODEFER;
                libc::sigemptyset(&raw mut own.sa_mask);
                (libc::sigaction(signal, &raw const own, ptr::null_mut()) == 0)
                    .then_some(Self { signal, before })
            }
        }

        fn uninstall(self) {
            // SAFETY: the action is one that the system gave out.
            unsafe { libc::sigaction(self.signal, &raw const self.before, ptr::null_mut()) };
        }
    }

    /// The process ends by the signal, and leaves the terminal as it was.
    extern "C" fn on_end(signal: c_int) {
        restore();
        // SAFETY: any signal may be raised.
        unsafe { libc::raise(signal) };
    }

    /// The process stops.
    extern "C" fn on_stop(signal: c_int) {
        stop_alone(signal);
        let _ = Handler::install(signal, on_stop);
    }
}

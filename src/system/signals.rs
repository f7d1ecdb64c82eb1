//! Handlers of signals that would otherwise end the process without a message.
//!
//! **SIGBUS.** If another program truncates a mapped file, or its disk fails, some mapped pages cannot be read. The
//! system reports that by a signal at the very instruction that reads such a page, so no error can be returned. A
//! program that calls [`report_unreadable_maps`] ends with one line on stderr that names the file, and with status 1.
//! All other faults go to the previous handler: Rust's own, which reports a stack overflow.
//!
//! A library must not install a handler that its user did not request: before that call nothing is registered or
//! caught. Systems other than Unix have no such signal, and there the functions do nothing.
//!
//! **SIGXFSZ.** The system sends it when a file reaches the user's limit of file sizes: [`ignore_file_size_limit`]
//! turns it into an error.

use std::path::Path;

/// Ignores SIGXFSZ, the signal for a file that reaches the limit of file sizes (`ulimit -f`). The write then fails with
/// an error that can be reported, and the incomplete file can be deleted.
pub fn ignore_file_size_limit() {
    #[cfg(unix)]
    // SAFETY: no handler is installed, so none of our code runs in a signal's context.
    #[allow(unsafe_code)]
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Makes an access to an unreadable page of a [`watch`]ed map print `message(path)` to stderr and end the process with
/// status 1. The message is made when a file is mapped, not in the handler. Only the first call has an effect.
pub fn report_unreadable_maps(message: impl Fn(&Path) -> String + Send + Sync + 'static) {
    faults::install(Box::new(message));
}

/// Registers a map of the file at `path`. Dropping the result unregisters it, which must come before unmapping.
pub fn watch(path: &Path, map: &[u8]) -> Watched {
    Watched(faults::register(path, map))
}

/// A registered map.
#[derive(Debug)]
pub struct Watched(Option<usize>);

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(entry) = self.0 {
            faults::unregister(entry);
        }
    }
}

#[cfg(not(unix))]
mod faults {
    use std::path::Path;

    pub fn install(_: Box<dyn Fn(&Path) -> String + Send + Sync>) {}

    pub fn register(_: &Path, _: &[u8]) -> Option<usize> {
        None
    }

    pub fn unregister(_: usize) {}
}

#[cfg(unix)]
#[allow(unsafe_code)]
mod faults {
    use std::collections::HashMap;
    use std::mem::MaybeUninit;
    use std::path::{Path, PathBuf};
    use std::ptr;
    use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
    use std::sync::{Mutex, OnceLock, PoisonError};

    use libc::{c_int, c_void, siginfo_t};

    type Message = Box<dyn Fn(&Path) -> String + Send + Sync>;

    static MESSAGE: OnceLock<Message> = OnceLock::new();
    /// The previous handler of the signal.
    static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();
    static TABLE: [Entry; ENTRIES] = [const { Entry::free() }; ENTRIES];

    /// Maximum number of watched maps; additional maps are not watched. The largest published models have 200 files.
    const ENTRIES: usize = 1024;

    /// A table entry for a map. All fields are atomic, since a signal handler must not take a lock.
    struct Entry {
        /// Address of the first byte; 0 if the entry is free, 1 while it is being filled in.
        start: AtomicUsize,
        length: AtomicUsize,
        /// Never freed.
        message: AtomicPtr<String>,
    }

    const FREE: usize = 0;
    const TAKEN: usize = 1;

    impl Entry {
        const fn free() -> Self {
            Self {
                start: AtomicUsize::new(FREE),
                length: AtomicUsize::new(0),
                message: AtomicPtr::new(ptr::null_mut()),
            }
        }

        /// Returns the entry's message if `address` lies in its map.
        fn message_at(&self, address: usize) -> Option<&'static String> {
            let start = self.start.load(Ordering::Acquire);
            let length = self.length.load(Ordering::Relaxed);
            if start <= TAKEN || address < start || address - start >= length {
                return None;
            }
            // SAFETY: the pointer is null or points to a string that is never freed or changed.
            unsafe { self.message.load(Ordering::Relaxed).as_ref() }
        }
    }

    pub fn install(message: Message) {
        if MESSAGE.set(message).is_err() {
            return;
        }
        // SAFETY: both calls get valid pointers, or null where that is allowed. The handler only does what is
        // async-signal-safe: it loads atomics, writes, and ends the process or calls the previous handler as the system
        // would have. It runs on the previous handler's alternate stack, so a stack overflow is still detected.
        unsafe {
            let mut previous = MaybeUninit::<libc::sigaction>::uninit();
            if libc::sigaction(libc::SIGBUS, ptr::null(), previous.as_mut_ptr()) != 0 {
                return;
            }
            // Set before the handler can be called.
            if PREVIOUS.set(previous.assume_init()).is_err() {
                return;
            }
            let mut own: libc::sigaction = MaybeUninit::zeroed().assume_init();
            own.sa_sigaction = on_fault as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize;
            own.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut own.sa_mask);
            // If the system refuses, nothing has changed.
            libc::sigaction(libc::SIGBUS, &raw const own, ptr::null_mut());
        }
    }

    pub fn register(path: &Path, map: &[u8]) -> Option<usize> {
        let message = message_for(path, MESSAGE.get()?);
        let take = |entry: &Entry| {
            entry.start.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let index = TABLE.iter().position(take)?;
        let entry = &TABLE[index];
        entry.length.store(map.len(), Ordering::Relaxed);
        entry.message.store(ptr::from_ref(message).cast_mut(), Ordering::Relaxed);
        entry.start.store(map.as_ptr().addr(), Ordering::Release);
        Some(index)
    }

    pub fn unregister(index: usize) {
        TABLE[index].start.store(FREE, Ordering::Release);
    }

    /// Returns the message of the map that `address` lies in.
    pub fn message_at(address: usize) -> Option<&'static String> {
        TABLE.iter().find_map(|entry| entry.message_at(address))
    }

    /// Creates the message for a path, once. It is never freed, since a handler may be about to read it.
    fn message_for(path: &Path, make: &Message) -> &'static String {
        static MADE: Mutex<Option<HashMap<PathBuf, &'static String>>> = Mutex::new(None);
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let made = made.get_or_insert_default();
        made.entry(path.into()).or_insert_with(|| Box::leak(Box::new(make(path))))
    }

    extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the system passes valid information to a handler with SA_SIGINFO, and for SIGBUS it includes an
        // address.
        let address = unsafe { (*info).si_addr() }.addr();
        if let Some(message) = message_at(address) {
            end_with(message);
        }
        pass_on(signal, info, context);
    }

    fn end_with(message: &'static str) -> ! {
        /// Set by the first of several threads that read the same file.
        static ENDING: AtomicBool = AtomicBool::new(false);
        if ENDING.swap(true, Ordering::Relaxed) {
            loop {
                // SAFETY: waits for a signal until the other thread has ended the process.
                unsafe { libc::pause() };
            }
        }
        crate::system::type_ahead::restore();
        // SAFETY: the bytes are those of a string; both calls are async-signal-safe. If stderr cannot be written to,
        // there is nothing left to do.
        unsafe {
            libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
            libc::_exit(1)
        }
    }

    /// Passes the signal on to the previous handler.
    fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        let previous = PREVIOUS.get().filter(|p| ![libc::SIG_DFL, libc::SIG_IGN].contains(&p.sa_sigaction));
        // SAFETY: a value other than the two constants is a handler of the type that its flags give, and it gets the
        // arguments that the system passed. Without a handler, the signal's default action applies when the instruction
        // runs again.
        unsafe {
            match previous {
                Some(previous) if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                        std::mem::transmute(previous.sa_sigaction);
                    handler(signal, info, context);
                }
                Some(previous) => {
                    let handler: extern "C" fn(c_int) = std::mem::transmute(previous.sa_sigaction);
                    handler(signal);
                }
                None => {
                    libc::signal(signal, libc::SIG_DFL);
                }
            }
        }
    }
}

// The lint exempts test functions but not their helpers, where a failure also fails the test.
#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;
    use std::process::{Command, Output};

    use super::*;
    use crate::system::map::map;

    /// The environment variable that selects the case in the process that is to end.
    const CASE: &str = "MIST_TEST_OF_SIGNALS";

    /// Runs the test `name` of this program in a new process, with `case` in its environment.
    fn run(name: &str, case: &Path) -> Output {
        let mut test = Command::new(std::env::current_exe().unwrap());
        let name = format!("system::signals::tests::{name}");
        test.args([name.as_str(), "--exact", "--nocapture", "--test-threads=1"]).env(CASE, case);
        test.output().unwrap()
    }

    /// Reads one byte of every page.
    fn touch(bytes: &[u8]) {
        for byte in bytes.iter().step_by(4096) {
            std::hint::black_box(*byte);
        }
    }

    fn own_case() -> Option<std::path::PathBuf> {
        std::env::var_os(CASE).map(Into::into)
    }

    fn report() {
        report_unreadable_maps(|path| format!("error: {} is gone\n", path.display()));
    }

    #[test]
    fn a_map_whose_file_was_cut_short_ends_the_process_with_its_name() {
        if let Some(path) = own_case() {
            report();
            let map = map(&path).unwrap();
            File::options().write(true).open(&path).unwrap().set_len(1).unwrap();
            // In another thread, which has another stack.
            std::thread::spawn(move || touch(&map)).join().unwrap();
            unreachable!("the file can still be read");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        fs::write(&path, vec![1; 1 << 20]).unwrap();
        let output = run("a_map_whose_file_was_cut_short_ends_the_process_with_its_name", &path);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("error: {} is gone\n", path.display()));
    }

    #[test]
    fn a_map_that_is_gone_is_nobodys() {
        if let Some(path) = own_case() {
            report();
            let (first, second) = (map(&path).unwrap(), map(&path).unwrap());
            let address = first.as_ptr();
            drop(first);
            // The table's answer for the address shows whether the entry still exists.
            assert!(!format!("{:?}", faults::message_at(address.addr())).contains("is gone"));
            assert!(format!("{:?}", faults::message_at(second.as_ptr().addr())).contains("is gone"));
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        fs::write(&path, vec![1; 1 << 13]).unwrap();
        let output = run("a_map_that_is_gone_is_nobodys", &path);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }

    /// Rust's own handler must still detect it: the process ends by SIGABRT with a message.
    #[test]
    fn an_overflow_of_the_stack_is_still_found() {
        if own_case().is_some() {
            report();
            fn deeper(n: u64) -> u64 {
                let here = std::hint::black_box([n; 64]);
                if here[0] == u64::MAX { 0 } else { deeper(here[0] + 1) + here[1] }
            }
            std::thread::spawn(|| deeper(0)).join().unwrap();
        }
        let output = run("an_overflow_of_the_stack_is_still_found", Path::new("any"));
        assert_eq!(output.status.code(), None, "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("overflowed its stack"), "{output:?}");
    }
}

//! Handles a lack of memory: returns an error if the work can do without the memory, and otherwise ends the process
//! with a one-line message.

use std::cell::Cell;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

thread_local! {
    /// Whether this thread can do without the memory that it requests.
    static MAY_FAIL: Cell<bool> = const { Cell::new(false) };
}

/// Runs `ask`, which handles a lack of memory itself: a failed `try_reserve` in it does not end the process.
pub fn may_fail<T>(ask: impl FnOnce() -> T) -> T {
    let before = MAY_FAIL.replace(true);
    let result = ask();
    MAY_FAIL.set(before);
    result
}

/// Makes all threads allocate from one arena if the address space is limited (`ulimit -v`). Does nothing with a C
/// library other than glibc. Call it before the first thread starts.
///
/// By default glibc makes an arena for each thread that allocates. An arena takes 64 MiB of address space, and 128 MiB
/// while it is made, so the space left for a thread's stack or a map depended on the number of threads and on their
/// order.
pub fn share_arena_in_little_address_space() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if rustix::process::getrlimit(rustix::process::Resource::As).current.is_some() {
        // SAFETY: the call sets a number that malloc reads under its own lock.
        #[allow(unsafe_code)]
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}

/// Returns a buffer of `bytes` zeros, whose size may come from an untrusted source.
///
/// # Errors
/// [`io::ErrorKind::OutOfMemory`] if the system has no room for it.
pub fn buffer(bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    may_fail(|| buffer.try_reserve_exact(bytes)).map_err(|_| io::ErrorKind::OutOfMemory)?;
    buffer.resize(bytes, 0);
    Ok(buffer)
}

/// Passes on the allocator's result; ends the process with an ordinary error if it is null and the thread needs the
/// memory. Rust would abort by a signal.
pub(crate) fn given(pointer: *mut u8, bytes: usize) -> *mut u8 {
    if pointer.is_null() && !MAY_FAIL.try_with(Cell::get).unwrap_or(false) {
        refused(bytes);
    }
    pointer
}

/// The thread that reports why the process ends, identified by the address of one of its thread-locals; 0 if none.
static ENDING: AtomicUsize = AtomicUsize::new(0);
/// Whether that thread has reported it.
static REPORTED: AtomicBool = AtomicBool::new(false);

/// Selects this thread to report why the process ends, which it must do immediately. Never returns to a second thread:
/// several threads may run out of memory at once, and the user wants one error.
pub fn end_alone() {
    end_alone_or(0);
}

/// Records that the reporting thread has reported why the process ends.
pub fn end_reported() {
    REPORTED.store(true, Ordering::Relaxed);
}

/// Ends the process like [`end_alone`], for a thread whose request for `bytes` failed.
fn end_alone_or(bytes: usize) {
    thread_local! {
        static OWN: u8 = const { 0 };
    }
    // A thread whose thread-locals are gone reports nothing.
    let own = OWN.try_with(|own| std::ptr::from_ref(own).addr()).unwrap_or(usize::MAX);
    if let Err(other) = ENDING.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed)
        && other != own
    {
        // Sleeping needs no memory.
        thread::sleep(LONGEST_END);
        // This thread may hold a lock that the other one waits for, such as that of stderr.
        end(bytes, !REPORTED.load(Ordering::Relaxed));
    }
}

/// Time limit for the reporting thread to end the process; after it, another thread ends the process.
const LONGEST_END: Duration = Duration::from_secs(5);

/// Ends the process after a failed request for `bytes`.
#[cold]
fn refused(bytes: usize) {
    end_alone_or(bytes);
    end(bytes, true);
}

/// Ends the process, with a message about a failed request for `bytes` if `report`. Uses no memory and no lock. On
/// systems other than Unix it returns, and Rust aborts.
fn end(bytes: usize, report: bool) {
    let mut line = [0; 256];
    let mut rest = &mut line[..];
    let written = write!(
        rest,
        "error: not enough memory: the system has no room for {bytes} bytes more\n\
         hint: free some, or lift the limit of this shell with `ulimit -v unlimited`\n"
    );
    let left = rest.len();
    let line = &line[..line.len() - left];
    super::type_ahead::restore();
    #[cfg(unix)]
    #[allow(unsafe_code)]
    // SAFETY: the pointer and the length are those of a slice; both functions are async-signal-safe.
    unsafe {
        if report && written.is_ok() {
            libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len());
        }
        libc::_exit(1);
    }
    #[cfg(not(unix))]
    let _ = (written, line, report);
}

// The lint exempts test functions but not their helpers, where a failure also fails the test.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_beyond_all_memory_is_an_error() {
        assert_eq!(buffer(isize::MAX as usize).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        assert_eq!(buffer(3).unwrap(), [0; 3]);
    }

    /// The environment variable that selects the case in the process that is to end.
    #[cfg(unix)]
    const CASE: &str = "MIST_TEST_OF_MEMORY";

    /// Regression: the thread that ran out of memory waited forever for the reporting thread, which waited for its
    /// lock.
    #[cfg(unix)]
    #[test]
    #[allow(clippy::print_stderr)]
    fn a_thread_that_is_refused_memory_while_it_holds_stderr_does_not_hold_up_the_end() {
        if let Some(case) = std::env::var_os(CASE) {
            let (sender, receiver) = std::sync::mpsc::channel();
            let refused = thread::Builder::new().spawn(move || {
                let _locked = io::stderr().lock();
                sender.send(()).unwrap();
                while ENDING.load(Ordering::Relaxed) == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
                drop(std::hint::black_box(vec![0u8; isize::MAX as usize]));
            });
            receiver.recv().unwrap();
            end_alone();
            if case == "reported" {
                end_reported();
            }
            eprintln!("error: cannot be written");
            refused.unwrap().join().unwrap();
        }
        let name = "a_thread_that_is_refused_memory_while_it_holds_stderr_does_not_hold_up_the_end";
        for (case, errors) in [("silent", 1), ("reported", 0)] {
            let mut test = std::process::Command::new(std::env::current_exe().unwrap());
            let name = format!("system::memory::tests::{name}");
            test.args([&name, "--exact", "--nocapture", "--test-threads=1"]).env(CASE, case);
            let output = test.output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert_eq!(stderr.matches("error: not enough memory").count(), errors, "{stderr}");
            assert!(!stderr.contains("cannot be written"), "{stderr}");
        }
    }
}

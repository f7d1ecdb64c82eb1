//! What becomes of the process where the system has no more memory: an error where the work can do without it, else the
//! end, with one line that says so.

use std::cell::Cell;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

thread_local! {
    /// Whether this thread asks for memory that it can do without.
    static MAY_FAIL: Cell<bool> = const { Cell::new(false) };
}

/// Lets `ask` ask for memory, by a `try_reserve`, that the system may not have.
pub fn may_fail<T>(ask: impl FnOnce() -> T) -> T {
    let before = MAY_FAIL.replace(true);
    let result = ask();
    MAY_FAIL.set(before);
    result
}

/// Makes all threads allocate from one arena where the address space is limited (`ulimit -v`). Otherwise glibc makes an
/// arena for each thread that allocates: 64 MiB of address space, and 128 MiB while it is made, so that what was left
/// for a thread's stack or a map depended on the number of threads and on which of them came first. Does nothing with
/// another C library. To be called before the first thread is started.
pub fn share_arena_in_little_address_space() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if rustix::process::getrlimit(rustix::process::Resource::As).current.is_some() {
        // SAFETY: sets a number that malloc reads under its own lock.
        #[allow(unsafe_code)]
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}

/// So many zeros, for what comes from elsewhere.
///
/// # Errors
/// [`io::ErrorKind::OutOfMemory`] where the system has no room for them.
pub fn buffer(bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    may_fail(|| buffer.try_reserve_exact(bytes)).map_err(|_| io::ErrorKind::OutOfMemory)?;
    buffer.resize(bytes, 0);
    Ok(buffer)
}

/// Memory that was asked for, unless there is none: Rust would end the process by a signal, and this ends it with the
/// ordinary error. For an allocator.
pub(crate) fn given(pointer: *mut u8, bytes: usize) -> *mut u8 {
    if pointer.is_null() && !MAY_FAIL.try_with(Cell::get).unwrap_or(false) {
        refused(bytes);
    }
    pointer
}

/// The thread that reports why the process ends: the address of something of its own, or 0.
static ENDING: AtomicUsize = AtomicUsize::new(0);
/// Whether it has done so.
static REPORTED: AtomicBool = AtomicBool::new(false);

/// Makes this thread the one that reports why the process ends, which it must do at once. Returns to no second one:
/// memory is refused to several threads at once, and the user wants one error.
pub fn end_alone() {
    end_alone_or(0);
}

/// Says that the thread that was to report why the process ends has done so.
pub fn end_reported() {
    REPORTED.store(true, Ordering::Relaxed);
}

/// [`end_alone`] for a thread to which so many bytes were refused.
fn end_alone_or(bytes: usize) {
    thread_local! {
        static OWN: u8 = const { 0 };
    }
    // A thread that is past its thread-locals is none of those that report anything.
    let own = OWN.try_with(|own| std::ptr::from_ref(own).addr()).unwrap_or(usize::MAX);
    if let Err(other) = ENDING.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed)
        && other != own
    {
        // Takes no memory.
        thread::sleep(LONGEST_END);
        // This thread may hold what the other one waits for, as the lock of stderr.
        end(bytes, !REPORTED.load(Ordering::Relaxed));
    }
}

/// How long a thread may take to end the process before another one does it.
const LONGEST_END: Duration = Duration::from_secs(5);

/// Ends the process where so many bytes were refused.
#[cold]
fn refused(bytes: usize) {
    end_alone_or(bytes);
    end(bytes, true);
}

/// Ends the process, with a line that says that so many bytes were refused where `report` asks for it. Takes no memory
/// and no lock. On other systems than Unix it returns, and Rust aborts.
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
    // SAFETY: the pointer and the length are those of a slice; both functions may be called anywhere.
    unsafe {
        if report && written.is_ok() {
            libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len());
        }
        libc::_exit(1);
    }
    #[cfg(not(unix))]
    let _ = (written, line, report);
}

// The lint knows functions marked as tests, not their helpers; a helper that fails here is a failed test.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_beyond_all_memory_is_an_error() {
        assert_eq!(buffer(isize::MAX as usize).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        assert_eq!(buffer(3).unwrap(), [0; 3]);
    }

    /// Set for the process that is to end.
    #[cfg(unix)]
    const CASE: &str = "MIST_TEST_OF_MEMORY";

    /// The thread that was refused memory waited for ever for the one that reports, and that one for the lock.
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

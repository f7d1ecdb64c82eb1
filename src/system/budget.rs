//! Runs work on behalf of an untrusted file within limits of memory and time.
//!
//! A chat template is a program. Its engine counts instructions, not bytes, and a hundred instructions can ask for 2^64
//! bytes. No hook of the engine sees that, so the allocator enforces the limit. The allocator cannot return an error (a
//! failed allocation aborts the process), and it must not unwind. But it can block: a thread that exceeds its limit is
//! parked until the process ends, and the thread that waits for its result gets an error. The memory that the parked
//! thread holds, at most its limit, stays allocated until the process ends.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::system::memory::given;
use crate::system::threads::{self, NO_THREAD};

/// The limits for one piece of work.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Heap memory, in bytes; the stack is not included.
    pub bytes: usize,
    /// Wall-clock time from start to end.
    pub time: Duration,
    /// Stack size, in bytes.
    pub stack: usize,
}

/// Why the work has no result.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// The work requested more memory than its limit.
    #[error("it needs more than {0} bytes of memory")]
    Memory(usize),
    /// The work exceeded its time limit.
    #[error("it takes longer than {} seconds", .0.as_secs())]
    Time(Duration),
    /// The system refuses to start another thread.
    #[error("no thread could be started to run it")]
    NoThread,
    /// The system has no memory for the thread's stack.
    #[error("not enough memory: the system has no room for a thread with a stack of {0} bytes")]
    NoStack(usize),
    /// The work panicked.
    #[error("it cannot be run")]
    NotRun,
}

impl Exceeded {
    /// Returns what the user can do about the error.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoThread => Some(NO_THREAD),
            Self::NoStack(_) => Some("free some, or lift the limit of this shell with `ulimit -v unlimited`"),
            _ => None,
        }
    }
}

/// Polling interval for detecting a thread that exceeded its limit.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Runs `work` in a new thread, within `budget`.
///
/// # Errors
/// [`Exceeded`]. A thread that exceeded its memory limit stays parked until the process ends. One that exceeded its
/// time limit is parked at its next allocation, or runs until it is done if it does not allocate.
pub fn within<T: Send + 'static>(
    budget: Budget,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Exceeded> {
    let (sender, receiver) = mpsc::channel();
    let end = Instant::now() + budget.time;
    let limited = move || {
        LIMIT.set(Some(Limit { bytes: budget.bytes, end }));
        let result = work();
        LIMIT.set(None);
        // Sending fails if the caller stopped waiting when the time was up.
        let _ = sender.send(result);
    };
    let thread = threads::builder("limited", budget.stack).and_then(|thread| thread.spawn(limited));
    let id = thread.map_err(|_| not_started(budget.stack))?.thread().id();
    loop {
        match receiver.recv_timeout(POLL_INTERVAL) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Disconnected) => return Err(Exceeded::NotRun),
            Err(RecvTimeoutError::Timeout) if Instant::now() > end => {
                return Err(Exceeded::Time(budget.time));
            }
            Err(RecvTimeoutError::Timeout) if stopped(id) => return Err(Exceeded::Memory(budget.bytes)),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Determines why a thread with this stack size could not be started: the system reports both reasons by one error.
fn not_started(stack: usize) -> Exceeded {
    // `room` also counts the memory that a thread needs beside its stack; a lack of that is a lack of memory too.
    match threads::room(stack) {
        Ok(()) => Exceeded::NoThread,
        Err(_) => Exceeded::NoStack(stack),
    }
}

/// The remaining memory in bytes, and the end of the time, of the current thread.
#[derive(Clone, Copy)]
struct Limit {
    bytes: usize,
    end: Instant,
}

thread_local! {
    static LIMIT: Cell<Option<Limit>> = const { Cell::new(None) };
}

/// Threads that exceeded their limit.
static STOPPED: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());

fn stopped(id: ThreadId) -> bool {
    STOPPED.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
}

/// The system's allocator, with limits for threads that run in a [`Budget`]. It ends the process when the system has no
/// more memory.
///
/// Memory limits hold only in a program that installs it (`#[global_allocator] static ALLOCATOR: Limited = Limited;`,
/// as `mist` does). Time limits hold in every program.
#[derive(Debug)]
pub struct Limited;

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: Limited = Limited;

/// Charges `more` bytes to this thread's limit and credits `less`. Does not return if the limit is exceeded.
///
/// Memory that another thread allocated is credited too; that is at most what was handed to the work.
fn account(more: usize, less: usize) {
    // A thread that ends has lost its thread-locals, and so its limit.
    let Ok(Some(limit)) = LIMIT.try_with(Cell::get) else { return };
    // A thread that reports its panic holds locks that others need.
    if thread::panicking() {
        return;
    }
    match limit.bytes.saturating_add(less).checked_sub(more) {
        Some(bytes) if more == 0 || Instant::now() <= limit.end => LIMIT.set(Some(Limit { bytes, ..limit })),
        _ => stop(),
    }
}

#[cold]
fn stop() -> ! {
    // The lines below allocate, so the limit must go first.
    LIMIT.set(None);
    STOPPED.lock().unwrap_or_else(PoisonError::into_inner).push(thread::current().id());
    loop {
        thread::park();
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged, and nothing before it unwinds: `account`
// computes and returns or never returns, and `given` returns or ends the process.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        account(layout.size(), 0);
        // SAFETY: the caller promises for this function what the system's function requires.
        given(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        account(layout.size(), 0);
        // SAFETY: as above.
        given(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        account(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        account(size, layout.size());
        // SAFETY: as above.
        given(unsafe { System.realloc(pointer, layout, size) }, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { bytes: 1 << 20, time: Duration::from_secs(60), stack: 1 << 20 };

    #[test]
    fn work_within_the_budget_is_done_and_what_it_frees_counts_for_it() {
        let result = within(BUDGET, || (0..100).map(|_| vec![0u8; 1 << 18].len()).sum::<usize>());
        assert_eq!(result, Ok(100 << 18));
    }

    #[test]
    fn work_that_asks_for_too_much_is_left_waiting() {
        let growing =
            |bytes: u32| move || (0..bytes).fold(String::new(), |text, _| text.clone() + &text + "x").len();
        assert_eq!(within(BUDGET, growing(64)), Err(Exceeded::Memory(1 << 20)));
        assert_eq!(
            within(BUDGET, || std::hint::black_box(vec![0u8; 1 << 21]).len()),
            Err(Exceeded::Memory(1 << 20))
        );
        // Other threads still allocate.
        assert_eq!(vec![1u8; 1 << 22].len(), 1 << 22);
        assert_eq!(within(BUDGET, growing(4)), Ok(15));
    }

    #[test]
    fn work_that_takes_too_long_is_not_waited_for() {
        let budget = Budget { time: Duration::from_millis(50), ..BUDGET };
        let endless = || loop {
            std::hint::black_box(vec![1u8]);
        };
        assert_eq!(within::<()>(budget, endless), Err(Exceeded::Time(budget.time)));
    }

    #[test]
    fn work_that_panics_has_no_result() {
        assert_eq!(within(BUDGET, || assert!(std::hint::black_box(false))), Err(Exceeded::NotRun));
    }
}

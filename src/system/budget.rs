//! Work on behalf of an untrusted file, within a limit of memory and of time.
//!
//! A chat template is a program, and its engine counts instructions, not bytes: a hundred of them ask for 2^64. No
//! hook of the engine reaches that, so the limit is where bytes are asked for: in the allocator. There an error cannot
//! be returned (a failed allocation aborts the process) and nothing may unwind. But it can wait: the thread that asks
//! for too much gets no answer, ever, and whoever waits for its result is told. What it holds, at most its limit,
//! stays taken until the process ends.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::system::memory::{given, may_fail};
use crate::system::threads::{self, NO_THREAD};

/// What work may take.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Of memory, beyond the stack.
    pub bytes: usize,
    /// From start to end.
    pub time: Duration,
    /// Of stack.
    pub stack: usize,
}

/// Why there is no result.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// It asked for more memory than it may have.
    #[error("it needs more than {0} bytes of memory")]
    Memory(usize),
    /// It was not done in time.
    #[error("it takes longer than {} seconds", .0.as_secs())]
    Time(Duration),
    /// The system gives no thread to run it in.
    #[error("no thread could be started to run it")]
    NoThread,
    /// The system has no room for the stack of a thread to run it in.
    #[error("not enough memory: the system has no room for a thread with a stack of {0} bytes")]
    NoStack(usize),
    /// The work panicked.
    #[error("it cannot be run")]
    NotRun,
}

impl Exceeded {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoThread => Some(NO_THREAD),
            Self::NoStack(_) => Some("free some, or lift the limit of this shell with `ulimit -v unlimited`"),
            _ => None,
        }
    }
}

/// How often is looked for a thread that asked for too much.
const LOOK: Duration = Duration::from_millis(5);

/// Does `work` in a thread of its own, within `budget`.
///
/// # Errors
/// [`Exceeded`]. The thread then waits for ever, or, if it asks for no memory, runs on until it is done.
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
        // Nobody waits any more where the time was up.
        let _ = sender.send(result);
    };
    let thread = threads::builder("limited", budget.stack).and_then(|thread| thread.spawn(limited));
    let id = thread.map_err(|_| not_started(budget.stack))?.thread().id();
    loop {
        match receiver.recv_timeout(LOOK) {
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

/// Why a thread with such a stack could not be started: the system gives one error for both reasons.
fn not_started(stack: usize) -> Exceeded {
    let mut room = Vec::<u8>::new();
    match may_fail(|| room.try_reserve_exact(stack)) {
        Ok(()) => Exceeded::NoThread,
        Err(_) => Exceeded::NoStack(stack),
    }
}

/// What a thread may still take.
#[derive(Clone, Copy)]
struct Limit {
    bytes: usize,
    end: Instant,
}

thread_local! {
    static LIMIT: Cell<Option<Limit>> = const { Cell::new(None) };
}

/// Threads that asked for too much.
static STOPPED: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());

fn stopped(id: ThreadId) -> bool {
    STOPPED.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
}

/// The system's allocator, but for threads with a limit, and with an end for the process where the system gives nothing
/// more. A program that makes it its own (`#[global_allocator] static ALLOCATOR: Limited = Limited;`, as `mist` does) has
/// limits of memory; another has limits of time only.
#[derive(Debug)]
pub struct Limited;

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: Limited = Limited;

/// Takes `more` bytes from this thread's limit and gives `less` back, also for what another thread had asked for: no more
/// than was handed to the work. Does not return where it is exceeded.
fn account(more: usize, less: usize) {
    // A thread that ends has no limit any more.
    let Ok(Some(limit)) = LIMIT.try_with(Cell::get) else { return };
    // A thread that tells of its panic holds locks that others need.
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
    // Without a limit, as this allocates.
    LIMIT.set(None);
    STOPPED.lock().unwrap_or_else(PoisonError::into_inner).push(thread::current().id());
    loop {
        thread::park();
    }
}

// SAFETY: every call is passed on to the system's allocator as it is, and nothing unwinds before it: `account` only
// computes, returns, or waits for ever, and `given` returns or ends the process.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        account(layout.size(), 0);
        // SAFETY: the caller's promise for this function is the one that the system's wants.
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
        // Others go on.
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

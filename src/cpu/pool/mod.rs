//! The thread pool: a job is divided into tasks, which the pool's threads and the caller claim one at a time.
//!
//! A token of a small model takes about a hundred jobs of a few microseconds each, one after another. So an idle thread
//! polls for the next job for a while before it sleeps. A job costs a few hundred nanoseconds, a fork and join of
//! rayon several microseconds.
//!
//! On a busy machine the threads must not block each other. Tasks are small and are claimed by the threads that
//! run, a polling thread yields its core, and a thread that waits longer than 50 µs sleeps. Yielding matters
//! because Linux puts two of these threads on one core when another process is busy, and then one can only poll
//! while the other does not run. docs/performance.md has measurements.
//!
//! Any thread may run a task, although tasks that are neighbours in memory tend to stay on one thread. A task's
//! result must not depend on it.

mod parts;

use std::cell::{Cell, RefCell};
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parts::Parts;

use crate::system::{cores, threads};

/// Time for which a thread polls for work, or for the end of other threads' tasks, before it sleeps.
const SPIN: Duration = Duration::from_micros(50);

/// Runs `task(0)`, …, `task(tasks - 1)` on the pool's threads and on this one, and returns when all have ended.
///
/// Within a task, and while the pool runs another thread's job, all tasks run on this thread.
///
/// # Panics
/// If a task panics. If several threads take part, the panic is raised after the other tasks have ended.
pub fn run(tasks: usize, task: impl Fn(usize) + Sync) {
    if tasks <= 1 || IN_TASK.get() {
        return (0..tasks).for_each(task);
    }
    with_current(|pool| pool.run(tasks, &task));
}

/// Runs tasks that are neighbours in memory, like [`run`]. Each thread starts in its own part and continues in order,
/// so that it reads contiguous memory. A thread that has finished its part takes tasks from the ends of other threads'
/// parts.
pub fn run_in_parts(tasks: usize, task: impl Fn(usize) + Sync) {
    if tasks <= 1 || IN_TASK.get() {
        return (0..tasks).for_each(task);
    }
    with_current(|pool| match u32::try_from(tasks) {
        Ok(_) => pool.run_in_parts(tasks, &task),
        // A part stores its tasks as 32-bit numbers.
        Err(_) => pool.run(tasks, &task),
    });
}

/// Runs `task(i, piece)` for every piece of `size` values; the last piece may be shorter.
pub fn each_piece<T: Send>(values: &mut [T], size: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    let (start, length, size) = (Shared(values.as_mut_ptr()), values.len(), size.max(1));
    run(length.div_ceil(size), |i| {
        let first = i * size;
        // SAFETY: pieces are disjoint, lie within the slice, and each is passed to one task.
        #[allow(unsafe_code)]
        let piece =
            unsafe { std::slice::from_raw_parts_mut(start.get().add(first), size.min(length - first)) };
        task(i, piece);
    });
}

/// Minimum number of values for which it is worth using other threads: about ten microseconds of work.
pub(crate) const PIECE: usize = 1 << 14;

/// Runs `task(i, row)` for every whole row of `width` values. Many rows are divided among all threads.
pub fn each_row<T: Send>(values: &mut [T], width: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    let width = width.max(1);
    let at_once = PIECE.div_ceil(width);
    each_piece(values, at_once * width, |piece, rows| {
        rows.chunks_exact_mut(width).enumerate().for_each(|(i, row)| task(piece * at_once + i, row));
    });
}

/// Returns the number of threads that compute: those of the pool and the caller.
pub fn threads() -> usize {
    with_current(|pool| pool.workers.len() + 1)
}

/// Sets the number of threads that compute. Returns `false` if the pool has already started with another number, or
/// another was set before.
pub fn set_threads(threads: NonZero<usize>) -> bool {
    match GLOBAL.get() {
        Some(pool) => pool.workers.len() + 1 == threads.get(),
        None => THREADS.set(threads).is_ok() || THREADS.get() == Some(&threads),
    }
}

/// Runs `work` with a separate pool of `threads` threads, for tests and benchmarks.
pub fn with_threads<R>(threads: usize, work: impl FnOnce() -> R) -> R {
    let before = LOCAL.replace(Some(Arc::new(Pool::new(threads))));
    let result = catch_unwind(AssertUnwindSafe(work));
    LOCAL.set(before);
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// A pointer shared by the tasks of a job, which must access different elements.
pub(crate) struct Shared<T>(pub *mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

impl<T> Shared<T> {
    /// Returns the pointer. This is a method so that closures capture the whole value, which is `Sync`.
    pub fn get(self) -> *mut T {
        self.0
    }
}

// SAFETY: the pointer itself does nothing; code that reads or writes through it states why that is sound.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl<T: Send> Send for Shared<T> {}

static THREADS: OnceLock<NonZero<usize>> = OnceLock::new();
static GLOBAL: OnceLock<Pool> = OnceLock::new();

thread_local! {
    /// Whether this thread is running a task.
    static IN_TASK: Cell<bool> = const { Cell::new(false) };
    /// Index of this thread in the pool; 0 for the caller.
    static THREAD: Cell<usize> = const { Cell::new(0) };
    /// The pool to use instead of the global one.
    static LOCAL: RefCell<Option<Arc<Pool>>> = const { RefCell::new(None) };
}

fn with_current<R>(work: impl FnOnce(&Pool) -> R) -> R {
    if let Some(own) = LOCAL.with_borrow(Clone::clone) {
        return work(&own);
    }
    work(GLOBAL.get_or_init(|| Pool::new(THREADS.get().map_or_else(cores::threads, |threads| threads.get()))))
}

/// Threads that wait for jobs.
struct Pool {
    slot: Arc<JobSlot>,
    workers: Vec<JoinHandle<()>>,
    /// The parts of a job that [`run_in_parts`] divides.
    parts: Parts,
    /// Locked by the thread whose job runs.
    owner: Mutex<()>,
}

/// The slot through which the owner passes a job to the workers.
#[derive(Default)]
struct JobSlot {
    /// Number of unclaimed tasks of the current job.
    unclaimed: AtomicUsize,
    /// The current job. It is alive while one of its tasks is unclaimed, or claimed but not counted as done.
    job: AtomicPtr<Job<'static>>,
    /// Workers that sleep until there is a job.
    idle: Sleepers,
    /// The owner, if it sleeps until other threads' tasks have ended.
    waiting: Sleepers,
    ended: AtomicBool,
}

/// A job, on its owner's stack.
struct Job<'a> {
    tasks: usize,
    run: &'a (dyn Fn(usize) + Sync),
    /// Number of tasks that have ended.
    done: AtomicUsize,
    panic: Mutex<Option<Box<dyn std::any::Any + Send>>>,
}

impl Pool {
    fn new(threads: usize) -> Self {
        let slot = Arc::new(JobSlot::default());
        let worker = |i: usize| {
            let slot = Arc::clone(&slot);
            // If the system cannot start another thread, the pool has fewer.
            let work = move || {
                THREAD.set(i);
                slot.work();
            };
            threads::builder(&format!("compute {i}"), threads::STACK)
                .and_then(|thread| thread.spawn(work))
                .ok()
        };
        let workers: Vec<_> = (1..threads.max(1)).filter_map(worker).collect();
        let parts = Parts::new(workers.len() + 1);
        Self { slot, workers, parts, owner: Mutex::new(()) }
    }

    /// Locks the workers for this thread. `None` if there are none or another thread has them.
    fn own(&self) -> Option<MutexGuard<'_, ()>> {
        match self.owner.try_lock() {
            _ if self.workers.is_empty() => None,
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn run(&self, tasks: usize, run: &(dyn Fn(usize) + Sync)) {
        match self.own() {
            Some(_owned) => self.run_owned(tasks, run),
            None => (0..tasks).for_each(run),
        }
    }

    fn run_in_parts(&self, tasks: usize, run: &(dyn Fn(usize) + Sync)) {
        let Some(_owned) = self.own() else { return (0..tasks).for_each(run) };
        self.parts.divide(tasks);
        // A task claimed from the job only grants the right to one task of the parts, so there is one for each
        // claim. The parts are written before the job is posted.
        self.run_owned(tasks, &|_| {
            if let Some(i) = self.parts.claim(THREAD.get()) {
                run(i);
            }
        });
    }

    fn run_owned(&self, tasks: usize, run: &(dyn Fn(usize) + Sync)) {
        let job = Job { tasks, run, done: AtomicUsize::new(0), panic: Mutex::new(None) };
        self.slot.job.store((&raw const job).cast_mut().cast(), Ordering::Relaxed);
        self.slot.unclaimed.store(tasks, Ordering::SeqCst);
        self.slot.idle.wake();
        self.slot.claim_all();
        self.slot.waiting.sleep_until(|| job.done.load(Ordering::SeqCst) == tasks);
        // Nothing refers to the job now, because all tasks were claimed and counted.
        if let Some(panic) = lock(&job.panic).take() {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.slot.ended.store(true, Ordering::SeqCst);
        self.slot.idle.wake();
        for worker in self.workers.drain(..) {
            // A worker does not panic: panics of tasks are passed to the owner.
            let _ = worker.join();
        }
    }
}

impl JobSlot {
    /// Runs jobs until the pool is dropped.
    fn work(&self) {
        loop {
            self.claim_all();
            let ended = || self.ended.load(Ordering::SeqCst);
            self.idle.sleep_until(|| self.unclaimed.load(Ordering::SeqCst) > 0 || ended());
            if ended() {
                return;
            }
        }
    }

    /// Claims tasks and runs them until none is unclaimed.
    fn claim_all(&self) {
        let mut current: Option<(&Job, usize)> = None;
        let fewer = |unclaimed: usize| unclaimed.checked_sub(1);
        let before = IN_TASK.replace(true);
        while let Ok(unclaimed) = self.unclaimed.fetch_update(Ordering::Acquire, Ordering::Relaxed, fewer) {
            // SAFETY: a task of the current job is claimed and not counted, so the job is alive until the count
            // below. The pointer was stored before `unclaimed` was released. All claims of this loop belong to the
            // same job, because it cannot end before this thread's tasks are counted.
            #[allow(unsafe_code)]
            let job = unsafe { &*self.job.load(Ordering::Relaxed) };
            let task = job.tasks - unclaimed;
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (job.run)(task))) {
                let mut first = lock(&job.panic);
                match *first {
                    None => *first = Some(panic),
                    // Not dropped: dropping the payload may panic, and then this thread would leave a job that
                    // other threads still work on.
                    Some(_) => std::mem::forget(panic),
                }
            }
            current = Some((job, current.map_or(1, |(_, ended)| ended + 1)));
        }
        IN_TASK.set(before);
        if let Some((job, ended)) = current {
            let tasks = job.tasks;
            if job.done.fetch_add(ended, Ordering::SeqCst) + ended == tasks {
                // From here on the job may no longer exist.
                self.waiting.wake();
            }
        }
    }
}

/// Threads that sleep until a condition becomes true.
#[derive(Default)]
struct Sleepers {
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    woken: Condvar,
}

impl Sleepers {
    /// Returns once `happened` is true. It polls for a while, then sleeps between wake-ups.
    fn sleep_until(&self, happened: impl Fn() -> bool) {
        if happened() {
            return;
        }
        let start = Instant::now();
        while start.elapsed() < SPIN {
            for _ in 0..16 {
                if happened() {
                    return;
                }
                std::hint::spin_loop();
            }
            // The thread that this one waits for may be ready to run on this core.
            std::thread::yield_now();
        }
        // Count this thread before the next check. The waking thread makes the condition true before it reads the
        // count. All threads see these operations in one order, so one of the two sees the other.
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut guard = lock(&self.lock);
        while !happened() {
            guard = self.woken.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        drop(guard);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Wakes the sleeping threads. Call it after the condition has become true.
    fn wake(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            // Taking the lock excludes the time between a sleeper's check and its sleep.
            drop(lock(&self.lock));
            self.woken.notify_all();
        }
    }
}

/// Locks a mutex, even if a thread panicked while it held the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

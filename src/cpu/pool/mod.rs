//! The threads that compute: a job is cut into tasks, which the threads and the caller claim one at a time.
//!
//! A token of a small model is some hundred jobs of a few microseconds each, one after another. So a thread that has
//! nothing to do looks for the next job for a while before it sleeps, and a job costs a few hundred nanoseconds where
//! rayon's fork and join took several microseconds. On a busy machine the same threads must not hold each other up:
//! tasks are small and claimed by whoever runs, who looks lets others have the core, and who waits longer than 50 µs sleeps.
//! For beside another busy process Linux puts two of these threads on one core, where each could only look while the other
//! does not run: without yielding, a small model kept 37 % of its rate, with it 48 (medians of 5, by turns).
//!
//! Which thread computes a task is left to chance, or nearly so where tasks are neighbours in memory; a task's result must
//! not depend on it.

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

/// How long a thread looks for work, or for the end of others' tasks, before it sleeps.
const SPIN: Duration = Duration::from_micros(50);

/// Runs `task(0)`, …, `task(tasks - 1)` on the pool's threads and on this one, and returns when all have ended.
///
/// From within a task, and while another thread's job is on the pool, all of it runs on this thread.
///
/// # Panics
/// With the panic of a task; after the others have ended where they are on several threads.
pub fn run(tasks: usize, task: impl Fn(usize) + Sync) {
    if tasks <= 1 || IN_TASK.get() {
        return (0..tasks).for_each(task);
    }
    with_current(|pool| pool.run(tasks, &task));
}

/// The same of tasks that are neighbours in memory: each thread begins in a part of its own and goes on to what follows, so
/// that it reads long in one place. A thread whose part is done takes tasks from the ends of others' parts.
pub fn run_in_parts(tasks: usize, task: impl Fn(usize) + Sync) {
    if tasks <= 1 || IN_TASK.get() {
        return (0..tasks).for_each(task);
    }
    with_current(|pool| match u32::try_from(tasks) {
        Ok(_) => pool.run_in_parts(tasks, &task),
        // A part counts its tasks in 32 bits.
        Err(_) => pool.run(tasks, &task),
    });
}

/// Runs `task(i, piece)` for every piece of `size` values, the last of them perhaps shorter.
pub fn each_piece<T: Send>(values: &mut [T], size: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    let (start, length, size) = (Shared(values.as_mut_ptr()), values.len(), size.max(1));
    run(length.div_ceil(size), |i| {
        let first = i * size;
        // SAFETY: pieces do not overlap, lie within the slice, and each is given to one task.
        #[allow(unsafe_code)]
        let piece =
            unsafe { std::slice::from_raw_parts_mut(start.get().add(first), size.min(length - first)) };
        task(i, piece);
    });
}

/// Values for which other threads are worth it: about ten microseconds' work.
pub(crate) const PIECE: usize = 1 << 14;

/// Runs `task(i, row)` for every whole row of `width` values; many rows on all threads.
pub fn each_row<T: Send>(values: &mut [T], width: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    let width = width.max(1);
    let at_once = PIECE.div_ceil(width);
    each_piece(values, at_once * width, |piece, rows| {
        rows.chunks_exact_mut(width).enumerate().for_each(|(i, row)| task(piece * at_once + i, row));
    });
}

/// How many threads compute: the pool's and the caller.
pub fn threads() -> usize {
    with_current(|pool| pool.workers.len() + 1)
}

/// Sets how many threads compute. `false` if they have begun already.
pub fn set_threads(threads: NonZero<usize>) -> bool {
    THREADS.set(threads).is_ok() && GLOBAL.get().is_none()
}

/// Runs `work` with a pool of its own of so many threads: for tests and benchmarks.
pub fn with_threads<R>(threads: usize, work: impl FnOnce() -> R) -> R {
    let before = OWN.replace(Some(Arc::new(Pool::new(threads))));
    let result = catch_unwind(AssertUnwindSafe(work));
    OWN.set(before);
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// A pointer that tasks of one job share; what they do with it is theirs to keep apart.
pub(crate) struct Shared<T>(pub *mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

impl<T> Shared<T> {
    /// The pointer. (A method, so that closures take the whole value, which is `Sync`.)
    pub fn get(self) -> *mut T {
        self.0
    }
}

// SAFETY: a pointer does nothing by itself; who reads or writes through it says why that is sound.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl<T: Send> Send for Shared<T> {}

static THREADS: OnceLock<NonZero<usize>> = OnceLock::new();
static GLOBAL: OnceLock<Pool> = OnceLock::new();

thread_local! {
    /// Whether this thread is in a task.
    static IN_TASK: Cell<bool> = const { Cell::new(false) };
    /// Which of the pool's threads this is; 0 for the caller.
    static THREAD: Cell<usize> = const { Cell::new(0) };
    /// A pool instead of the global one.
    static OWN: RefCell<Option<Arc<Pool>>> = const { RefCell::new(None) };
}

fn with_current<R>(work: impl FnOnce(&Pool) -> R) -> R {
    if let Some(own) = OWN.with_borrow(Clone::clone) {
        return work(&own);
    }
    work(GLOBAL.get_or_init(|| Pool::new(THREADS.get().map_or_else(cores::threads, |threads| threads.get()))))
}

/// Some threads that wait for jobs.
struct Pool {
    slot: Arc<JobSlot>,
    workers: Vec<JoinHandle<()>>,
    /// Each thread's part of a job in parts.
    parts: Parts,
    /// Held by the thread whose job it is.
    owner: Mutex<()>,
}

/// Where jobs are posted.
#[derive(Default)]
struct JobSlot {
    /// Tasks of the current job that nobody has claimed.
    unclaimed: AtomicUsize,
    /// The current job. Alive while one of its tasks is unclaimed or claimed and not counted as done.
    job: AtomicPtr<Job<'static>>,
    /// Where workers sleep, and how many do.
    idle: Sleepers,
    /// Where an owner sleeps that waits for others' tasks.
    waiting: Sleepers,
    ended: AtomicBool,
}

/// One job, on its owner's stack.
struct Job<'a> {
    tasks: usize,
    run: &'a (dyn Fn(usize) + Sync),
    /// Tasks that have ended.
    done: AtomicUsize,
    panic: Mutex<Option<Box<dyn std::any::Any + Send>>>,
}

impl Pool {
    fn new(threads: usize) -> Self {
        let slot = Arc::new(JobSlot::default());
        let worker = |i: usize| {
            let slot = Arc::clone(&slot);
            // A system without room for another thread computes with fewer.
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

    /// The right to the workers; `None` where there are none or another thread has it.
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
        // What is claimed below is the right to one task, so there is one for each; the parts are written before.
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
        // Nothing refers to the job any more: all tasks were claimed and counted.
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
            // A worker does not panic: tasks' panics go to the owner.
            let _ = worker.join();
        }
    }
}

impl JobSlot {
    /// A worker's life.
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

    /// Claims tasks and runs them until there are none.
    fn claim_all(&self) {
        let mut current: Option<(&Job, usize)> = None;
        let fewer = |unclaimed: usize| unclaimed.checked_sub(1);
        let before = IN_TASK.replace(true);
        while let Ok(unclaimed) = self.unclaimed.fetch_update(Ordering::Acquire, Ordering::Relaxed, fewer) {
            // SAFETY: a task of the current job is claimed and not counted, so the job is alive, until the count below.
            // It was stored before `unclaimed` was released; all claims of this loop are of this job, since it cannot end
            // before this thread's are counted.
            #[allow(unsafe_code)]
            let job = unsafe { &*self.job.load(Ordering::Relaxed) };
            let task = job.tasks - unclaimed;
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (job.run)(task))) {
                let mut first = lock(&job.panic);
                match *first {
                    None => *first = Some(panic),
                    // Not dropped: what it holds may panic when dropped, and this thread would leave a job that others
                    // still work on.
                    Some(_) => std::mem::forget(panic),
                }
            }
            current = Some((job, current.map_or(1, |(_, ended)| ended + 1)));
        }
        IN_TASK.set(before);
        if let Some((job, ended)) = current {
            let tasks = job.tasks;
            if job.done.fetch_add(ended, Ordering::SeqCst) + ended == tasks {
                // The job may be gone from here on.
                self.waiting.wake();
            }
        }
    }
}

/// Where threads sleep until something has happened.
#[derive(Default)]
struct Sleepers {
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    woken: Condvar,
}

impl Sleepers {
    /// Returns once `happened` is true: looks for a while, then sleeps between wakes.
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
            // Who is waited for may be ready to run on this very core.
            std::thread::yield_now();
        }
        // First counted, then looked once more: who makes it happen looks at the count after that, and both in one
        // order for all threads, so that one of them sees the other.
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut guard = lock(&self.lock);
        while !happened() {
            guard = self.woken.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        drop(guard);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// To be called after something has happened.
    fn wake(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            // Not between a sleeper's look and its sleep.
            drop(lock(&self.lock));
            self.woken.notify_all();
        }
    }
}

/// The guard, whether or not a thread panicked with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

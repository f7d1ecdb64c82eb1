//! Divides tasks that are neighbours in memory into parts, one for each thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// The parts of a job, one for each thread.
pub(super) struct Parts(Vec<Part>);

impl Parts {
    /// Creates empty parts.
    pub fn new(threads: usize) -> Self {
        Self(std::iter::repeat_with(Part::default).take(threads).collect())
    }

    /// Divides `tasks` tasks among the threads, in order.
    pub fn divide(&self, tasks: usize) {
        let end = |i: usize| tasks * i / self.0.len();
        self.0.iter().enumerate().for_each(|(i, part)| part.set(end(i), end(i + 1)));
    }

    /// Claims the next task of a thread's part, or else the last task of the part with the most unclaimed tasks.
    /// `None` if all tasks are claimed. A thread without a part (a worker of another pool) claims from other parts.
    pub fn claim(&self, thread: usize) -> Option<usize> {
        if let Some(own) = self.0.get(thread).and_then(Part::first) {
            return Some(own);
        }
        loop {
            let parts = self.0.iter().map(|part| (part, part.left()));
            let (fullest, _) = parts.max_by_key(|(_, left)| *left).filter(|(_, left)| *left > 0)?;
            // Another thread may have claimed the part's last task; other parts may still have some.
            if let Some(last) = fullest.last() {
                return Some(last);
            }
        }
    }
}

/// A range of unclaimed tasks: the low half has the first, the high half the end.
#[derive(Default)]
#[repr(align(64))]
struct Part(AtomicU64);

impl Part {
    fn set(&self, first: usize, end: usize) {
        self.0.store((end as u64) << 32 | first as u64, Ordering::Relaxed);
    }

    fn ends(both: u64) -> (u64, u64) {
        (both & u64::from(u32::MAX), both >> 32)
    }

    fn left(&self) -> u64 {
        let (first, end) = Self::ends(self.0.load(Ordering::Relaxed));
        end - first
    }

    /// Claims the first task.
    fn first(&self) -> Option<usize> {
        let without = |both: u64| (Self::ends(both).0 < Self::ends(both).1).then(|| both + 1);
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, without).ok()?;
        Some(Self::ends(before).0 as usize)
    }

    /// Claims the last task.
    fn last(&self) -> Option<usize> {
        let without = |both: u64| (Self::ends(both).0 < Self::ends(both).1).then(|| both - (1 << 32));
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, without).ok()?;
        Some(Self::ends(before).1 as usize - 1)
    }
}

//! Distributes the work: files in their order, a few at a time, and ranges of them to as many connections as the
//! network can use.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::part::{Attempt, Part, Refused};
use super::ranges::Ranges;
use crate::hub::{Entry, Error};
use crate::system::files::Folder;

/// Number of files that are fetched at the same time.
const FILES: usize = 4;
/// Maximum number of connections at the same time, over all files.
pub(super) const CONNECTIONS: usize = 8;

/// The remaining work, shared by all threads of a download.
#[derive(Debug)]
pub(super) struct Board {
    folder: Folder,
    segment: u64,
    state: Mutex<State>,
    changed: Condvar,
    /// For readers that must not wait for the lock.
    stopped: AtomicBool,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Entry>,
    running: Vec<Running>,
    /// Number of connections in use.
    busy: usize,
    /// Number of connections that may be in use before a file gets an additional one. It grows while that helps.
    allowed: usize,
}

/// A file that is being fetched.
#[derive(Debug)]
struct Running {
    part: Arc<Part>,
    attempt: Attempt,
    /// The parts that are on disk or that a connection works on.
    claimed: Ranges,
    connections: usize,
    /// Whether one connection fetches all of it, because no hash shows whether pieces belong together or because the
    /// server supports no ranges.
    whole: bool,
}

impl Running {
    fn gap(&self) -> Option<Range<u64>> {
        self.claimed.gap(0..self.part.entry.size)
    }
}

/// A range of a file for one connection. Dropping it returns the range to the board.
#[derive(Debug)]
pub(super) struct Work {
    board: Arc<Board>,
    pub part: Arc<Part>,
    pub attempt: Attempt,
    pub range: Range<u64>,
    /// Whether the range is the whole file, which this connection alone fetches.
    pub whole: bool,
}

/// The next task of a thread.
#[derive(Debug)]
pub(super) enum Next {
    /// Fetch this range.
    Fetch(Work),
    /// Start to hash a file whose download has started, then ask again.
    Follow(Arc<Part>),
}

impl Board {
    /// Creates a board for `entries` in their order, with at most `segment` bytes per request.
    pub fn new(folder: &Folder, entries: &[Entry], segment: u64) -> Self {
        let state = State { waiting: entries.to_vec().into(), running: Vec::new(), busy: 0, allowed: 1 };
        Self {
            folder: folder.clone(),
            segment: segment.max(1),
            state: Mutex::new(state),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Waits for a task. `None` when all work is done or the download has been stopped.
    ///
    /// # Errors
    /// A partial file cannot be opened.
    pub fn next(self: &Arc<Self>) -> Result<Option<Next>, Error> {
        let mut state = self.state();
        loop {
            if self.is_stopped() || (state.waiting.is_empty() && state.running.is_empty()) {
                return Ok(None);
            }
            // First a file without a connection, then a new file, then another range if more connections may be in use.
            if let Some(work) = self.take(&mut state, 0) {
                return Ok(Some(Next::Fetch(work)));
            }
            let fetched = state.running.iter().filter(|r| r.connections > 0).count();
            let open = fetched < FILES && state.running.len() < CONNECTIONS;
            if open && let Some(entry) = state.waiting.pop_front() {
                let part = Arc::new(Part::open(&entry, &self.folder)?);
                let claimed = part.have();
                let (attempt, connections, whole) = (0, 0, entry.hash.is_none());
                state.running.push(Running { part: part.clone(), attempt, claimed, connections, whole });
                return Ok(Some(Next::Follow(part)));
            }
            if state.busy < state.allowed
                && let Some(work) = self.take(&mut state, CONNECTIONS)
            {
                return Ok(Some(Next::Fetch(work)));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Claims the next range of the file with the fewest connections, if it has at most `most`.
    fn take(self: &Arc<Self>, state: &mut State, most: usize) -> Option<Work> {
        let open = |r: &&mut Running| r.connections <= most && r.gap().is_some();
        let running = state.running.iter_mut().filter(open).min_by_key(|r| r.connections)?;
        let (gap, size) = (running.gap()?, running.part.entry.size);
        let range = match running.whole {
            true => 0..size,
            false => gap.start..gap.end.min(gap.start.saturating_add(self.segment_of(size))),
        };
        running.claimed.insert(range.clone());
        running.connections += 1;
        state.busy += 1;
        let (part, attempt, whole) = (running.part.clone(), running.attempt, running.whole);
        Some(Work { board: self.clone(), part, attempt, range, whole })
    }

    /// Returns the size of a request in bytes: a sixteenth of the file, at most the limit, and at least 8 MiB, so that
    /// the request takes less time than its response.
    fn segment_of(&self, size: u64) -> u64 {
        (size / 16).max(8 << 20).min(self.segment)
    }

    /// Sets how many connections may be in use: the result of `decide` for the number in use. `decide` is not called
    /// while fewer connections are in use than allowed, since there is no work for more.
    pub fn allow(&self, decide: impl FnOnce(usize) -> usize) {
        let mut state = self.state();
        if state.busy >= state.allowed {
            state.allowed = decide(state.busy).clamp(1, CONNECTIONS);
            self.changed.notify_all();
        }
    }

    /// Restarts a damaged file, so that all of it is fetched again.
    ///
    /// # Errors
    /// The partial file cannot be emptied, or no longer belongs to this download.
    pub fn restart(&self, part: &Part, attempt: Attempt) -> Result<Attempt, Refused> {
        let mut state = self.state();
        let attempt = part.restart(attempt)?;
        if let Some(running) = state.running.iter_mut().find(|r| std::ptr::eq(&*r.part, part)) {
            (running.attempt, running.claimed) = (attempt, Ranges::default());
        }
        self.changed.notify_all();
        Ok(attempt)
    }

    /// Removes a file that is complete and has its final name.
    pub fn finished(&self, part: &Part) {
        self.state().running.retain(|r| !std::ptr::eq(&*r.part, part));
        self.changed.notify_all();
    }

    /// Returns the folder for the files.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Ends the download. After this returns, no thread writes.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let state = self.state();
        state.running.iter().for_each(|r| r.part.close());
        self.changed.notify_all();
    }

    /// Returns whether the download has been stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// Lets this connection fetch the whole file because the server supports no ranges; `false` if another one does so
    /// already.
    pub fn make_whole(&mut self) -> bool {
        let mut state = self.board.state();
        let Some(running) = state.running.iter_mut().find(|r| Arc::ptr_eq(&r.part, &self.part)) else {
            return false;
        };
        if running.attempt != self.attempt || (running.whole && running.gap().is_none()) {
            return false;
        }
        running.whole = true;
        self.whole = true;
        self.range = 0..self.part.entry.size;
        running.claimed.insert(self.range.clone());
        true
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut state = self.board.state();
        state.busy = state.busy.saturating_sub(1);
        if let Some(running) = state.running.iter_mut().find(|r| Arc::ptr_eq(&r.part, &self.part)) {
            running.connections = running.connections.saturating_sub(1);
            // Unfetched bytes can be taken again, unless another connection fetches the whole file.
            if running.attempt == self.attempt && (self.whole || !running.whole) {
                // The next connection may try ranges again.
                running.whole = running.part.entry.hash.is_none();
                running.claimed.remove(self.range.clone());
                self.part.have().iter().for_each(|r| running.claimed.insert(r));
            }
        }
        self.board.changed.notify_all();
    }
}

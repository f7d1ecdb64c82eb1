//! Measures the time without received bytes over all connections, to report it and to distinguish a slow network from a
//! dead one.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::DownloadReport;
use crate::system::threads;

/// Interval between checks whether the silence must be reported.
const TICK: Duration = Duration::from_millis(100);

/// The requests under way, and the time of the last byte.
#[derive(Debug)]
pub(super) struct Silence {
    /// Silence after which it is reported.
    notice: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Number of requests under way.
    requests: usize,
    /// The host of the last request.
    host: String,
    /// Start of the silence: the last byte, or the start of the first request under way.
    since: Instant,
    /// Whether this silence has been reported.
    reported: bool,
    /// Number of received bytes that are kept even if their connections fail.
    kept: u64,
}

/// A request under way, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    silence: &'a Silence,
    begun: Instant,
    kept: u64,
}

impl Silence {
    pub fn new(notice: Duration) -> Self {
        let (requests, host, since) = (0, String::new(), Instant::now());
        Self { notice, state: Mutex::new(State { requests, host, since, reported: false, kept: 0 }) }
    }

    /// Begins a request.
    pub fn begin(&self) -> Waiting<'_> {
        let mut state = self.state();
        let begun = Instant::now();
        if state.requests == 0 {
            state.since = begun;
        }
        state.requests += 1;
        Waiting { silence: self, begun, kept: state.kept }
    }

    /// Records the host of a request.
    pub fn asks(&self, host: String) {
        self.state().host = host;
    }

    /// Records that bytes were received.
    pub fn heard(&self) {
        let mut state = self.state();
        (state.since, state.reported) = (Instant::now(), false);
    }

    /// Counts received bytes that are kept.
    pub fn keep(&self, bytes: u64) {
        self.state().kept += bytes;
    }

    /// Returns the line to report, once for each long silence.
    pub fn notice(&self) -> Option<String> {
        let mut state = self.state();
        let silent = state.since.elapsed();
        if state.requests == 0 || state.reported || silent < self.notice {
            return None;
        }
        state.reported = true;
        Some(format!("waiting for {}: nothing has come for {} s", state.host, silent.as_secs().max(1)))
    }

    /// Runs `request` on a separate thread, and reports a silence while it runs. If no thread can be started, nothing
    /// is reported.
    pub fn watched<R: Send>(&self, report: &mut dyn DownloadReport, request: &(dyn Fn() -> R + Sync)) -> R {
        thread::scope(|scope| {
            let (running, ended) = channel::<()>();
            let run = move || {
                // Dropped when the request has ended, even by a panic.
                let _running = running;
                request()
            };
            let thread = threads::builder("request", threads::STACK);
            let Ok(thread) = thread.and_then(|thread| thread.spawn_scoped(scope, run)) else {
                return request();
            };
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                self.notice().into_iter().for_each(|notice| report.note(&notice));
            }
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// Returns the time without received bytes on any connection, at most since the request began.
    pub fn silent(&self) -> Duration {
        self.silence.state().since.max(self.begun).elapsed()
    }

    /// Returns the number of bytes that all connections have received and kept since the request began.
    pub fn kept(&self) -> u64 {
        self.silence.state().kept - self.kept
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.silence.state().requests -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_reported_once_and_the_next_one_again() {
        let silence = Silence::new(Duration::ZERO);
        silence.asks("hub.test".into());
        assert_eq!(silence.notice(), None, "nobody waits");
        let waiting = silence.begin();
        let notice = silence.notice().unwrap();
        assert!(notice.starts_with("waiting for hub.test"), "{notice}");
        assert_eq!(silence.notice(), None);
        silence.heard();
        assert!(silence.notice().is_some());
        drop(waiting);
        silence.heard();
        assert_eq!(silence.notice(), None);
        let late = Silence::new(Duration::from_secs(3600));
        let _waiting = late.begin();
        assert_eq!(late.notice(), None);
    }

    #[test]
    fn what_another_connection_brings_ends_the_silence_of_all() {
        let silence = Silence::new(Duration::ZERO);
        silence.keep(5);
        let (first, _second) = (silence.begin(), silence.begin());
        thread::sleep(Duration::from_millis(20));
        assert!(first.silent() >= Duration::from_millis(20) && first.kept() == 0);
        silence.heard();
        silence.keep(7);
        assert!(first.silent() < first.begun.elapsed());
        assert_eq!(first.kept(), 7);
    }
}

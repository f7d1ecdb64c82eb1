//! How many connections the line has use for, found out by trying.
//!
//! A further connection is opened while the line is slow and the one before brought something. A line that one
//! connection fills has no use for two; and where this machine is the slow part, what waits in the buffers of
//! connections would be lost when the process is killed.

use std::time::{Duration, Instant};

use super::board::CONNECTIONS;

/// How long a rate is measured before the next decision.
const WINDOW: Duration = Duration::from_millis(500);
/// Bytes a second from which on no connection is tried.
const FAST: f64 = 100e6;
/// Windows to wait after a connection that brought nothing.
const REST: u32 = 20;

/// Decides how many connections may be in use.
#[derive(Debug)]
pub(super) struct Ramp {
    begun: Instant,
    /// The rate before the connection that was opened last.
    before: Option<f64>,
    rest: u32,
}

impl Ramp {
    pub fn new() -> Self {
        Self { begun: Instant::now(), before: None, rest: 0 }
    }

    /// Whether a window has passed since this was last true, and then how long it was.
    pub fn is_due(&mut self) -> Option<Duration> {
        let passed = self.begun.elapsed();
        (passed >= WINDOW).then(|| {
            self.begun = Instant::now();
            passed
        })
    }

    /// How many connections may be in use, of `busy` that are and a `rate` in bytes a second.
    ///
    /// A line that gives 10 MB/s to each connection: at 10 MB/s a second one is tried, and at 20 a third, as the second
    /// brought the half of its share (5 MB/s) or more; and so on. A line of 10 MB/s in all: a second one is tried, the
    /// rate stays at 10, and it goes back to one for ten seconds.
    pub fn decide(&mut self, busy: usize, rate: f64) -> usize {
        if let Some(before) = self.before.take() {
            let share = before / (busy.max(2) - 1) as f64;
            if rate < before + 0.5 * share {
                self.rest = REST;
                return busy.saturating_sub(1);
            }
        }
        if self.rest > 0 {
            self.rest -= 1;
            return busy;
        }
        match rate < FAST && busy < CONNECTIONS {
            true => {
                self.before = Some(rate);
                busy + 1
            }
            false => busy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The connections after some windows on a line that gives `each` to a connection and `all` to all of them.
    fn after(windows: usize, each: f64, all: f64) -> usize {
        let mut ramp = Ramp::new();
        (0..windows).fold(1, |busy, _| ramp.decide(busy, (busy as f64 * each).min(all)))
    }

    #[test]
    fn connections_are_added_while_they_bring_something() {
        assert_eq!(after(10, 10e6, 1e9), 8);
        assert_eq!(after(3, 10e6, 1e9), 4);
        // Three fill the line: the fourth is given up.
        assert_eq!(after(10, 10e6, 30e6), 3);
        assert_eq!(after(10, 10e6, 10e6), 1);
        assert_eq!(after(10, 300e6, 1e9), 1);
    }
}

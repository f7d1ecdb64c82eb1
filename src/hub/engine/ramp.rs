//! Finds by trial how many connections the network can use.
//!
//! Another connection is opened while the network is slow and the previous connection raised the rate. If one
//! connection uses the whole bandwidth, a second one does not help. And if this machine is the bottleneck, the bytes in
//! the buffers of more connections would be lost when the process is killed.

use std::time::{Duration, Instant};

use super::board::CONNECTIONS;

/// Time for which a rate is measured before the next decision.
const WINDOW: Duration = Duration::from_millis(500);
/// Rate in bytes per second above which no additional connection is tried.
const FAST: f64 = 100e6;
/// Number of windows to wait after a connection that did not raise the rate.
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

    /// Returns the length of the window, once one has passed since the last call that returned one.
    pub fn is_due(&mut self) -> Option<Duration> {
        let passed = self.begun.elapsed();
        (passed >= WINDOW).then(|| {
            self.begun = Instant::now();
            passed
        })
    }

    /// Decides how many connections may be in use if `busy` are in use at a `rate` in bytes per second.
    ///
    /// Example of a network that gives 10 MB/s to each connection: at 10 MB/s a second one is tried, and at 20 a third,
    /// since the second added at least half of its share (5 MB/s), and so on. Example of a network with 10 MB/s in
    /// total: a second one is tried, the rate stays at 10, and one connection is used for ten seconds.
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

    /// Returns the number of connections after `windows` windows, with `each` bytes per second per connection and at
    /// most `all` in total.
    fn after(windows: usize, each: f64, all: f64) -> usize {
        let mut ramp = Ramp::new();
        (0..windows).fold(1, |busy, _| ramp.decide(busy, (busy as f64 * each).min(all)))
    }

    #[test]
    fn connections_are_added_while_they_bring_something() {
        assert_eq!(after(10, 10e6, 1e9), 8);
        assert_eq!(after(3, 10e6, 1e9), 4);
        // Three connections use the whole bandwidth, so the fourth is closed.
        assert_eq!(after(10, 10e6, 30e6), 3);
        assert_eq!(after(10, 10e6, 10e6), 1);
        assert_eq!(after(10, 300e6, 1e9), 1);
    }
}

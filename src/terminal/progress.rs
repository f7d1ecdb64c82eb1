//! Progress bars on stderr.

use std::collections::VecDeque;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use indicatif::{
    DecimalBytes, FormattedDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle,
};

use crate::system::threads;

/// Template of a bar over bytes with a message.
const TOTAL: &str = "{prefix} {bar:24} {decimal_bytes}/{decimal_total_bytes} {msg}";
/// Template of a bar over bytes with the rate and the time left.
pub(super) const BYTES: &str =
    "{prefix} {bar:24} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
/// Template of a bar for a part. The longest usual name is `model-00001-of-00019.safetensors`.
const PART: &str = "  {prefix:32!} {bar:16} {decimal_bytes}/{decimal_total_bytes}";

/// Template of a bar over steps with a message. The bar fills the rest of the line, which may be empty.
pub(super) const STEPS: &str = "{prefix} {pos}/{len}{msg} {wide_bar}";

/// Interval between redraws of a bar without progress.
const TICK: Duration = Duration::from_millis(200);

/// A progress bar; it disappears when dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    /// Dropping the sender ends the thread that redraws the bar.
    ticking: Option<Sender<()>>,
}

impl Progress {
    pub(super) fn new(visible: bool, label: &str, total: u64, template: &str) -> Self {
        let target = match visible {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = styled(ProgressBar::with_draw_target(Some(total), target), label, template);
        let ticking = visible.then(|| tick(&bar)).flatten();
        Self { bar, ticking }
    }

    /// Advances the bar by `n` units.
    pub fn add(&self, n: u64) {
        self.bar.inc(n);
    }

    /// Sets the bar to `n` units.
    pub fn set(&self, n: u64) {
        self.bar.set_position(n);
    }

    /// Calls `write`, which may print lines to stderr, so that they appear above the bar.
    pub fn above(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    /// Sets the message of the bar.
    pub fn message(&self, text: &str) {
        self.bar.set_message(text.to_string());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.ticking = None;
        self.bar.finish_and_clear();
    }
}

/// Starts a thread that redraws a bar until the sender is dropped, so that the time left stays current.
///
/// Returns `None` if no thread can be started; the bar is then drawn only on progress. The ticker of indicatif would panic.
fn tick(bar: &ProgressBar) -> Option<Sender<()>> {
    bar.tick();
    let (sender, ended) = channel();
    let weak = bar.downgrade();
    let draw = move || {
        while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            let Some(bar) = weak.upgrade() else { return };
            bar.tick();
        }
    };
    threads::builder("progress", threads::STACK).and_then(|thread| thread.spawn(draw)).ok().map(|_| sender)
}

/// A progress bar over all bytes, with a bar below for each part in progress.
#[derive(Debug)]
pub struct Bars {
    all: MultiProgress,
    bar: ProgressBar,
    rate: Rate,
}

impl Bars {
    pub(super) fn new(visible: bool, label: &str, total: u64) -> Self {
        let all = MultiProgress::with_draw_target(match visible {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        });
        let bar = styled(all.add(ProgressBar::new(total)), label, TOTAL);
        Self { all, bar, rate: Rate::default() }
    }

    /// Sets the bar to `n` bytes, and updates the rate and the time left.
    pub fn set(&mut self, n: u64) {
        self.bar.set_position(n);
        let left = self.bar.length().unwrap_or(n).saturating_sub(n);
        if let Some(rate) = self.rate.at(Instant::now(), n) {
            let time = Duration::try_from_secs_f64(left as f64 / rate).unwrap_or(Duration::MAX);
            let rate = DecimalBytes(rate as u64);
            self.bar.set_message(format!("{rate}/s, {} left", FormattedDuration(time)));
        }
    }

    /// Sets the bar to `n` bytes that existed before, and restarts the measurement of the rate.
    pub fn skip_to(&mut self, n: u64) {
        self.bar.set_position(n);
        self.rate = Rate::default();
    }

    /// Returns a bar for a part of `size` bytes, which disappears when dropped.
    pub fn part(&self, label: &str, size: u64) -> Progress {
        let bar = styled(self.all.add(ProgressBar::new(size)), label, PART);
        Progress { bar, ticking: None }
    }

    /// Calls `write`, which may print lines to stderr, so that they appear above the bars.
    pub fn above(&self, write: impl FnOnce()) {
        self.all.suspend(write);
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        // Parts that were just dropped may still count as lines. Errors mean that the terminal is closed.
        let _ = self.all.clear();
    }
}

/// The rate over the last seconds. The rate of indicatif would count the existing bytes of a resumed download as
/// progress.
#[derive(Debug, Default)]
pub(super) struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    const WINDOW: Duration = Duration::from_secs(10);

    /// Adds the progress `n` at `now`, and returns the rate over the last window in units per second. Returns `None` for
    /// less than half a second or one unit per second.
    pub(super) fn at(&mut self, now: Instant, n: u64) -> Option<f64> {
        self.0.push_back((now, n));
        while self.0.get(1).is_some_and(|(then, _)| now.duration_since(*then) >= Self::WINDOW) {
            self.0.pop_front();
        }
        let (then, before) = self.0.front()?;
        let seconds = now.duration_since(*then).as_secs_f64();
        let rate = n.saturating_sub(*before) as f64 / seconds;
        (seconds >= 0.5 && rate >= 1.0).then_some(rate)
    }
}

fn styled(bar: ProgressBar, label: &str, template: &str) -> ProgressBar {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(label.to_string());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let mut at = |seconds: f64, n| rate.at(start + Duration::from_secs_f64(seconds), n);
        assert_eq!(at(0.0, 1_000_000), None);
        assert_eq!(at(0.1, 1_000_010), None);
        assert_eq!(at(1.0, 1_000_100), Some(100.0));
        assert_eq!(at(20.0, 1_000_100), None, "nothing came since the second");
        assert_eq!(at(21.0, 1_000_300), Some(200.0 / 20.0));
        assert_eq!(at(30.5, 1_000_600), Some(500.0 / 10.5));
    }
}

//! Progress bars on stderr: for a person who waits.

use std::collections::VecDeque;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use indicatif::{
    DecimalBytes, FormattedDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle,
};

use crate::system::threads;

/// Bytes with what is said about them.
const TOTAL: &str = "{prefix} {bar:24} {decimal_bytes}/{decimal_total_bytes} {msg}";
/// Bytes with rate and time left.
pub(super) const BYTES: &str =
    "{prefix} {bar:24} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
/// One part of something larger. The longest usual name is `model-00001-of-00019.safetensors`.
const PART: &str = "  {prefix:32!} {bar:16} {decimal_bytes}/{decimal_total_bytes}";

/// Steps, and what is said about them. The bar takes what is left of the line, which on a narrow terminal is nothing.
pub(super) const STEPS: &str = "{prefix} {pos}/{len}{msg} {wide_bar}";

/// How often a bar is drawn anew while nothing is done.
const TICK: Duration = Duration::from_millis(200);

/// A progress bar; it disappears when dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    /// Ends the thread that draws it.
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

    /// `n` more units are done.
    pub fn add(&self, n: u64) {
        self.bar.inc(n);
    }

    /// `n` units are done.
    pub fn set(&self, n: u64) {
        self.bar.set_position(n);
    }

    /// Does something that writes lines to stderr, which then stand above the bar.
    pub fn above(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    /// What is being done now.
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

/// Draws a bar now and then until the sender is dropped: the time that is left goes on while nothing comes. indicatif's own
/// ticker panics where the system gives no thread; such a bar is drawn when something is done, and no more.
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

/// A bar over all bytes of something, and below it one for each part that is under way.
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

    /// `n` bytes of the whole are here.
    pub fn set(&mut self, n: u64) {
        self.bar.set_position(n);
        let left = self.bar.length().unwrap_or(n).saturating_sub(n);
        if let Some(rate) = self.rate.at(Instant::now(), n) {
            let time = Duration::try_from_secs_f64(left as f64 / rate).unwrap_or(Duration::MAX);
            let rate = DecimalBytes(rate as u64);
            self.bar.set_message(format!("{rate}/s, {} left", FormattedDuration(time)));
        }
    }

    /// `n` bytes of the whole were here before: they say nothing about the rate.
    pub fn skip_to(&mut self, n: u64) {
        self.bar.set_position(n);
        self.rate = Rate::default();
    }

    /// A bar for a part of `size` bytes; it disappears when dropped.
    pub fn part(&self, label: &str, size: u64) -> Progress {
        let bar = styled(self.all.add(ProgressBar::new(size)), label, PART);
        Progress { bar, ticking: None }
    }

    /// Does something that writes lines to stderr, which then stand above the bars.
    pub fn above(&self, write: impl FnOnce()) {
        self.all.suspend(write);
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        // The parts that were dropped a moment ago may still count as lines. A terminal that is gone has no lines.
        let _ = self.all.clear();
    }
}

/// The rate of the last seconds. indicatif's own counts what a resumed download begins with as fetched at once.
#[derive(Debug, Default)]
pub(super) struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    const WINDOW: Duration = Duration::from_secs(10);

    /// Units a second over the window before `now`, when `n` are done; `None` while that says nothing.
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

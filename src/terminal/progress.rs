//! Progress bars on stderr: for a person who waits.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Bytes with rate and time left.
pub(super) const BYTES: &str =
    "{prefix} {bar:24} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
/// One part of something larger. The longest usual name is `model-00001-of-00019.safetensors`.
const PART: &str = "  {prefix:32!} {bar:16} {decimal_bytes}/{decimal_total_bytes}";

/// A progress bar; it disappears when dropped.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(visible: bool, label: &str, total: u64, template: &str) -> Self {
        let target = match visible {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = styled(ProgressBar::with_draw_target(Some(total), target), label, template);
        if visible {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self(bar)
    }

    /// `n` more units are done.
    pub fn add(&self, n: u64) {
        self.0.inc(n);
    }

    /// `n` units are done.
    pub fn set(&self, n: u64) {
        self.0.set_position(n);
    }

    /// Does something that writes lines to stderr, which then stand above the bar.
    pub fn above(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }

    /// What is being done now.
    pub fn message(&self, text: &str) {
        self.0.set_message(text.to_string());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A bar over all of something, and below it one for each part that is under way.
#[derive(Debug)]
pub struct Bars {
    all: MultiProgress,
    total: Progress,
}

impl Bars {
    pub(super) fn new(visible: bool, label: &str, total: u64) -> Self {
        let all = MultiProgress::with_draw_target(match visible {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        });
        let bar = styled(all.add(ProgressBar::new(total)), label, BYTES);
        if visible {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { all, total: Progress(bar) }
    }

    /// `n` units of the whole are done.
    pub fn set(&self, n: u64) {
        self.total.set(n);
    }

    /// `n` units of the whole were done before: they say nothing about the rate.
    pub fn skip_to(&self, n: u64) {
        self.total.set(n);
        self.total.0.reset_eta();
    }

    /// A bar for a part of `size` units; it disappears when dropped.
    pub fn part(&self, label: &str, size: u64) -> Progress {
        Progress(styled(self.all.add(ProgressBar::new(size)), label, PART))
    }

    /// Does something that writes lines to stderr, which then stand above the bars.
    pub fn above(&self, write: impl FnOnce()) {
        self.all.suspend(write);
    }
}

fn styled(bar: ProgressBar, label: &str, template: &str) -> ProgressBar {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(label.to_string());
    bar
}

//! A progress line for tokens: their number, the time left, and the rate.

use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::interrupt::Interrupt;
use super::progress::{Progress, Rate};
use crate::generate::Watch;
use crate::system::threads;

/// Delay before the line appears, so that it does not flicker for short work.
const DELAY: Duration = Duration::from_millis(400);
/// Interval between redraws of the line.
const TICK: Duration = Duration::from_millis(200);
/// Interval between updates of the rate.
const EVERY: Duration = Duration::from_millis(100);
/// Minimum and maximum number of columns of the bar.
const BAR: std::ops::RangeInclusive<usize> = 8..=24;
/// Number of columns that stay free for `^C`, which a terminal shows at the end of the line.
const FREE: usize = 3;

/// A progress line such as `Prompt 2048/8000, 0:52 left, 114 tokens/s` on stderr, with a bar if it fits.
///
/// The line appears after a short delay and is erased at the end. It does not use indicatif, which leaves the cursor at
/// the end of a full line. Echoed characters would then start another line, and indicatif would erase that line instead.
#[derive(Debug)]
pub struct TokenProgress {
    shown: Arc<Mutex<Shown>>,
    /// The thread that draws the line, and the sender whose drop ends it.
    drawing: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

#[derive(Debug, Default)]
struct Shown {
    label: String,
    done: u64,
    all: u64,
    words: String,
    estimate: Estimate,
}

impl TokenProgress {
    pub(super) fn new(visible: bool, label: &str) -> Self {
        let shown = Arc::new(Mutex::new(Shown { label: label.into(), ..Shown::default() }));
        let drawing = visible.then(|| draw(shown.clone())).flatten();
        Self { shown, drawing: Mutex::new(drawing) }
    }

    /// Sets the progress to `done` of `all` tokens. May be called from any thread, and often.
    pub fn report(&self, done: usize, all: usize) {
        let mut shown = lock(&self.shown);
        (shown.done, shown.all) = (done as u64, all as u64);
        if let Some(words) = shown.estimate.at(Instant::now(), done as u64, all as u64) {
            shown.words = words;
        }
    }

    /// Sets the label and restarts the progress.
    pub fn relabel(&self, label: &str) {
        *lock(&self.shown) = Shown { label: label.into(), ..Shown::default() };
    }

    /// Removes the line permanently.
    pub fn clear(&self) {
        if let Some((sender, thread)) = lock(&self.drawing).take() {
            drop(sender);
            // A panic of the thread also ends the drawing.
            let _ = thread.join();
        }
    }
}

/// Returns a watch that shows the prefill of prompts on `progress` and ends the computation on Ctrl-C.
pub fn watch(interrupt: &Interrupt, progress: &Arc<TokenProgress>) -> Watch {
    let (flag, progress) = (interrupt.flag(), progress.clone());
    Watch::new(move || flag.load(Ordering::Relaxed), move |done, all| progress.report(done, all))
}

/// Returns a watch that shows the prefill of prompts as the message of `bar`, which counts texts, and ends the
/// computation on Ctrl-C.
pub fn watch_behind(interrupt: &Interrupt, bar: &Arc<Progress>) -> Watch {
    let (flag, bar, estimate) = (interrupt.flag(), bar.clone(), Mutex::new(Estimate::default()));
    let report =
        move |done: usize, all: usize| match lock(&estimate).at(Instant::now(), done as u64, all as u64) {
            _ if done == all => bar.message(""),
            Some(words) => bar.message(&format!(" texts, prompts {done}/{all}{words}")),
            None => {}
        };
    Watch::new(move || flag.load(Ordering::Relaxed), report)
}

impl Drop for TokenProgress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a thread that draws the line until the sender is dropped, and then erases it. Returns `None`, without drawing,
/// if no thread can be started.
fn draw(shown: Arc<Mutex<Shown>>) -> Option<(Sender<()>, JoinHandle<()>)> {
    let (sender, ended) = channel();
    let run = move || {
        let passed = |time| ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
        if !passed(DELAY) {
            return;
        }
        // If stderr cannot be written to, there is no place to report that.
        let write = |text: &str| drop(io::stderr().lock().write_all(text.as_bytes()));
        loop {
            let columns =
                terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| width.0.into());
            write(&format!("\r{}\x1b[K", lock(&shown).line(columns)));
            if !passed(TICK) {
                break;
            }
        }
        write("\r\x1b[K");
    };
    let thread = threads::builder("progress", threads::STACK).and_then(|thread| thread.spawn(run));
    thread.ok().map(|thread| (sender, thread))
}

impl Shown {
    /// Returns the line for a terminal of `columns` columns.
    fn line(&self, columns: usize) -> String {
        let Self { label, done, all, words, .. } = self;
        let room = columns.saturating_sub(FREE);
        let mut line = match all {
            // There was no progress yet.
            0 => label.clone(),
            _ => format!("{label} {done}/{all}{words}"),
        };
        let width = room.saturating_sub(line.chars().count() + 1).min(*BAR.end());
        if width >= *BAR.start() && *all > 0 {
            let full = (*done).min(*all) as usize * width / *all as usize;
            let head = if full < width { ">" } else { "" };
            line += &format!(" {}{head}", "=".repeat(full));
        }
        line.chars().take(room).collect()
    }
}

/// Formats the time left and the rate.
#[derive(Debug, Default)]
struct Estimate {
    rate: Rate,
    last: Option<(Instant, u64)>,
}

impl Estimate {
    /// Returns the time left and the rate as text, after `done` of `all` tokens. Returns `None` until the next update.
    fn at(&mut self, now: Instant, done: u64, all: u64) -> Option<String> {
        match self.last {
            // Less progress than before means that another task has begun.
            Some((_, before)) if done < before => *self = Self::default(),
            Some((then, _)) if now.duration_since(then) < EVERY => return None,
            _ => {}
        }
        self.last = Some((now, done));
        Some(match self.rate.at(now, done) {
            Some(rate) => {
                let left = all.saturating_sub(done) as f64 / rate;
                let digits = if rate < 10.0 { 1 } else { 0 };
                format!(", {} left, {rate:.digits$} tokens/s", clock(left.ceil() as u64))
            }
            None => " tokens".into(),
        })
    }
}

/// Formats seconds, such as `0:52`, `3:05` or `1:02:05`.
fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_a_clock_shows_it() {
        assert_eq!(
            [0, 9, 52, 185, 3599, 3725].map(clock),
            ["0:00", "0:09", "0:52", "3:05", "59:59", "1:02:05"]
        );
    }

    #[test]
    fn a_line_fits_its_terminal() {
        let words = ", 0:52 left, 114 tokens/s".to_string();
        let shown = Shown { label: "Prompt".into(), done: 2048, all: 8192, words, ..Shown::default() };
        assert_eq!(shown.line(80), "Prompt 2048/8192, 0:52 left, 114 tokens/s ======>");
        assert_eq!(shown.line(54), "Prompt 2048/8192, 0:52 left, 114 tokens/s ==>");
        assert_eq!(shown.line(44), "Prompt 2048/8192, 0:52 left, 114 tokens/s");
        assert_eq!(shown.line(40), "Prompt 2048/8192, 0:52 left, 114 toke");
        assert_eq!(shown.line(2), "");
        let whole = Shown { done: 8192, words: String::new(), ..shown };
        assert_eq!(whole.line(80), format!("Prompt 8192/8192 {}", "=".repeat(24)));
        assert_eq!(Shown { label: "Warming up".into(), ..Shown::default() }.line(80), "Warming up");
    }

    #[test]
    fn the_estimate_needs_some_progress_and_restarts_with_another_task() {
        let (mut estimate, start) = (Estimate::default(), Instant::now());
        let mut at = |seconds: f64, done| estimate.at(start + Duration::from_secs_f64(seconds), done, 8000);
        assert_eq!(at(0.0, 0).as_deref(), Some(" tokens"));
        assert_eq!(at(0.05, 8), None);
        assert_eq!(at(2.0, 200).as_deref(), Some(", 1:18 left, 100 tokens/s"));
        assert_eq!(at(4.0, 20).as_deref(), Some(" tokens"), "fewer than before");
        assert_eq!(at(8.0, 40).as_deref(), Some(", 26:32 left, 5.0 tokens/s"));
    }
}

//! Keeps lines on stderr from starting in the middle of a line of stdout.
//!
//! stdout gets only the text, which may end without a newline. A line on stderr then starts with a newline if both
//! streams go to the same terminal, pipe or file. The same applies if stderr is a terminal and stdout a pipe, whose
//! reader (`cat`, `tee`) probably writes to that terminal.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The state of the two streams.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    /// Whether both streams are shown in the same place.
    meets: bool,
    /// Whether stdout reaches the terminal through another process.
    through_pipe: bool,
    /// Whether the text on stdout ends in the middle of a line.
    unfinished: Arc<AtomicBool>,
}

impl Shared {
    /// Returns the state of this process's streams.
    pub fn new() -> Self {
        let through_pipe = stdout_is_pipe() && io::stderr().is_terminal();
        Self { meets: through_pipe || is_same(), through_pipe, unfinished: Arc::default() }
    }

    /// Records that `text` was written to stdout.
    pub fn wrote(&self, text: &str) {
        if !text.is_empty() {
            self.unfinished.store(self.meets && !text.ends_with('\n'), Ordering::Relaxed);
        }
    }

    /// Returns a newline if stdout has an unfinished line, for the start of a line on stderr.
    pub fn line_end(&self) -> &'static str {
        if !self.unfinished.swap(false, Ordering::Relaxed) {
            return "";
        }
        if self.through_pipe {
            wait_for_reader();
        }
        "\n"
    }
}

/// Returns whether stdout and stderr are the same file, pipe or terminal.
#[cfg(unix)]
fn is_same() -> bool {
    let [out, err] = [rustix::fs::fstat(io::stdout()), rustix::fs::fstat(io::stderr())];
    matches!((out, err), (Ok(out), Ok(err)) if (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino))
}

#[cfg(unix)]
fn stdout_is_pipe() -> bool {
    let kind = |stat: rustix::fs::Stat| rustix::fs::FileType::from_raw_mode(stat.st_mode);
    rustix::fs::fstat(io::stdout()).is_ok_and(|stat| kind(stat) == rustix::fs::FileType::Fifo)
}

/// Waits until the reader of stdout has probably shown its input. There is no way to know when it has.
#[cfg(unix)]
fn wait_for_reader() {
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    let end = Instant::now() + Duration::from_millis(100);
    while Instant::now() < end && rustix::io::ioctl_fionread(io::stdout()).is_ok_and(|unread| unread > 0) {
        sleep(Duration::from_millis(1));
    }
    sleep(Duration::from_millis(10));
}

#[cfg(not(unix))]
fn is_same() -> bool {
    io::stdout().is_terminal() && io::stderr().is_terminal()
}

#[cfg(not(unix))]
fn stdout_is_pipe() -> bool {
    false
}

#[cfg(not(unix))]
fn wait_for_reader() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_ends_in_the_middle_of_a_line_is_followed_by_a_newline_once() {
        let shared = |meets| Shared { meets, through_pipe: false, unfinished: Arc::default() };
        let both = shared(true);
        assert_eq!(both.line_end(), "", "nothing was written");
        for (text, ends) in [("a", ["\n", ""]), ("a\n", ["", ""]), ("", ["", ""])] {
            both.wrote(text);
            assert_eq!([both.line_end(), both.line_end()], ends, "{text:?}");
        }
        both.wrote("a");
        both.wrote("");
        assert_eq!(both.clone().line_end(), "\n");
        let separate = shared(false);
        separate.wrote("a");
        assert_eq!(separate.line_end(), "");
    }
}

//! A terminal with a program in it: what is typed goes in, what a person would see comes out.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Tall enough for a whole session.
const SIZE: [u16; 2] = [200, 120];

/// Longest wait for what is expected on the screen.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Terminal {
    keyboard: File,
    written: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    program: Child,
    /// Nothing more will be written.
    is_closed: bool,
}

impl Terminal {
    /// Starts `mist` with `args` in a folder.
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let [ws_row, ws_col] = SIZE;
        tcsetwinsize(&terminal, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        // Not the terminal that controls the tests.
        let flags = OFlags::NOCTTY.bits() as i32;
        let open = || OpenOptions::new().read(true).write(true).custom_flags(flags).open(&name).unwrap();
        let program = Command::new(env!("CARGO_BIN_EXE_mist"))
            .args(args)
            .current_dir(folder)
            .env("TERM", "xterm-256color")
            .env("XDG_STATE_HOME", folder)
            .env_remove("NO_COLOR")
            .env_remove("COLUMNS")
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap();
        let (keyboard, written) = (File::from(terminal.try_clone().unwrap()), read_all(terminal));
        Self { keyboard, written, screen: vt100::Parser::new(ws_row, ws_col, 0), program, is_closed: false }
    }

    /// Types a line.
    pub fn enter(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\r").as_bytes()).unwrap();
    }

    /// Waits until the line with the cursor is `prompt`, and so many lines begin with it.
    pub fn wait_for_prompt(&mut self, prompt: &str, number: usize) {
        let prompt = prompt.trim_end();
        let is_there = |t: &Self| {
            t.line_above(0) == prompt && t.text().lines().filter(|l| l.starts_with(prompt)).count() == number
        };
        self.wait_until(is_there, &format!("{prompt:?} number {number}"));
    }

    /// Waits until the cursor is in an empty line below the line `above`.
    pub fn wait_for_line_below(&mut self, above: &str) {
        let above = above.trim_end();
        let is_there = |t: &Self| t.line_above(0).is_empty() && t.line_above(1) == above;
        self.wait_until(is_there, &format!("{above:?} and a new line"));
    }

    /// Waits until the program ends and all that it wrote is shown; whether it ended well.
    pub fn wait_for_end(&mut self) -> bool {
        self.wait_until(|terminal| terminal.is_closed, "end");
        self.program.wait().unwrap().success()
    }

    fn wait_until(&mut self, is_so: impl Fn(&Self) -> bool, what: &str) {
        let since = Instant::now();
        while !is_so(self) {
            assert!(since.elapsed() < PATIENCE, "no {what} on the screen:\n{}", self.text());
            self.see();
        }
    }

    /// All that is on the screen.
    pub fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// The line so many above the one that the cursor is in, without white space at its end.
    fn line_above(&self, lines: u16) -> String {
        let screen = self.screen.screen();
        let row = screen.cursor_position().0.saturating_sub(lines);
        screen.contents_between(row, 0, row, SIZE[1]).trim_end().to_owned()
    }

    /// Shows what is written, for which it waits a moment.
    fn see(&mut self) {
        match self.written.recv_timeout(Duration::from_millis(100)) {
            Ok(bytes) => self.screen.process(&bytes),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.is_closed = true,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Where a test failed before the program ended.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// What a program writes, read by a thread of its own until the program ends.
fn read_all(terminal: OwnedFd) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let (mut terminal, mut bytes) = (File::from(terminal), [0; 4096]);
        // An error is the end: the last program that had the terminal closed it.
        while let Ok(count @ 1..) = terminal.read(&mut bytes) {
            if sender.send(bytes[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

//! A terminal with a program in it: what is typed goes in, what a person would see comes out.
// Each test program uses its own part of this.
#![allow(dead_code)]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

/// Tall enough for a whole session.
const SIZE: [u16; 2] = [200, 120];

/// Longest wait for what is expected on the screen.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Terminal {
    keyboard: File,
    written: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// All that was written so far.
    log: Vec<u8>,
    program: Child,
    original: String,
    /// Nothing more will be written.
    is_closed: bool,
}

impl Terminal {
    /// Starts `mist` with `args` in a folder, which is its state folder as well.
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        Self::of_kind("xterm-256color", folder, args)
    }

    /// The same in a terminal of another kind.
    pub fn of_kind(kind: &str, folder: &Path, args: &[&str]) -> Self {
        let mut mist = Command::new(env!("CARGO_BIN_EXE_mist"));
        mist.args(args);
        Self::start_command(kind, folder, mist)
    }

    /// Starts a shell that runs `script` in a folder, where `"$0"` is `mist`.
    pub fn start_shell(folder: &Path, script: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, env!("CARGO_BIN_EXE_mist")]);
        Self::start_command("xterm-256color", folder, shell)
    }

    fn start_command(kind: &str, folder: &Path, mut command: Command) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let [ws_row, ws_col] = SIZE;
        tcsetwinsize(&terminal, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let original = modes(&terminal);
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        // Not the terminal that controls the tests.
        let flags = OFlags::NOCTTY.bits() as i32;
        let open = || OpenOptions::new().read(true).write(true).custom_flags(flags).open(&name).unwrap();
        command
            .current_dir(folder)
            .env("TERM", kind)
            .env("XDG_STATE_HOME", folder)
            .env_remove("NO_COLOR")
            .env_remove("COLUMNS")
            .stdin(open())
            .stdout(open())
            .stderr(open());
        let program = in_control(&mut command).spawn().unwrap();
        let (keyboard, written) = (File::from(terminal.try_clone().unwrap()), read_all(terminal));
        let screen = vt100::Parser::new(ws_row, ws_col, 0);
        Self { keyboard, written, screen, log: Vec::new(), program, original, is_closed: false }
    }

    /// Types a line.
    pub fn enter(&mut self, line: &str) {
        self.keys(format!("{line}\r"));
    }

    /// Types something else.
    pub fn keys(&mut self, keys: impl AsRef<[u8]>) {
        self.keyboard.write_all(keys.as_ref()).unwrap();
    }

    /// What [`modes`](Self::modes) was before the program began.
    pub fn original_modes(&self) -> &str {
        &self.original
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.program), signal).unwrap();
    }

    /// Whether the terminal echoes, and whether it gives on whole lines only.
    pub fn modes(&self) -> String {
        modes(&self.keyboard)
    }

    /// Waits until the line with the cursor is `prompt`, and so many lines begin with it.
    pub fn wait_for_prompt(&mut self, prompt: &str, number: usize) {
        let prompt = prompt.trim_end();
        let is_there = |t: &Self| {
            t.line_above(0) == prompt && t.text().lines().filter(|l| l.starts_with(prompt)).count() == number
        };
        self.wait_until(is_there, &format!("{prompt:?} number {number}"));
    }

    /// Waits until the line with the cursor is `line`.
    pub fn wait_for_line(&mut self, line: &str) {
        self.wait_until(|t| t.line_above(0) == line, &format!("line {line:?}"));
    }

    /// Waits until the line with the cursor is nothing but `letter`, and some of it.
    pub fn wait_for_line_of(&mut self, letter: &str) {
        let is_there = |t: &Self| {
            let line = t.line_above(0);
            !line.is_empty() && line.replace(letter, "").is_empty()
        };
        self.wait_until(is_there, &format!("line of {letter:?}"));
    }

    /// Waits until `text` has been written.
    pub fn wait_for(&mut self, text: &str) {
        self.wait_until(|t| t.log().contains(text), text);
    }

    /// Waits until the cursor is in an empty line below the line `above`.
    pub fn wait_for_line_below(&mut self, above: &str) {
        let above = above.trim_end();
        let is_there = |t: &Self| t.line_above(0).is_empty() && t.line_above(1) == above;
        self.wait_until(is_there, &format!("{above:?} and a new line"));
    }

    /// Waits until a line of the screen matches.
    pub fn wait_for_match(&mut self, line: &regex::Regex) {
        self.wait_until(|t| t.text().lines().any(|l| line.is_match(l)), line.as_str());
    }

    /// Waits until the program ends and all that it wrote is shown; whether it ended well.
    pub fn wait_for_end(&mut self) -> bool {
        self.wait_for_status().success()
    }

    /// The same; how it ended.
    pub fn wait_for_status(&mut self) -> ExitStatus {
        self.wait_until(|terminal| terminal.is_closed, "end");
        self.program.wait().unwrap()
    }

    fn wait_until(&mut self, is_so: impl Fn(&Self) -> bool, what: &str) {
        let since = Instant::now();
        while !is_so(self) {
            assert!(since.elapsed() < PATIENCE, "no {what} on the screen:\n{}", self.text());
            self.see();
        }
    }

    /// All that was written so far, codes included.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log).into_owned()
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
            Ok(bytes) => {
                self.screen.process(&bytes);
                self.log.extend(bytes);
            }
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

fn modes(terminal: impl AsFd) -> String {
    format!("{:?}", tcgetattr(terminal).unwrap().local_modes)
}

/// The program's terminal is the one that controls it, so that Ctrl-C is a signal to it.
#[allow(unsafe_code)]
fn in_control(command: &mut Command) -> &mut Command {
    let control = || {
        rustix::process::setsid()?;
        Ok(rustix::process::ioctl_tiocsctty(std::io::stdin().as_fd())?)
    };
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(control) }
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

//! Reads the body of a response: reports its bytes, and fails if it is too slow or ends early.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use super::Error;
use super::retry::Failure;
use super::silence::Silence;

/// Number of bytes that must arrive within the time limit of one read, if another connection can fetch the rest.
const LEAST: usize = 1 << 10;

/// A response body that records received bytes in [`Silence`].
#[derive(Debug)]
pub(super) struct Heard<'a, R> {
    pub(super) body: R,
    pub(super) silence: &'a Silence,
}

impl<R: Read> Read for Heard<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer)?;
        if read > 0 {
            self.silence.heard();
        }
        Ok(read)
    }
}

/// A response body that fails if too few bytes arrive in a time window. The time limit of one read does not detect a
/// server that sends a byte now and then; another connection may be faster.
#[derive(Debug)]
pub(super) struct Patient<R> {
    body: R,
    least: usize,
    window: Duration,
    begun: Instant,
    bytes: usize,
}

impl<R> Patient<R> {
    /// Wraps `body`. If no other connection can continue it (`can_go_on` is false), it may be slow.
    pub(super) fn new(body: R, window: Duration, can_go_on: bool) -> Self {
        let least = if can_go_on { LEAST } else { 0 };
        Self { body, least, window, begun: Instant::now(), bytes: 0 }
    }
}

impl<R: Read> Read for Patient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer)?;
        self.bytes += read;
        if self.begun.elapsed() >= self.window {
            // At most this many bytes are lost with the error.
            if self.bytes < self.least && read > 0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "almost no bytes arrive"));
            }
            (self.begun, self.bytes) = (Instant::now(), 0);
        }
        Ok(read)
    }
}

/// Returns the failure of a body that ended with `cause`.
pub(super) fn failed(error: Error, cause: &io::Error) -> Failure {
    let request = cause.get_ref().and_then(|cause| cause.downcast_ref::<reqwest::Error>());
    match cause.kind() == io::ErrorKind::TimedOut || request.is_some_and(reqwest::Error::is_timeout) {
        true => Failure::Silent(error),
        false => Failure::Passing(error, None),
    }
}

/// Returns the message of the last error in a chain of causes.
pub(super) fn innermost(mut error: &(dyn std::error::Error + 'static)) -> String {
    while let Some(next) = error.source() {
        error = next;
    }
    error.to_string()
}

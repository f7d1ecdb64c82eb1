//! A trait for errors with a hint for the user, which also reports whether the call is at fault.

use std::error::Error;

/// An error with an optional hint for the user.
pub trait Hinted: Error {
    /// Returns what the user can do; `None` if there is nothing. Outside a complete command in backticks it names no flag:
    /// [`terminal`](crate::terminal) adds those of the command.
    fn hint(&self) -> Option<String>;

    /// Returns whether the call is invalid on any machine and with any files.
    fn is_wrong_call(&self) -> bool {
        false
    }
}

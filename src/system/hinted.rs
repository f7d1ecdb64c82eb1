//! A trait for errors with a hint for the user, which also reports whether the command line is at fault.

use std::error::Error;

/// An error with an optional hint for the user.
pub trait Hinted: Error {
    /// Returns what the user can type or do; `None` if there is nothing.
    fn hint(&self) -> Option<String>;

    /// Returns whether the command line is invalid on any machine and with any files.
    fn is_wrong_call(&self) -> bool {
        false
    }
}

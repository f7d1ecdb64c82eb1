//! What an error knows beside what is wrong: what to do about it, and whose fault it is.

use std::error::Error;

/// An error that may say what to do about it.
pub trait Hinted: Error {
    /// What the user can type, or do; `None` where there is nothing.
    fn hint(&self) -> Option<String>;

    /// Whether what was typed is at fault, whatever lies on the disk and whatever machine this is.
    fn is_wrong_call(&self) -> bool {
        false
    }
}

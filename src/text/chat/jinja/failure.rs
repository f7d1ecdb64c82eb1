//! Errors of templates, and limits for what they do.

use std::cell::Cell;

/// Maximum number of steps of a rendering. A turn of a published template takes a few thousand.
const FUEL: u64 = 10_000_000;

/// The reason why a template did not render, in one line.
#[derive(Debug)]
pub(in crate::text::chat) struct Failure {
    pub(in crate::text::chat) message: String,
    /// The line in the template, from 1.
    pub(in crate::text::chat) line: Option<u32>,
}

/// The result of most functions here; the error is boxed to keep results small.
pub(super) type Result<T> = std::result::Result<T, Box<Failure>>;

pub(super) fn failure(message: impl Into<String>) -> Box<Failure> {
    Box::new(Failure { message: message.into(), line: None })
}

pub(super) fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(failure(message))
}

pub(super) fn too_deep() -> Box<Failure> {
    failure(format!("it nests values too deep (the limit is {MAX_DEPTH} levels)"))
}

/// Maximum depth of nested values. It is checked whenever a value is made, so that no recursion over a value, including
/// its drop, goes deeper. Published templates nest about five.
pub(super) const MAX_DEPTH: usize = 100;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(FUEL) };
    static LEVEL: Cell<usize> = const { Cell::new(0) };
}

/// Resets the fuel for a new rendering on this thread.
pub(super) fn refuel() {
    LEFT.set(FUEL);
    LEVEL.set(0);
}

/// Takes fuel for a number of steps.
///
/// # Errors
/// The fuel is used up.
pub(super) fn spend(steps: usize) -> Result<()> {
    match LEFT.get().checked_sub(steps as u64) {
        Some(left) => {
            LEFT.set(left);
            Ok(())
        }
        None => {
            LEFT.set(0);
            fail(format!("it ran out of fuel after {FUEL} steps"))
        }
    }
}

/// Takes fuel for work on a number of characters.
pub(super) fn spend_on_text(characters: usize) -> Result<()> {
    spend(characters / 8 + 1)
}

/// A level of a recursion over a value, which ends when this is dropped.
pub(super) struct Level(());

impl Level {
    /// Enters a level of a recursion over a value.
    ///
    /// # Errors
    /// The level is beyond [`MAX_DEPTH`]. A namespace may contain itself, which no check at its creation can find.
    pub(super) fn enter() -> Result<Self> {
        spend(1)?;
        if LEVEL.get() > MAX_DEPTH + 1 {
            return Err(too_deep());
        }
        LEVEL.set(LEVEL.get() + 1);
        Ok(Self(()))
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        LEVEL.set(LEVEL.get() - 1);
    }
}

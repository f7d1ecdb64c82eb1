//! What can go wrong in a template, and how much it may do.

use std::cell::Cell;

/// Steps of a rendering; a turn of a published template takes a few thousand.
const FUEL: u64 = 10_000_000;

/// Why a template did not render, in words for one line.
#[derive(Debug)]
pub(in crate::text::chat) struct Failure {
    pub(in crate::text::chat) message: String,
    /// In the template, from 1.
    pub(in crate::text::chat) line: Option<u32>,
}

/// Boxed, as almost every function here returns one.
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

/// Levels of values in values. Checked wherever a value is put together, so that no recursion over a value, its
/// drop included, goes deeper. Published templates nest about five.
pub(super) const MAX_DEPTH: usize = 100;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(FUEL) };
    static LEVEL: Cell<usize> = const { Cell::new(0) };
}

/// For a new rendering on this thread.
pub(super) fn refuel() {
    LEFT.set(FUEL);
    LEVEL.set(0);
}

/// Takes fuel for so many steps.
///
/// # Errors
/// Where too little is left.
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

/// Takes fuel for work on so many characters.
pub(super) fn spend_on_text(characters: usize) -> Result<()> {
    spend(characters / 8 + 1)
}

/// One level of a recursion over a value; the level ends where this is dropped.
pub(super) struct Level(());

impl Level {
    /// # Errors
    /// Beyond [`MAX_DEPTH`]: a namespace may hold itself, which no check at its making can see.
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

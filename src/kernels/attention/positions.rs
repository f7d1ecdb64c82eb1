//! Which positions a query sees, where the cache keeps them, and how they are divided for sums.

use std::ops::Range;

/// Positions of a span.
pub(super) const SPAN: usize = 128;

/// Positions of a group of spans.
pub(super) const GROUP: usize = 8 * SPAN;

/// Which positions the rows of a query see, and where the cache keeps them.
///
/// The cache is a ring of `slots`: position p lives in slot p mod `slots`. A query at position p sees positions
/// `p + 1 - window ..= p` (from 0 where that is negative). Example: window 4, 6 slots, a chunk of 3 queries at
/// positions 7, 8, 9. Position 7 sees 4..=7, position 9 sees 6..=9, so 4..=9 must be held: 4 + 3 - 1 = 6 slots.
/// They lie in slots 4, 5, 0, 1, 2, 3; a query's run of positions is at most two runs of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Position of the first query row.
    pub first: usize,
    /// Keys that a query sees, its own included; `None` for all.
    pub window: Option<usize>,
    /// Slots of the ring.
    pub slots: usize,
}

impl Span {
    /// The positions that the query at `position` sees: from the first value up to and with `position`.
    pub fn oldest(&self, position: usize) -> usize {
        self.window.map_or(0, |w| (position + 1).saturating_sub(w))
    }

    /// The positions that some of the first `tokens` rows see.
    pub(super) fn seen(&self, tokens: usize) -> Range<usize> {
        self.oldest(self.first)..self.first + tokens
    }
}

//! The positions that a query sees, where the KV cache stores them, and how summation divides them.

use std::ops::Range;

/// Number of positions in a span.
pub(super) const SPAN: usize = 128;

/// Number of positions in a group of spans.
pub(super) const GROUP: usize = 8 * SPAN;

/// The positions that rows of queries see, and where the KV cache stores them.
///
/// The cache is a ring buffer of `slots`: position p lies in slot p mod `slots`. A query at position p sees
/// positions `p + 1 - window ..= p`, from 0 if that is negative. Example: window 4, 6 slots, a chunk of 3 queries
/// at positions 7, 8, 9. Position 7 sees 4..=7 and position 9 sees 6..=9, so the cache must hold 4..=9: 4 + 3 - 1 =
/// 6 slots. They lie in slots 4, 5, 0, 1, 2, 3. The positions of a query lie in at most two runs of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Position of the first query row.
    pub first: usize,
    /// Number of keys that a query sees, including its own; `None` for all.
    pub window: Option<usize>,
    /// Number of slots of the ring buffer.
    pub slots: usize,
}

impl Span {
    /// Returns the oldest position that the query at `position` sees. The newest is `position` itself.
    pub fn oldest(&self, position: usize) -> usize {
        self.window.map_or(0, |w| (position + 1).saturating_sub(w))
    }

    /// Returns the positions that at least one of the first `tokens` rows sees.
    pub(super) fn seen(&self, tokens: usize) -> Range<usize> {
        self.oldest(self.first)..self.first + tokens
    }
}

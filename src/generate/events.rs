//! The events that a step of the engine reports: new tokens, scores, and ended sequences.

use std::ops::Range;

use super::request::{Ended, GenerationError};

/// Identifies a sequence in its engine. Ids increase in the order of [`Engine::add`](super::Engine::add).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub(super) u64);

/// An event of a sequence in a step.
#[derive(Debug)]
pub enum Event<'e> {
    /// The sequence has a new token, which is not an end token.
    Token {
        /// The token.
        id: u32,
        /// The text that the token completes. It is empty in the middle of a character, and while the text may become a
        /// stop text.
        text: &'e str,
    },
    /// Scores of the next prompt tokens: the natural logarithm of each token's probability. The first scored token is
    /// the second of the prompt, or the second computed token.
    Scores(&'e [f64]),
    /// The sequence has ended. An error is of this sequence only.
    End(Result<Box<Ended>, GenerationError>),
}

/// An event whose text and scores are ranges of the lists in [`Events`].
#[derive(Debug)]
pub(super) enum Noted {
    Token(u32, Range<usize>),
    Scores(Range<usize>),
    End(Result<Box<Ended>, GenerationError>),
}

/// The events of a step.
#[derive(Debug)]
pub(super) struct Events {
    pub list: Vec<(Id, Noted)>,
    pub text: String,
    pub scores: Vec<f64>,
}

impl Events {
    /// Creates a list with room for the events of a step of `sequences` sequences, so that new tokens need no
    /// allocation.
    pub fn new(sequences: usize) -> Self {
        let list = Vec::with_capacity(2 * sequences);
        Self { list, text: String::with_capacity(4 << 10), scores: Vec::new() }
    }

    /// Removes and returns the events.
    pub fn take(&mut self) -> impl Iterator<Item = (Id, Event<'_>)> {
        let Self { list, text, scores } = self;
        list.drain(..).map(|(id, noted)| match noted {
            Noted::Token(token, range) => (id, Event::Token { id: token, text: &text[range] }),
            Noted::Scores(range) => (id, Event::Scores(&scores[range])),
            Noted::End(ended) => (id, Event::End(ended)),
        })
    }

    /// Discards the remaining events.
    pub fn clear(&mut self) {
        self.list.clear();
        self.text.clear();
        self.scores.clear();
    }
}

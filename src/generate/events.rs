//! What happens to sequences in a step.

use std::ops::Range;

use super::request::{Ended, GenerationError};

/// A sequence's name in its engine. Later ones are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub(super) u64);

/// What happens to a sequence in a step.
#[derive(Debug)]
pub enum Event<'e> {
    /// It has a new token, which is no end token.
    Token {
        /// The token.
        id: u32,
        /// The text that it completes: empty in the middle of a character, and where it may become a stop text.
        text: &'e str,
    },
    /// The next tokens of the prompt, from its second on or the second that is computed, were scored: the natural logarithm
    /// of each one's probability.
    Scores(&'e [f64]),
    /// It has ended. With an error it alone has failed.
    End(Result<Box<Ended>, GenerationError>),
}

/// An event whose text and scores lie in the engine's lists.
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
    /// With room for what a step of so many sequences brings, so that none of its tokens takes memory.
    pub fn new(sequences: usize) -> Self {
        let list = Vec::with_capacity(2 * sequences);
        Self { list, text: String::with_capacity(4 << 10), scores: Vec::new() }
    }

    /// The events so far, which are then no longer here.
    pub fn take(&mut self) -> impl Iterator<Item = (Id, Event<'_>)> {
        let Self { list, text, scores } = self;
        list.drain(..).map(|(id, noted)| match noted {
            Noted::Token(token, range) => (id, Event::Token { id: token, text: &text[range] }),
            Noted::Scores(range) => (id, Event::Scores(&scores[range])),
            Noted::End(ended) => (id, Event::End(ended)),
        })
    }

    /// Forgets what nobody has taken.
    pub fn clear(&mut self) {
        self.list.clear();
        self.text.clear();
        self.scores.clear();
    }
}

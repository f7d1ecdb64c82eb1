//! The pieces of a text, and the loop that computes them.

use std::collections::VecDeque;
use std::fmt;

use crate::generate::{Ended, Engine, Event, Finish, GenerationError, Id};

/// A piece of a text: the text that a token adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The text that the token completes. It is empty in the middle of a character, and while a stop text may follow.
    pub text: String,
    /// The token; `None` for the last piece, whose text was held back until the end.
    pub id: Option<u32>,
    /// The reason for the end of the text; only the last piece has one.
    pub finish: Option<Finish>,
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Concatenates pieces into a text.
impl FromIterator<Piece> for String {
    fn from_iter<I: IntoIterator<Item = Piece>>(pieces: I) -> Self {
        pieces.into_iter().map(|piece| piece.text).collect()
    }
}

/// A sequence that an engine computes, with its pieces that the caller has not taken yet.
#[derive(Debug)]
pub(super) struct Steps {
    id: Id,
    pieces: VecDeque<Piece>,
    end: End,
}

/// The state of a sequence's end.
#[derive(Debug)]
enum End {
    /// The sequence has not ended.
    Pending,
    /// The sequence has ended, but the caller has not taken the result.
    Reached(Result<Box<Ended>, GenerationError>),
    /// The caller has taken the result.
    Taken,
}

/// The next item of a sequence.
pub(super) enum Next {
    Piece(Piece),
    /// The sequence has ended.
    End(Box<Ended>),
    Failed(GenerationError),
    /// The end was returned before.
    Nothing,
}

impl Steps {
    /// Creates the state for a sequence, the only one of its engine.
    pub fn new(id: Id) -> Self {
        Self { id, pieces: VecDeque::new(), end: End::Pending }
    }

    /// Steps the engine until there is a next item, and returns it. If the engine's watch interrupts, the sequence ends
    /// early.
    pub fn next(&mut self, engine: &mut Engine) -> Next {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Next::Piece(piece);
            }
            match std::mem::replace(&mut self.end, End::Taken) {
                End::Pending => self.end = End::Pending,
                End::Reached(Ok(ended)) => return Next::End(ended),
                End::Reached(Err(error)) => return Next::Failed(error),
                End::Taken => return Next::Nothing,
            }
            if engine.is_interrupted() {
                let ended = engine.cancel(self.id).ok_or(GenerationError::NoSequence);
                self.end = End::Reached(ended.map(Box::new));
                continue;
            }
            if let Err(error) = self.step(engine) {
                engine.cancel(self.id);
                self.end = End::Reached(Err(error));
            }
        }
    }

    /// Ends the sequence early and returns the result; `None` if the result was taken before or is an error.
    pub fn cancel(&mut self, engine: &mut Engine) -> Option<Box<Ended>> {
        match std::mem::replace(&mut self.end, End::Taken) {
            End::Pending => engine.cancel(self.id).map(Box::new),
            End::Reached(ended) => ended.ok(),
            End::Taken => None,
        }
    }

    fn step(&mut self, engine: &mut Engine) -> Result<(), GenerationError> {
        for (of, event) in engine.step()? {
            match event {
                Event::Token { id, text } if of == self.id => {
                    self.pieces.push_back(Piece { text: text.into(), id: Some(id), finish: None });
                }
                Event::End(ended) if of == self.id => self.end = End::Reached(ended),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Piece {
    /// Returns the last piece of a text.
    pub(super) fn last(ended: &Ended) -> Self {
        Self { text: ended.rest.clone(), id: None, finish: Some(ended.generation.finish) }
    }
}

//! A text in pieces, as its tokens come.

use std::collections::VecDeque;
use std::fmt;

use crate::generate::{Ended, Engine, Event, Finish, GenerationError, Id};

/// A piece of a text: what a token adds to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The text that the token completes: empty in the middle of a character, and where it may become a stop text.
    pub text: String,
    /// The token; `None` for the last piece, which has the text that was held back until the end.
    pub id: Option<u32>,
    /// Why the text ends, with the last piece.
    pub finish: Option<Finish>,
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The whole text: pieces are put together without anything between them.
impl FromIterator<Piece> for String {
    fn from_iter<I: IntoIterator<Item = Piece>>(pieces: I) -> Self {
        pieces.into_iter().map(|piece| piece.text).collect()
    }
}

/// A sequence on its way, and what its steps have brought that nobody has taken.
#[derive(Debug)]
pub(super) struct Steps {
    id: Id,
    pieces: VecDeque<Piece>,
    end: End,
}

/// How far a sequence is from its end.
#[derive(Debug)]
enum End {
    Ahead,
    Come(Result<Box<Ended>, GenerationError>),
    Taken,
}

/// What comes next of a sequence.
pub(super) enum Next {
    Piece(Piece),
    /// It has ended.
    End(Box<Ended>),
    Failed(GenerationError),
    /// Its end was given before.
    Nothing,
}

impl Steps {
    /// Of a sequence that was added to an engine, which has no other.
    pub fn new(id: Id) -> Self {
        Self { id, pieces: VecDeque::new(), end: End::Ahead }
    }

    /// Steps the engine until there is something to give. Where its watch interrupts, the sequence ends as it is.
    pub fn next(&mut self, engine: &mut Engine) -> Next {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Next::Piece(piece);
            }
            match std::mem::replace(&mut self.end, End::Taken) {
                End::Ahead => self.end = End::Ahead,
                End::Come(Ok(ended)) => return Next::End(ended),
                End::Come(Err(error)) => return Next::Failed(error),
                End::Taken => return Next::Nothing,
            }
            if engine.is_interrupted() {
                let ended = engine.cancel(self.id).ok_or(GenerationError::NoSequence);
                self.end = End::Come(ended.map(Box::new));
                continue;
            }
            if let Err(error) = self.step(engine) {
                engine.cancel(self.id);
                self.end = End::Come(Err(error));
            }
        }
    }

    /// Ends the sequence as it is; `None` if it has ended.
    pub fn cancel(&mut self, engine: &mut Engine) -> Option<Box<Ended>> {
        match std::mem::replace(&mut self.end, End::Taken) {
            End::Ahead => engine.cancel(self.id).map(Box::new),
            End::Come(ended) => ended.ok(),
            End::Taken => None,
        }
    }

    fn step(&mut self, engine: &mut Engine) -> Result<(), GenerationError> {
        for (of, event) in engine.step()? {
            match event {
                Event::Token { id, text } if of == self.id => {
                    self.pieces.push_back(Piece { text: text.into(), id: Some(id), finish: None });
                }
                Event::End(ended) if of == self.id => self.end = End::Come(ended),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Piece {
    /// The last piece of a text.
    pub(super) fn last(ended: &Ended) -> Self {
        Self { text: ended.rest.clone(), id: None, finish: Some(ended.generation.finish) }
    }
}

//! Generates a text that continues a prompt.

use super::error::Error;
use super::model::Model;
use super::options::{Options, random_seed};
use super::piece::{Next, Piece, Steps};
use crate::generate::{Engine, Generation, Watch};

impl Model {
    /// Continues a prompt and returns the pieces of the text, each computed on demand.
    ///
    /// `options` is a [`Sampling`] or [`Options`].
    ///
    /// [`Sampling`]: crate::generate::Sampling
    ///
    /// # Errors
    /// The prompt is empty or fills the context; a sampling value is out of its range.
    pub fn generate(&self, prompt: &str, options: impl Into<Options>) -> Result<Pieces, Error> {
        let options = options.into();
        let ids = self.tokenize(prompt)?;
        let seed = options.seed.unwrap_or_else(random_seed);
        let request = self.request(ids, &options, false, seed)?;
        let mut engine = self.engine();
        let id = engine.add(request).map_err(|error| self.explained(error))?;
        Ok(Pieces { model: self.clone(), engine, steps: Steps::new(id), seed, generation: None })
    }
}

/// The pieces of a text, each computed on demand. Concatenated they are the text; the last piece has the reason for its
/// end.
#[derive(Debug)]
pub struct Pieces {
    model: Model,
    engine: Engine,
    steps: Steps,
    seed: u64,
    generation: Option<Generation>,
}

impl Pieces {
    /// Sets the watch, which observes the prefill of the prompt and can end the text.
    pub fn watch(mut self, watch: Watch) -> Self {
        self.engine.watch(watch);
        self
    }

    /// Returns the rest of the text.
    ///
    /// # Errors
    /// The errors of the pieces.
    pub fn text(&mut self) -> Result<String, Error> {
        self.by_ref().collect()
    }

    /// Returns the seed, with which the same text can be generated again.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the ids, the reason for the end and the timings of a finished text.
    pub fn generation(&self) -> Option<&Generation> {
        self.generation.as_ref()
    }
}

impl Iterator for Pieces {
    type Item = Result<Piece, Error>;

    fn next(&mut self) -> Option<Result<Piece, Error>> {
        match self.steps.next(&mut self.engine) {
            Next::Piece(piece) => Some(Ok(piece)),
            Next::End(ended) => {
                let last = Piece::last(&ended);
                self.generation = Some(ended.generation);
                Some(Ok(last))
            }
            Next::Failed(error) => Some(Err(self.model.explained(error))),
            Next::Nothing => None,
        }
    }
}

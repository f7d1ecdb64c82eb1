//! A text that continues a prompt.

use super::error::Error;
use super::model::Model;
use super::options::Options;
use super::piece::{Next, Piece, Steps};
use crate::generate::{Engine, Generation, Watch};
use crate::text::Message;

impl Model {
    /// Continues a prompt: the pieces of a text, as its tokens come. What is asked for is a [`Sampling`], or [`Options`].
    ///
    /// [`Sampling`]: crate::generate::Sampling
    ///
    /// # Errors
    /// The prompt is empty or fills the context, a value of the sampling is out of its range, or the model has no chat format
    /// that [`Options::chat`] asks for.
    pub fn generate(&self, prompt: &str, options: impl Into<Options>) -> Result<Pieces, Error> {
        let options = options.into();
        let ids = match options.chat {
            true => self.tokenizer().encode_chat(&[Message::new("user", prompt)])?,
            false => self.tokenize(prompt)?,
        };
        let seed = options.seed.unwrap_or_else(|| rand::random::<u32>().into());
        let request = self.request(ids, &options, seed)?;
        let mut engine = self.engine();
        let id = engine.add(request).map_err(|error| self.explained(error))?;
        Ok(Pieces { model: self.clone(), engine, steps: Steps::new(id), seed, generation: None })
    }
}

/// The pieces of a text, each computed when it is asked for. Together they are the text; the last one says why it ends.
#[derive(Debug)]
pub struct Pieces {
    model: Model,
    engine: Engine,
    steps: Steps,
    seed: u64,
    generation: Option<Generation>,
}

impl Pieces {
    /// `watch` looks on while the prompt is computed, and may end the text.
    pub fn watch(mut self, watch: Watch) -> Self {
        self.engine.watch(watch);
        self
    }

    /// The rest of the text as a whole.
    ///
    /// # Errors
    /// Those of the pieces.
    pub fn text(&mut self) -> Result<String, Error> {
        self.by_ref().collect()
    }

    /// The seed that gives this text again.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The ids, why the text ended and how long it took, once it has ended.
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

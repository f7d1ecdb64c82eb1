//! A conversation with a model, whose cache holds most of it from turn to turn.

use std::fmt;

use super::error::Error;
use super::model::Model;
use super::options::Options;
use super::piece::{Next, Piece, Steps};
use crate::chat::{Conversation, ConversationError, Exchange};
use crate::generate::{Ended, Engine, Finish, Generation, GenerationError, NextToken, Sampling, Watch};
use crate::text::Message;

/// Tokens that are kept free for a reply whose length nobody limits; a quarter of a small context.
const ROOM: usize = 256;

/// A conversation. What was said before is in the cache: a turn computes its new tokens only.
#[derive(Debug)]
pub struct Chat {
    model: Model,
    engine: Engine,
    options: Options,
    seed: u64,
    /// Chooses the tokens of the next reply: random numbers go on from one to the next.
    next: Option<NextToken>,
    conversation: Conversation,
    dropped: usize,
}

/// What a model said.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The text.
    pub text: String,
    /// Its ids, why it ended, and how long it took.
    pub generation: Generation,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Model {
    /// Begins a conversation. Replies run to the end of the turn, or of the context.
    pub fn chat(&self) -> Chat {
        Chat {
            model: self.clone(),
            engine: self.engine(),
            options: Options { max_new_tokens: None, chat: true, ..Options::default() },
            seed: rand::random::<u32>().into(),
            next: None,
            conversation: Conversation::default(),
            dropped: 0,
        }
    }
}

impl Chat {
    /// With a system prompt, in place of an earlier one.
    pub fn system(mut self, text: impl Into<String>) -> Self {
        self.conversation.set_system(Some(text.into()));
        self
    }

    /// With other options for the replies to come: how tokens are chosen, the seed, limits and stop texts.
    pub fn options(mut self, options: impl Into<Options>) -> Self {
        self.set_options(options);
        self
    }

    /// Sets the options for the replies to come. Random numbers begin anew where the seed is another.
    pub fn set_options(&mut self, options: impl Into<Options>) {
        let options = Options { chat: true, ..options.into() };
        if let Some(seed) = options.seed
            && seed != self.seed
        {
            self.reseed(seed);
        }
        self.options = options;
    }

    /// Random numbers begin anew, at `seed`.
    pub fn reseed(&mut self, seed: u64) {
        (self.seed, self.next) = (seed, None);
    }

    /// Where the random numbers began.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The options of replies.
    pub fn current_options(&self) -> &Options {
        &self.options
    }

    /// What was said so far.
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// What was said so far, to be changed: the next turn computes what is new.
    pub fn conversation_mut(&mut self) -> &mut Conversation {
        &mut self.conversation
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// From here on `watch` looks on while prompts are computed, and may end replies.
    pub fn watch(&mut self, watch: Watch) {
        self.engine.watch(watch);
    }

    /// Whether the model only continues text: it has no chat format, and each message is by itself.
    pub fn is_plain(&self) -> bool {
        self.model.tokenizer().chat_format().is_none()
    }

    /// Says `text`; the reply. What fails leaves the conversation as it was.
    ///
    /// # Errors
    /// The message does not fit into the context, a value of the sampling is out of its range; or errors of a device.
    pub fn say(&mut self, text: &str) -> Result<Reply, Error> {
        self.stream(text)?.reply()
    }

    /// Says `text`; the reply in pieces, as its tokens come.
    ///
    /// # Errors
    /// As [`say`](Self::say).
    pub fn stream(&mut self, text: &str) -> Result<Replying<'_>, Error> {
        self.turn(|conversation| conversation.push_user(text))
    }

    /// Has the last message replied to again.
    ///
    /// # Errors
    /// There is none, and as [`say`](Self::say).
    pub fn retry(&mut self) -> Result<Replying<'_>, Error> {
        self.turn(|conversation| conversation.retry().map(drop).ok_or(ConversationError::NothingToAnswer))
    }

    /// Begins the reply to the message that `ask` leaves.
    fn turn(
        &mut self,
        ask: impl FnOnce(&mut Conversation) -> Result<(), ConversationError>,
    ) -> Result<Replying<'_>, Error> {
        let before = self.conversation.clone();
        ask(&mut self.conversation)?;
        match self.begin() {
            Ok(steps) => {
                let dropped = std::mem::take(&mut self.dropped);
                Ok(Replying {
                    chat: self,
                    steps,
                    before: Some(before),
                    text: String::new(),
                    dropped,
                    generation: None,
                })
            }
            Err(error) => {
                self.conversation = before;
                Err(error)
            }
        }
    }

    fn begin(&mut self) -> Result<Steps, Error> {
        let prompt = self.prompt()?;
        let options = Options { chat: !self.is_plain(), ..self.options.clone() };
        let mut request = self.model.request(prompt, &options, self.seed)?;
        request.end_ids = self.model.opened().ends(&self.options.stop, true, self.options.ignore_eos);
        if let Some(NextToken::Sampled(mut sampler)) = self.next.take() {
            sampler.set(self.sampling())?;
            request.next = NextToken::Sampled(sampler);
        }
        let id = self.engine.add(request).map_err(|error| self.model.explained(error))?;
        Ok(Steps::new(id))
    }

    /// How tokens are chosen.
    pub fn sampling(&self) -> Sampling {
        self.options.sampling.clone().unwrap_or_else(|| self.model.sampling())
    }

    /// The ids that the reply continues. Where the context is full, the oldest turns go.
    fn prompt(&mut self) -> Result<Vec<u32>, Error> {
        let tokenizer = self.model.tokenizer();
        let context = self.model.context_length();
        if self.is_plain() {
            let ids = self.model.tokenize(self.conversation.unanswered().unwrap_or_default())?;
            let checked = crate::generate::room(&ids, context);
            return checked.map(|_| ids).map_err(|error| self.model.explained(error));
        }
        let room = match self.options.max_new_tokens {
            Some(most) => most.min(context / 2),
            None => ROOM.min(context / 4),
        };
        let count = |messages: &[Message]| tokenizer.encode_chat(messages).map(|ids| ids.len());
        let limit = context - room;
        self.dropped = self.conversation.fit(limit, count)?;
        if self.dropped > 0 {
            // What is left is computed anew. With a quarter more gone the next turns need not be, which would each
            // drop one turn and compute all the others. Where the newest turn is that long, it stays alone.
            self.dropped += self.conversation.fit(limit / 4 * 3, count).unwrap_or(0);
        }
        Ok(tokenizer.encode_chat(&self.conversation.messages())?)
    }

    /// Tokens that the conversation takes, less what ends the last reply.
    ///
    /// # Errors
    /// Those of the chat format.
    pub fn used(&self) -> Result<usize, Error> {
        let tokenizer = self.model.tokenizer();
        let mut asked = self.conversation.clone();
        // Formats may refuse a conversation of nothing.
        if self.is_plain() || asked.retry().is_none() {
            return Ok(0);
        }
        let reply = match self.conversation.exchanges().last() {
            Some(Exchange { reply_ids, .. }) if !reply_ids.is_empty() => reply_ids.len(),
            Some(Exchange { reply: Some(text), .. }) => tokenizer.encode(text, false)?.len(),
            _ => 0,
        };
        Ok(tokenizer.encode_chat(&asked.messages())?.len() + reply)
    }
}

/// A reply on its way, in pieces. Once it has ended it is part of the conversation; one that is dropped before ends as it is,
/// and one that fails, or ends before a word came, leaves the conversation as it was.
#[derive(Debug)]
pub struct Replying<'c> {
    chat: &'c mut Chat,
    steps: Steps,
    /// The conversation before the turn, until that has ended.
    before: Option<Conversation>,
    text: String,
    dropped: usize,
    generation: Option<Generation>,
}

impl Replying<'_> {
    /// How many of the oldest turns were dropped for this one, as the context is full.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// The whole reply.
    ///
    /// # Errors
    /// Those of the pieces.
    pub fn reply(mut self) -> Result<Reply, Error> {
        self.by_ref().try_for_each(|piece| piece.map(drop))?;
        match self.generation.take() {
            Some(generation) => Ok(Reply { text: std::mem::take(&mut self.text), generation }),
            None => Err(self.chat.model.explained(GenerationError::NoSequence)),
        }
    }

    /// The ids, why the reply ended and how long it took, once it has ended.
    pub fn generation(&self) -> Option<&Generation> {
        self.generation.as_ref()
    }

    /// The turn has ended.
    fn settle(&mut self, Ended { generation, rest, next }: Ended) -> Result<(), Error> {
        self.text.push_str(&rest);
        self.chat.next = Some(next);
        let before = self.before.take();
        if generation.finish == Finish::Interrupted && self.text.is_empty() {
            self.go_back(before);
        } else {
            // A control token in the middle of a reply is not said again: it is no text, and may end a turn. Nor is the
            // stop text that a reply was cut at.
            let tokenizer = self.chat.model.tokenizer();
            let is_text = !generation.stop_text && !generation.ids.iter().any(|&id| tokenizer.is_control(id));
            let ids = if is_text { generation.ids.clone() } else { Vec::new() };
            self.chat.conversation.push_assistant(&self.text, ids)?;
        }
        self.generation = Some(generation);
        Ok(())
    }

    fn go_back(&mut self, before: Option<Conversation>) {
        self.chat.conversation = before.unwrap_or_default();
    }
}

impl Iterator for Replying<'_> {
    type Item = Result<Piece, Error>;

    fn next(&mut self) -> Option<Result<Piece, Error>> {
        match self.steps.next(&mut self.chat.engine) {
            Next::Piece(piece) => {
                self.text.push_str(&piece.text);
                Some(Ok(piece))
            }
            Next::End(ended) => {
                let last = Piece::last(&ended);
                Some(self.settle(*ended).map(|()| last))
            }
            Next::Failed(error) => {
                let before = self.before.take();
                self.go_back(before);
                Some(Err(self.chat.model.explained(error)))
            }
            Next::Nothing => None,
        }
    }
}

impl Drop for Replying<'_> {
    fn drop(&mut self) {
        if let Some(ended) = self.steps.cancel(&mut self.chat.engine) {
            // A message waits for this reply: it is taken.
            let _ = self.settle(*ended);
        }
    }
}

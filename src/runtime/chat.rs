//! A conversation with a model. Its KV cache is kept from turn to turn.

use std::fmt;

use super::error::Error;
use super::model::Model;
use super::options::{NO_LIMIT, Options, random_seed};
use super::piece::{Next, Piece, Steps};
use crate::chat::{Conversation, ConversationError, Exchange};
use crate::generate::{Ended, Engine, Finish, Generation, GenerationError, NextToken, Sampling, Watch};
use crate::text::Message;

/// Number of tokens that are reserved for a reply without a length limit; a quarter of the context if that is less.
const ROOM: usize = 256;

/// A conversation with a model. The KV cache holds the earlier turns, so that a turn computes only its new tokens.
#[derive(Debug)]
pub struct Chat {
    model: Model,
    engine: Engine,
    /// The seed is always set.
    options: Options,
    /// The sampler, kept between replies so that its random numbers continue.
    next: Option<NextToken>,
    conversation: Conversation,
}

/// The reply of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The text.
    pub text: String,
    /// The ids, the reason for the end, and the timings.
    pub generation: Generation,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Model {
    /// Begins a conversation. Replies run to the end of the turn or of the context.
    pub fn chat(&self) -> Chat {
        Chat {
            model: self.clone(),
            engine: self.engine(),
            options: Options { seed: Some(random_seed()), ..Options::default() },
            next: None,
            conversation: Conversation::default(),
        }
    }
}

impl Chat {
    /// Sets the system prompt.
    pub fn system(mut self, text: impl Into<String>) -> Self {
        self.conversation.set_system(Some(text.into()));
        self
    }

    /// Sets the options of later replies: sampling, seed, limits and stop texts.
    pub fn options(mut self, options: impl Into<Options>) -> Self {
        self.set_options(options);
        self
    }

    /// Sets the options of later replies. A different seed restarts the random numbers.
    pub fn set_options(&mut self, options: impl Into<Options>) {
        let options = options.into();
        let seed = options.seed.unwrap_or_else(|| self.seed());
        if seed != self.seed() {
            self.next = None;
        }
        self.options = Options { seed: Some(seed), ..options };
    }

    /// Restarts the random numbers from `seed`.
    pub fn reseed(&mut self, seed: u64) {
        (self.options.seed, self.next) = (Some(seed), None);
    }

    /// Returns the seed of the random numbers.
    pub fn seed(&self) -> u64 {
        self.options.seed.unwrap_or_default()
    }

    /// Returns the options of replies, with the current seed.
    pub fn current_options(&self) -> &Options {
        &self.options
    }

    /// Returns the conversation so far.
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Returns a mutable reference to the conversation so far. The next turn computes all tokens after the first
    /// change.
    pub fn conversation_mut(&mut self) -> &mut Conversation {
        &mut self.conversation
    }

    /// Returns the model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Sets the watch, which observes the prefill of prompts and can end replies.
    pub fn watch(&mut self, watch: Watch) {
        self.engine.watch(watch);
    }

    /// Returns whether the model has no chat format. It then continues each message as a separate text.
    pub fn is_plain(&self) -> bool {
        self.model.tokenizer().chat_format().is_none()
    }

    /// Sends a message and returns the reply. An error leaves the conversation unchanged.
    ///
    /// # Errors
    /// The message does not fit into the context; a sampling value is out of its range; a device fails.
    pub fn say(&mut self, text: &str) -> Result<Reply, Error> {
        self.stream(text)?.reply()
    }

    /// Sends a message and returns the reply in pieces, as its tokens are computed.
    ///
    /// # Errors
    /// The errors of [`say`](Self::say).
    pub fn stream(&mut self, text: &str) -> Result<Replying<'_>, Error> {
        self.turn(|conversation| conversation.push_user(text))
    }

    /// Generates another reply to the last message.
    ///
    /// # Errors
    /// The conversation has no message yet; the errors of [`say`](Self::say).
    pub fn retry(&mut self) -> Result<Replying<'_>, Error> {
        self.turn(|conversation| conversation.retry().map(drop).ok_or(ConversationError::NothingToAnswer))
    }

    /// Begins the reply to the conversation as changed by `ask`, and restores the conversation on an error.
    fn turn(
        &mut self,
        ask: impl FnOnce(&mut Conversation) -> Result<(), ConversationError>,
    ) -> Result<Replying<'_>, Error> {
        let before = self.conversation.clone();
        ask(&mut self.conversation)?;
        match self.begin() {
            Ok((steps, dropped)) => Ok(Replying {
                chat: self,
                steps,
                before: Some(before),
                text: String::new(),
                dropped,
                generation: None,
            }),
            Err(error) => {
                self.conversation = before;
                Err(error)
            }
        }
    }

    /// Starts the reply. Also returns the number of dropped turns.
    fn begin(&mut self) -> Result<(Steps, usize), Error> {
        let (prompt, dropped) = self.prompt()?;
        let most = Some(self.options.max_new_tokens.unwrap_or(NO_LIMIT));
        let options = Options { max_new_tokens: most, ..self.options.clone() };
        let mut request = self.model.request(prompt, &options, !self.is_plain(), self.seed())?;
        // A copy, so that a failed turn leaves the random numbers unchanged.
        if let Some(NextToken::Sampled(mut sampler)) = self.next.clone() {
            sampler.set(self.sampling())?;
            request.next = NextToken::Sampled(sampler);
        }
        let id = self.engine.add(request).map_err(|error| self.model.explained(error))?;
        Ok((Steps::new(id), dropped))
    }

    /// Returns the sampling settings of replies.
    pub fn sampling(&self) -> Sampling {
        self.options.sampling.clone().unwrap_or_else(|| self.model.sampling())
    }

    /// Returns the ids of the prompt, and the number of oldest turns that were dropped because the context is full.
    fn prompt(&mut self) -> Result<(Vec<u32>, usize), Error> {
        let tokenizer = self.model.tokenizer();
        let context = self.model.context_length();
        if self.is_plain() {
            let ids = self.model.tokenize(self.conversation.unanswered().unwrap_or_default())?;
            let checked = crate::generate::room(&ids, context);
            return checked.map(|_| (ids, 0)).map_err(|error| self.model.explained(error));
        }
        let room = match self.options.max_new_tokens {
            None | Some(NO_LIMIT) => ROOM.min(context / 4),
            Some(most) => most.min(context / 2),
        };
        let count = |messages: &[Message]| tokenizer.encode_chat(messages).map(|ids| ids.len());
        let limit = context - room;
        let mut dropped = self.conversation.fit(limit, count)?;
        if dropped > 0 {
            // The remaining turns are recomputed. Freeing another quarter of the limit saves the next turns this cost:
            // otherwise each of them would drop one turn and recompute all others. A newest turn longer than three
            // quarters of the limit is kept alone.
            dropped += self.conversation.fit(limit / 4 * 3, count).unwrap_or(0);
        }
        Ok((tokenizer.encode_chat(&self.conversation.messages())?, dropped))
    }

    /// Returns the number of tokens of the conversation, without the end of the last reply.
    ///
    /// # Errors
    /// The chat format refuses the conversation.
    pub fn used(&self) -> Result<usize, Error> {
        let tokenizer = self.model.tokenizer();
        let mut asked = self.conversation.clone();
        // Chat formats may refuse an empty conversation.
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

/// The pieces of a reply, each computed on demand.
///
/// A finished reply becomes part of the conversation. Dropping this value ends the reply early and keeps its text so far.
/// A reply that fails, or is interrupted before its first text, leaves the conversation unchanged.
#[derive(Debug)]
pub struct Replying<'c> {
    chat: &'c mut Chat,
    steps: Steps,
    /// The conversation before the turn; `None` once the turn has ended.
    before: Option<Conversation>,
    text: String,
    dropped: usize,
    generation: Option<Generation>,
}

impl Replying<'_> {
    /// Returns the number of old turns that this turn dropped because the context is full.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Returns the whole reply.
    ///
    /// # Errors
    /// The errors of the pieces.
    pub fn reply(mut self) -> Result<Reply, Error> {
        self.by_ref().try_for_each(|piece| piece.map(drop))?;
        match self.generation.take() {
            Some(generation) => Ok(Reply { text: std::mem::take(&mut self.text), generation }),
            None => Err(self.chat.model.explained(GenerationError::NoSequence)),
        }
    }

    /// Returns the ids, the reason for the end and the timings of a finished reply.
    pub fn generation(&self) -> Option<&Generation> {
        self.generation.as_ref()
    }

    /// Adds the finished reply to the conversation.
    fn settle(&mut self, Ended { generation, rest, next }: Ended) -> Result<(), Error> {
        self.text.push_str(&rest);
        self.chat.next = Some(next);
        let before = self.before.take();
        if generation.finish == Finish::Interrupted && self.text.is_empty() {
            self.go_back(before);
        } else {
            // The ids are kept for the next prompt only if they encode exactly the text. They do not if the reply has a
            // control token, which is not text and may end a turn, or if the reply was cut at a stop text.
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
            // `settle` only fails without a message to reply to, and this turn has one.
            let _ = self.settle(*ended);
        }
    }
}

//! A turn: from the message to the reply on the screen.

use std::sync::Arc;

use mist::chat::{Conversation, ConversationError, Exchange};
use mist::generate::{
    Ended, Engine, Finish, Generation, GenerationError, Limits, NextToken, Request, TextStream,
};
use mist::terminal::{Interrupt, Output, Printer, watch};
use mist::text::Message;

use super::settings::Settings;
use crate::cli::model::Loaded;
use crate::cli::opened::Opened;
use crate::cli::output::note_timings;

/// Tokens that are kept free for a reply whose length nobody limits; a quarter of a small context.
const ROOM: usize = 256;

/// What is said to a model, and the engine that holds most of it in a cache.
pub struct Talk<'a> {
    loaded: &'a Loaded,
    opened: &'a Opened,
    engine: Engine,
    /// Chooses the tokens of the next reply.
    next: NextToken,
    settings: Settings,
    /// Texts that a reply ends before, and ids that it ends at.
    stops: &'a [String],
    ends: Vec<u32>,
    /// What was said so far. A turn that comes to nothing leaves it as it was.
    pub conversation: Conversation,
    interrupt: &'a Interrupt,
    pub printer: &'a Printer,
    /// What stands before a reply.
    pub label: &'static str,
}

impl<'a> Talk<'a> {
    /// An empty conversation.
    pub fn new(
        loaded: &'a Loaded,
        settings: Settings,
        stops: &'a [String],
        system: Option<String>,
        interrupt: &'a Interrupt,
        printer: &'a Printer,
    ) -> anyhow::Result<Self> {
        let talk = Self {
            loaded,
            opened: &loaded.opened,
            engine: Engine::new(
                loaded.model.clone(),
                Limits::new(&loaded.model, loaded.cache_dtype, loaded.slots),
            ),
            next: settings.sampler()?,
            settings,
            stops,
            ends: loaded.opened.ends(stops, true, false),
            conversation: Conversation::new(system),
            interrupt,
            printer,
            label: "",
        };
        if talk.is_plain() {
            printer.warn("the model has no chat format: each message is continued as plain text, on its own");
            if talk.conversation.system().is_some() {
                printer.warn("without a chat format the system prompt is not used");
            }
        }
        Ok(talk)
    }

    /// Says `text`; why its reply ended.
    pub fn say(&mut self, text: &str) -> anyhow::Result<Finish> {
        self.turn(|conversation| conversation.push_user(text))
    }

    /// Has the last message replied to again.
    pub fn retry(&mut self) -> anyhow::Result<Finish> {
        self.turn(|conversation| conversation.retry().map(drop).ok_or(ConversationError::NothingToAnswer))
    }

    /// Has the message that `ask` leaves replied to. What fails, or is stopped before a word came, leaves the
    /// conversation as it was.
    fn turn(
        &mut self,
        ask: impl FnOnce(&mut Conversation) -> Result<(), ConversationError>,
    ) -> anyhow::Result<Finish> {
        let before = self.conversation.clone();
        ask(&mut self.conversation)?;
        match self.reply() {
            Ok((Finish::Interrupted, text, _)) if text.is_empty() => {
                self.conversation = before;
                self.printer.note("Stopped before the reply began: the conversation is as it was");
                Ok(Finish::Interrupted)
            }
            Ok((finish, text, ids)) => {
                self.conversation.push_assistant(text, ids)?;
                Ok(finish)
            }
            Err(error) => {
                self.conversation = before;
                Err(error)
            }
        }
    }

    /// The reply to the message that waits for one, shown while it is generated, and the ids it was generated as.
    fn reply(&mut self) -> anyhow::Result<(Finish, String, Vec<u32>)> {
        let prompt = self.prompt()?;
        let tokenizer = &self.opened.tokenizer;
        let detokenizer =
            if self.is_plain() { tokenizer.detokenizer() } else { tokenizer.detokenizer_at_start() };
        let _listening = self.interrupt.listen();
        let progress = Arc::new(self.printer.tokens("Prompt"));
        let output = Output::new(false, self.printer);
        let mut output = output.after(&progress).labelled(self.label);
        self.engine.watch(watch(self.interrupt, &progress));
        let ended = self.engine.add(Request {
            prompt,
            next: std::mem::replace(&mut self.next, self.settings.sampler()?),
            most: self.settings.max_new_tokens.map(usize::from),
            end_ids: self.ends.clone(),
            text: Some(TextStream::new(detokenizer, self.stops)),
            scores: false,
            reuse: usize::MAX,
        });
        let ended = ended.and_then(|id| self.engine.finish(id, &mut |_, piece| output.push(piece)));
        if let Ok(Ended { rest, .. }) = &ended {
            // Where stdout cannot be written to, finishing says so.
            let _ = output.push(rest);
        }
        // The line is ended before an error is shown, too.
        let text = output.finish("\n")?;
        let Ended { generation, next, .. } = ended.map_err(|error| self.loaded.explained(error.into()))?;
        self.next = next;
        if generation.finish == Finish::Stop && text.is_empty() {
            self.printer.note("The reply is empty: the model ended it at once");
        }
        self.note_end(&generation);
        // A control token in the middle of a reply is not said again: it is no text, and may end a turn. Nor is the stop
        // text that a reply was cut at.
        let is_text = !generation.stop_text && !generation.ids.iter().any(|&id| tokenizer.is_control(id));
        Ok((generation.finish, text, if is_text { generation.ids } else { Vec::new() }))
    }

    /// The ids that the reply continues. Where the context is full, the oldest turns go.
    fn prompt(&mut self) -> anyhow::Result<Vec<u32>> {
        let tokenizer = &self.opened.tokenizer;
        let context = self.context_length();
        if self.is_plain() {
            let ids =
                tokenizer.encode(self.conversation.unanswered().unwrap_or_default(), tokenizer.adds_bos())?;
            return match ids.len() {
                0 => Err(GenerationError::EmptyPrompt.into()),
                tokens if tokens >= context => Err(GenerationError::PromptTooLong { tokens, context }.into()),
                _ => Ok(ids),
            };
        }
        let room = match self.settings.max_new_tokens {
            Some(most) => most.get().min(context / 2),
            None => ROOM.min(context / 4),
        };
        let count = |messages: &[Message]| tokenizer.encode_chat(messages).map(|ids| ids.len());
        let limit = context - room;
        let mut dropped = self.conversation.fit(limit, count)?;
        if dropped > 0 {
            // What is left is computed anew. With a quarter more gone the next turns need not be, which would each
            // drop one turn and compute all the others. Where the newest turn is that long, it stays alone.
            dropped += self.conversation.fit(limit / 4 * 3, count).unwrap_or(0);
        }
        if dropped > 0 {
            let turns = if dropped == 1 { "turn is".into() } else { format!("{dropped} turns are") };
            self.printer
                .warn(&format!("the context of {context} tokens is full: the oldest {turns} dropped"));
        }
        Ok(tokenizer.encode_chat(&self.conversation.messages())?)
    }

    /// How fast the reply came, and why it ended if not by itself.
    fn note_end(&self, generation: &Generation) {
        // Stopped while the prompt was computed: there is no speed to tell.
        if generation.timings.generated_tokens > 0 {
            note_timings(&generation.timings, self.printer);
        }
        let context = self.context_length();
        match (generation.finish, self.settings.max_new_tokens) {
            (Finish::Context, _) => {
                self.printer
                    .warn(&format!("the reply ended because the context of {context} tokens is full"));
            }
            (Finish::Length, Some(most)) => {
                self.printer.note(&format!("The reply ended after max-new-tokens, {most}"));
            }
            _ => {}
        }
    }

    /// Sets a value of [`Settings`]. Random numbers go on where they were, but for a new seed.
    pub fn set(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        self.settings.set(name, value)?;
        match &mut self.next {
            NextToken::Sampled(sampler) if name != "seed" => sampler.set(self.settings.sampling.clone())?,
            next => *next = self.settings.sampler()?,
        }
        Ok(())
    }

    /// The settings, and how much of the context is taken.
    pub fn values(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let context = self.context_length();
        let turns = self.conversation.exchanges().len();
        let used = self.used()?;
        let system = self.conversation.system().map_or("none".into(), |text| format!("{text:?}"));
        let mut values = vec![("system prompt", system)];
        values.extend(self.settings.values());
        let format = self.opened.tokenizer.chat_format().unwrap_or_else(|| "none".into());
        values.push(("chat format", format));
        let stops: Vec<String> = self.stops.iter().map(|stop| format!("{stop:?}")).collect();
        values.push(("stop texts", if stops.is_empty() { "none".into() } else { stops.join(", ") }));
        values.push(("dtype", self.loaded.arithmetic.dtype.map_or("auto", |dtype| dtype.as_str()).into()));
        let activations =
            self.loaded.activations().map_or("not rounded".into(), |bits| format!("{bits} bits"));
        values.push(("activations", activations));
        values.push(("cache dtype", self.loaded.cache_dtype.to_string()));
        values.push(("turns", turns.to_string()));
        values.push(("context", format!("{used} of {context} tokens are used")));
        Ok(values)
    }

    /// Tokens that the conversation takes, less what ends the last reply.
    fn used(&self) -> anyhow::Result<usize> {
        let tokenizer = &self.opened.tokenizer;
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

    /// Tokens that the model has room for.
    fn context_length(&self) -> usize {
        self.loaded.model.config().context_length
    }

    /// Whether the model only continues text.
    fn is_plain(&self) -> bool {
        self.opened.tokenizer.chat_format().is_none()
    }
}

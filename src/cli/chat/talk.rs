//! Runs a turn, from the message to the printed reply.

use std::sync::Arc;

use mist::generate::{Finish, Generation};
use mist::runtime::{Chat, Error, Replying};
use mist::terminal::{Interrupt, Output, Printer, watch};

use crate::cli::output::note_timings;

/// A conversation whose replies are printed.
pub struct Talk<'a> {
    /// The conversation. A failed turn does not change it.
    pub chat: Chat,
    interrupt: &'a Interrupt,
    pub printer: &'a Printer,
    /// The text that is printed before a reply.
    pub label: &'static str,
}

impl<'a> Talk<'a> {
    /// Creates a conversation whose replies are printed. Warns if the model has no chat format.
    pub fn new(chat: Chat, interrupt: &'a Interrupt, printer: &'a Printer) -> Self {
        if chat.is_plain() {
            printer.warn("the model has no chat format: each message is continued as plain text, on its own");
            if chat.conversation().system().is_some() {
                printer.warn("without a chat format the system prompt is not used");
            }
        }
        Self { chat, interrupt, printer, label: "" }
    }

    /// Sends a message, and returns why its reply ended.
    pub fn say(&mut self, text: &str) -> anyhow::Result<Finish> {
        self.turn(|chat| chat.stream(text))
    }

    /// Generates another reply to the last message.
    pub fn retry(&mut self) -> anyhow::Result<Finish> {
        self.turn(Chat::retry)
    }

    /// Prints the reply that `ask` begins while it is generated.
    fn turn(&mut self, ask: impl FnOnce(&mut Chat) -> Result<Replying<'_>, Error>) -> anyhow::Result<Finish> {
        let _listening = self.interrupt.listen();
        let progress = Arc::new(self.printer.tokens("Prompt"));
        self.chat.watch(watch(self.interrupt, &progress));
        let context = self.chat.model().context_length();
        let most = self.chat.current_options().max_new_tokens;
        let before = self.chat.conversation().clone();
        // The watch keeps the progress, whose line would be drawn over the next prompt.
        let mut reply = ask(&mut self.chat).inspect_err(|_| progress.clear())?;
        if reply.dropped() > 0 {
            let turns = match reply.dropped() {
                1 => "turn is".into(),
                dropped => format!("{dropped} turns are"),
            };
            self.printer
                .warn(&format!("the context of {context} tokens is full: the oldest {turns} dropped"));
        }
        let mut output = Output::new(false, self.printer).after(&progress).labelled(self.label);
        let mut failed = None;
        for piece in reply.by_ref() {
            match piece {
                // `finish` reports that stdout cannot be written to.
                Ok(piece) if output.push(&piece.text).is_break() => break,
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
        }
        let generation = reply.generation().cloned();
        drop(reply);
        // This also ends the line before an error is printed.
        let text = output.finish("\n").inspect_err(|_| *self.chat.conversation_mut() = before)?;
        let generation = match (failed, generation) {
            (Some(error), _) => return Err(error.into()),
            (None, generation) => generation.unwrap_or_else(Generation::interrupted),
        };
        self.note_end(&generation, &text, context, most);
        Ok(generation.finish)
    }

    /// Prints the speed of the reply, and why it ended early.
    fn note_end(&self, generation: &Generation, text: &str, context: usize, most: Option<usize>) {
        let printer = self.printer;
        if generation.finish == Finish::Stop && text.is_empty() {
            printer.note("The reply is empty: the model ended it at once");
        }
        // A reply that was interrupted during prefill has no speed.
        if generation.timings.generated_tokens > 0 {
            note_timings(&generation.timings, printer);
        }
        match (generation.finish, most) {
            (Finish::Context, _) => {
                printer.warn(&format!("the reply ended because the context of {context} tokens is full"));
            }
            (Finish::Length, Some(most)) => {
                printer.note(&format!("The reply ended after max-new-tokens, {most}"));
            }
            (Finish::Interrupted, _) if text.is_empty() => {
                printer.note("Stopped before the reply began: the conversation is unchanged");
            }
            _ => {}
        }
    }
}

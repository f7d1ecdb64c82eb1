//! A conversation, in which user and assistant alternate by construction.

use crate::system::hinted::Hinted;
use crate::text::Message;

/// A user's message and its reply, once there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The user's message.
    pub user: String,
    /// The assistant's reply.
    pub reply: Option<String>,
    /// The ids that the model generated as the reply; empty if unknown, as in a conversation from a file.
    pub reply_ids: Vec<u32>,
}

/// A conversation: an optional system prompt, and exchanges in order. Only the last exchange may lack a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    pub(super) system: Option<String>,
    /// The oldest exchanges, dropped because they did not fit into the context. They are saved to files, but not sent
    /// as messages.
    pub(super) dropped: Vec<Exchange>,
    pub(super) exchanges: Vec<Exchange>,
}

/// The error for a message out of turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConversationError {
    /// A user message follows one without a reply.
    #[error("the last message has no reply yet")]
    Unanswered,
    /// A reply without a message to reply to.
    #[error("there is no message to reply to")]
    NothingToAnswer,
}

impl Hinted for ConversationError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unanswered => {
                Some("`/retry` asks for the reply, `/undo` takes the message back".to_string())
            }
            Self::NothingToAnswer => None,
        }
    }
}

impl Conversation {
    /// Creates an empty conversation with this system prompt.
    pub fn new(system: Option<String>) -> Self {
        Self { system, ..Self::default() }
    }

    /// Returns the system prompt.
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// Sets or replaces the system prompt; `None` removes it.
    pub fn set_system(&mut self, system: Option<String>) {
        self.system = system;
    }

    /// Returns whether there are no exchanges, not even dropped ones.
    pub fn is_empty(&self) -> bool {
        self.dropped.is_empty() && self.exchanges.is_empty()
    }

    /// Returns the exchanges, oldest first, without dropped ones.
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// Returns the conversation as messages, in the order in which a chat format takes them.
    pub fn messages(&self) -> Vec<Message> {
        messages(self.system(), &self.exchanges)
    }

    /// Adds a user message.
    ///
    /// # Errors
    /// [`ConversationError::Unanswered`] if the previous message has no reply.
    pub fn push_user(&mut self, text: impl Into<String>) -> Result<(), ConversationError> {
        if self.unanswered().is_some() {
            return Err(ConversationError::Unanswered);
        }
        self.exchanges.push(Exchange { user: text.into(), ..Exchange::default() });
        Ok(())
    }

    /// Adds the reply to the last message, and the ids that were generated as the reply.
    ///
    /// # Errors
    /// [`ConversationError::NothingToAnswer`] if there is no message, or it already has a reply.
    pub fn push_assistant(
        &mut self,
        text: impl Into<String>,
        ids: Vec<u32>,
    ) -> Result<(), ConversationError> {
        match self.exchanges.last_mut() {
            Some(exchange @ Exchange { reply: None, .. }) => {
                exchange.reply = Some(text.into());
                exchange.reply_ids = ids;
                Ok(())
            }
            _ => Err(ConversationError::NothingToAnswer),
        }
    }

    /// Returns the last message if it has no reply.
    pub fn unanswered(&self) -> Option<&str> {
        self.exchanges.last().filter(|e| e.reply.is_none()).map(|e| e.user.as_str())
    }

    /// Removes the last user message and its reply, and returns them; `None` if there are none.
    pub fn undo(&mut self) -> Option<Exchange> {
        self.exchanges.pop().or_else(|| self.dropped.pop())
    }

    /// Removes the last reply, if there is one, so that it can be generated again. Returns the message that waits for a
    /// reply; `None` if there is no message.
    pub fn retry(&mut self) -> Option<&str> {
        let last = self.exchanges.last_mut()?;
        last.reply = None;
        last.reply_ids.clear();
        Some(&last.user)
    }

    /// Removes everything but the system prompt.
    pub fn clear(&mut self) {
        self.dropped.clear();
        self.exchanges.clear();
    }
}

/// Converts a system prompt and exchanges to messages.
pub(super) fn messages<'a>(
    system: Option<&str>,
    exchanges: impl IntoIterator<Item = &'a Exchange>,
) -> Vec<Message> {
    let mut all: Vec<Message> = system.map(|s| Message::new("system", s)).into_iter().collect();
    for exchange in exchanges {
        all.push(Message::new("user", &exchange.user));
        let reply = exchange.reply.as_deref().map(|reply| Message::new("assistant", reply));
        all.extend(reply.map(|reply| Message { ids: exchange.reply_ids.clone(), ..reply }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(conversation: &Conversation) -> Vec<String> {
        conversation.messages().into_iter().map(|m| format!("{}:{}", m.role, m.content)).collect()
    }

    fn two_turns() -> Conversation {
        let mut c = Conversation::new(Some("s".into()));
        for n in ["1", "2"] {
            c.push_user(format!("u{n}")).unwrap();
            c.push_assistant(format!("a{n}"), vec![2]).unwrap();
        }
        c
    }

    #[test]
    fn messages_come_in_the_order_in_which_they_were_said() {
        assert_eq!(roles(&two_turns()), ["system:s", "user:u1", "assistant:a1", "user:u2", "assistant:a2"]);
    }

    #[test]
    fn messages_out_of_turn_are_refused_and_change_nothing() {
        let mut c = Conversation::default();
        assert_eq!(c.push_assistant("a", Vec::new()), Err(ConversationError::NothingToAnswer));
        c.push_user("u").unwrap();
        assert_eq!(c.push_user("v"), Err(ConversationError::Unanswered));
        c.push_assistant("a", Vec::new()).unwrap();
        assert_eq!(c.push_assistant("b", Vec::new()), Err(ConversationError::NothingToAnswer));
        assert_eq!(roles(&c), ["user:u", "assistant:a"]);
    }

    #[test]
    fn the_system_prompt_is_set_replaced_and_removed() {
        let mut c = two_turns();
        c.set_system(Some("t".into()));
        assert_eq!(roles(&c)[0], "system:t");
        c.set_system(None);
        assert_eq!(roles(&c)[0], "user:u1");
    }

    #[test]
    fn undo_takes_back_a_whole_turn_or_an_unanswered_message() {
        let mut c = two_turns();
        assert_eq!(
            c.undo(),
            Some(Exchange { user: "u2".into(), reply: Some("a2".into()), reply_ids: vec![2] })
        );
        c.push_user("u3").unwrap();
        assert_eq!(c.undo(), Some(Exchange { user: "u3".into(), ..Exchange::default() }));
        assert_eq!(roles(&c), ["system:s", "user:u1", "assistant:a1"]);
        c.undo();
        assert_eq!(c.undo(), None);
    }

    #[test]
    fn retry_leaves_the_message_waiting() {
        let mut c = two_turns();
        assert_eq!(c.retry(), Some("u2"));
        assert_eq!(c.unanswered(), Some("u2"));
        assert_eq!(c.retry(), Some("u2"), "again, after a reply that failed");
        assert_eq!(Conversation::default().retry(), None);
    }

    #[test]
    fn clear_keeps_the_system_prompt() {
        let mut c = two_turns();
        c.clear();
        assert_eq!(roles(&c), ["system:s"]);
    }
}

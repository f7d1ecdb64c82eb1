//! Messages that alternate by construction.

use crate::system::hinted::Hinted;
use crate::text::Message;

/// What the user said and, once there is one, the reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The user's message.
    pub user: String,
    /// The assistant's reply.
    pub reply: Option<String>,
    /// The ids that the model generated the reply as; none where it did not, as in a conversation from a file.
    pub reply_ids: Vec<u32>,
}

/// A system prompt, or none, and exchanges in order. Only the last exchange can be without a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    pub(super) system: Option<String>,
    /// The oldest, which there was no room for any more: files have them, messages do not.
    pub(super) dropped: Vec<Exchange>,
    pub(super) exchanges: Vec<Exchange>,
}

/// A message out of turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConversationError {
    /// A user message after one that has no reply.
    #[error("the last message has no reply yet")]
    Unanswered,
    /// A reply where no message waits for one.
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
    /// An empty conversation with this system prompt.
    pub fn new(system: Option<String>) -> Self {
        Self { system, ..Self::default() }
    }

    /// The system prompt.
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// Sets, replaces or (`None`) removes the system prompt.
    pub fn set_system(&mut self, system: Option<String>) {
        self.system = system;
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.dropped.is_empty() && self.exchanges.is_empty()
    }

    /// The exchanges, oldest first, without those that were dropped.
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// All of it as messages, in the order in which a chat format takes them.
    pub fn messages(&self) -> Vec<Message> {
        messages(self.system(), &self.exchanges)
    }

    /// Adds what the user says.
    ///
    /// # Errors
    /// [`ConversationError::Unanswered`] if the message before has no reply.
    pub fn push_user(&mut self, text: impl Into<String>) -> Result<(), ConversationError> {
        if self.unanswered().is_some() {
            return Err(ConversationError::Unanswered);
        }
        self.exchanges.push(Exchange { user: text.into(), ..Exchange::default() });
        Ok(())
    }

    /// Adds the reply to the last message, and the ids that it was generated as.
    ///
    /// # Errors
    /// [`ConversationError::NothingToAnswer`] if there is none, or it has its reply.
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

    /// The last message, if it has no reply.
    pub fn unanswered(&self) -> Option<&str> {
        self.exchanges.last().filter(|e| e.reply.is_none()).map(|e| e.user.as_str())
    }

    /// Takes back the last user message and its reply; what was taken back, if there was anything.
    pub fn undo(&mut self) -> Option<Exchange> {
        self.exchanges.pop().or_else(|| self.dropped.pop())
    }

    /// Forgets the last reply, if there is one, so that it can be generated again; the message that then
    /// waits for a reply, or `None` if nothing was said yet.
    pub fn retry(&mut self) -> Option<&str> {
        let last = self.exchanges.last_mut()?;
        last.reply = None;
        last.reply_ids.clear();
        Some(&last.user)
    }

    /// Forgets everything but the system prompt.
    pub fn clear(&mut self) {
        self.dropped.clear();
        self.exchanges.clear();
    }
}

/// A system prompt and exchanges as messages.
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

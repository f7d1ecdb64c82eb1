//! Drops the oldest turns of a conversation so that the newest fit into the context.

use std::error::Error;

use super::conversation::{Conversation, messages};
use crate::system::hinted::Hinted;
use crate::system::quote::counted;
use crate::text::Message;

/// The error for a conversation that cannot be made to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError<E> {
    /// The newest message and the system prompt alone do not fit.
    #[error("the message takes {}, more than the {limit} there is room for", counted(*tokens, "token"))]
    TooLong {
        /// Number of tokens of the system prompt and the newest turn.
        tokens: usize,
        /// Maximum number of tokens.
        limit: usize,
    },
    /// The tokens could not be counted.
    #[error(transparent)]
    Count(E),
}

impl<E: Error> Hinted for FitError<E> {
    fn hint(&self) -> Option<String> {
        match self {
            Self::TooLong { .. } => {
                Some("a shorter message, or a shorter system prompt, may fit".to_string())
            }
            Self::Count(_) => None,
        }
    }
}

impl Conversation {
    /// Drops the oldest turns, as few as possible, so that the rest fits into `limit` tokens; returns how many were
    /// dropped. Never drops the system prompt or the newest turn, and drops nothing on an error. Files still contain
    /// dropped turns.
    ///
    /// `count` returns the number of tokens of messages in the model's chat format. It is costly and is called about `2
    /// + log2(turns)` times: a binary search works since leaving out a turn never takes more tokens.
    ///
    /// # Errors
    /// [`FitError::TooLong`] if the newest turn alone does not fit; [`FitError::Count`] with the error of `count`.
    pub fn fit<E>(
        &mut self,
        limit: usize,
        mut count: impl FnMut(&[Message]) -> Result<usize, E>,
    ) -> Result<usize, FitError<E>> {
        let (system, exchanges) = (self.system.as_deref(), &self.exchanges);
        let mut without = |dropped: usize| {
            let kept = exchanges.get(dropped..).unwrap_or_default();
            count(&messages(system, kept)).map_err(FitError::Count)
        };
        if without(0)? <= limit {
            return Ok(0);
        }
        let most = exchanges.len().saturating_sub(1);
        let tokens = without(most)?;
        if tokens > limit {
            return Err(FitError::TooLong { tokens, limit });
        }
        // Invariant: dropping `few` turns is not enough, dropping `enough` is. Example, four turns of 10 tokens, limit
        // 25: (0, 3) -> 1 leaves 30 -> (1, 3) -> 2 leaves 20 -> (1, 2): two are dropped.
        let (mut few, mut enough) = (0, most);
        while enough - few > 1 {
            let middle = few + (enough - few) / 2;
            match without(middle)? <= limit {
                true => enough = middle,
                false => few = middle,
            }
        }
        self.dropped.extend(self.exchanges.drain(..enough));
        Ok(enough)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Counts every character as a token.
    fn count(messages: &[Message]) -> Result<usize, Infallible> {
        Ok(messages.iter().map(|m| m.content.len()).sum())
    }

    /// Creates a conversation of `turns` turns of ten tokens, the last without a reply, and a system prompt of three
    /// tokens.
    fn conversation(turns: usize) -> Conversation {
        let mut c = Conversation::new(Some("sys".into()));
        for turn in 0..turns {
            c.push_user(format!("user{turn:02}")).unwrap();
            if turn + 1 < turns {
                c.push_assistant("yes!", Vec::new()).unwrap();
            }
        }
        c
    }

    #[test]
    fn as_few_of_the_oldest_turns_as_possible_are_dropped() {
        for turns in 1..20 {
            let all = count(&conversation(turns).messages()).unwrap();
            for limit in 9..=all + 1 {
                let mut c = conversation(turns);
                let dropped = c.fit(limit, count).unwrap();
                assert_eq!(dropped, all.saturating_sub(limit).div_ceil(10), "{turns} turns, limit {limit}");
                assert_eq!(c.exchanges(), &conversation(turns).exchanges()[dropped..]);
                assert_eq!(c.system(), Some("sys"));
                assert_eq!(c.to_json().unwrap(), conversation(turns).to_json().unwrap());
            }
        }
    }

    #[test]
    fn a_newest_message_that_does_not_fit_is_an_error_and_nothing_is_dropped() {
        for turns in [1, 2, 7] {
            let mut c = conversation(turns);
            assert_eq!(c.fit(8, count), Err(FitError::TooLong { tokens: 9, limit: 8 }));
            assert_eq!(c, conversation(turns));
        }
    }

    #[test]
    fn an_empty_conversation_fits_unless_its_system_prompt_does_not() {
        assert_eq!(Conversation::default().fit(0, count), Ok(0));
        assert_eq!(conversation(0).fit(2, count), Err(FitError::TooLong { tokens: 3, limit: 2 }));
    }

    #[test]
    fn an_error_of_the_count_is_passed_on_and_nothing_is_dropped() {
        let mut c = conversation(5);
        let mut calls = 0;
        let failing = |m: &[Message]| {
            calls += 1;
            if calls < 3 { count(m).map_err(|_| "never") } else { Err("no template") }
        };
        assert_eq!(c.fit(20, failing), Err(FitError::Count("no template")));
        assert_eq!(c, conversation(5));
    }

    #[test]
    fn counting_is_asked_a_logarithm_of_times() {
        let mut calls = 0;
        let mut c = conversation(1000);
        c.fit(100, |m| {
            calls += 1;
            count(m)
        })
        .unwrap();
        assert!(calls <= 12, "{calls}");
    }
}

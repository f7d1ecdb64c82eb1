//! What a chat template writes around the turns of a conversation, as tokens.

use super::jinja::plain;
use super::template::{self, Names};
use crate::text::Message;
use crate::text::control::{Controls, Part};

/// The tokens around turns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::text) struct Turns {
    /// The token directly behind a reply: a model generates it where its reply ends, whatever the files call the end
    /// of a sequence.
    pub(in crate::text) end: Option<u32>,
    /// The tokens that begin and end turns; `end` is one of them. What a model writes within its reply, such as
    /// `<think>`, is none.
    pub(in crate::text) tags: Vec<u32>,
}

/// Stand for what is said. No template and no vocabulary has them.
const USER: char = '\u{10FFF0}';
const REPLY: char = '\u{10FFF1}';

impl Turns {
    /// Those that `template` writes. `tokens`: all that it may write, control tokens or not. A template that refuses
    /// such a short conversation writes none.
    ///
    /// ```text
    /// <|im_start|>user\n①<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n②<|im_end|>\n
    /// tags: <|im_start|> is before what the user says, <|im_end|> behind the reply;
    ///       the first other token between the two would be the assistant's, but <|im_start|> comes again before it
    /// ```
    pub(in crate::text) fn of(template: &str, names: Names<'_>, tokens: &Controls) -> Self {
        let both = [Message::new("user", USER), Message::new("assistant", REPLY)];
        let rendered = template::render(template, &both, names, false)
            .or_else(|_| template::render(template, &both[..1], names, true));
        let Ok(rendered) = rendered.map(|rendered| plain(&rendered)) else { return Self::default() };
        let parts = tokens.cut(&rendered);
        let said =
            |mark: char| parts.iter().rposition(|part| part.text().is_some_and(|text| text.contains(mark)));
        let ids = |parts: &[Part<'_>]| {
            let id = |part: &Part<'_>| match part {
                Part::Control(id) => Some(*id),
                Part::Text(_) | Part::Joined(_) => None,
            };
            parts.iter().filter_map(id).collect::<Vec<u32>>()
        };
        let reply = said(REPLY);
        let end = reply.and_then(|reply| match (parts[reply].text(), parts.get(reply + 1)) {
            (Some(text), Some(Part::Control(id))) => {
                let behind = text.rsplit(REPLY).next().unwrap_or_default();
                behind.trim().is_empty().then_some(*id)
            }
            _ => None,
        });
        let mut tags: Vec<u32> = end.into_iter().collect();
        if let Some(user) = said(USER) {
            let until = reply.filter(|reply| *reply >= user).unwrap_or(parts.len());
            let assistant = ids(&parts[user..until]).into_iter().find(|id| Some(*id) != end);
            tags.extend(ids(&parts[..user]).into_iter().chain(assistant));
        }
        tags.sort_unstable();
        tags.dedup();
        Self { end, tags }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(template: &str, tokens: &[&str]) -> (Option<usize>, Vec<usize>) {
        let turns = Turns::of(template, Names::default(), &Controls::plain(tokens));
        (turns.end.map(|id| id as usize), turns.tags.into_iter().map(|id| id as usize).collect())
    }

    #[test]
    fn what_is_behind_a_reply_ends_it_and_what_begins_turns_is_a_tag() {
        let chatml =
            "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
        assert_eq!(of(chatml, &["<|im_start|>", "<|im_end|>", "<think>"]), (Some(1), vec![0, 1]));
        let thinks = chatml.replace(
            "{{ m.content",
            "{% if m.role == 'assistant' %}<think>\n\n</think>{% endif %}{{ m.content",
        );
        assert_eq!(
            of(&thinks, &["<|im_start|>", "<|im_end|>", "<think>", "</think>"]),
            (Some(1), vec![0, 1])
        );
        let zephyr = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content | trim }} </s>\n{% endfor %}";
        assert_eq!(of(zephyr, &["</s>", "<|user|>", "<|assistant|>"]), (Some(0), vec![0, 1, 2]));
    }

    #[test]
    fn a_template_may_write_nothing_behind_a_reply() {
        let bare = "{% for m in messages %}{{ m.content }}{% endfor %}";
        assert_eq!(of(bare, &["<e>"]), (None, vec![]));
        let text = "{% for m in messages %}<u>{{ m.content }}.{% endfor %}<e>";
        assert_eq!(of(text, &["<e>", "<u>"]), (None, vec![1]));
        let asks = "{% for m in messages %}<u>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<e>{% endif %}";
        assert_eq!(of(asks, &["<e>", "<u>"]), (None, vec![1]));
        assert_eq!(of("{{ raise_exception('no') }}", &["<e>"]), (None, vec![]));
    }
}

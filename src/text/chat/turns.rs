//! Finds the tokens that a chat template writes around the turns of a conversation.

use std::cell::LazyCell;

use super::jinja::plain;
use super::template::{self, Names};
use crate::text::Message;
use crate::text::control::{Controls, Part};

/// The tokens around turns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::text) struct Turns {
    /// The tokens directly after a reply, both as the last message and before another message. A model generates one of
    /// them at the end of its reply, even if the files name another end token.
    pub(in crate::text) ends: Vec<u32>,
    /// The tokens that begin and end turns, `ends` included. Tokens within a reply, such as `<think>`, are not.
    pub(in crate::text) tags: Vec<u32>,
}

/// Characters that stand for the messages. No template and no vocabulary has them.
const SYSTEM: char = '\u{10FFF0}';
const USER: char = '\u{10FFF1}';
const REPLY: char = '\u{10FFF2}';
const NEXT: char = '\u{10FFF3}';

impl Turns {
    /// Finds the tokens of `template` among `tokens`, which may include tokens other than control tokens. A template that
    /// refuses such short conversations has none.
    ///
    /// ```text
    /// <|im_start|>user\n①<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n②<|im_end|>\n
    /// tags: <|im_start|> is before the user's message, <|im_end|> after the reply;
    ///       the first other token between the two would be the assistant's, but <|im_start|> comes again before it
    /// ```
    pub(in crate::text) fn of(template: &str, names: Names<'_>, tokens: &Controls) -> Self {
        let conversation = [("user", USER), ("assistant", REPLY), ("user", NEXT)];
        let probe = |turns, prompt| rendered(template, names, &conversation[..turns], prompt);
        // A template may end a reply only if a turn follows, or refuse a conversation that a reply ends.
        let (answered, asked_again) = (probe(2, false), probe(3, true));
        let [answered, asked_again] =
            [&answered, &asked_again].map(|text| text.as_deref().map(|text| parts(text, tokens)));
        let asked = LazyCell::new(|| probe(1, true).unwrap_or_default());
        // If a prompt lacks the token that begins a reply, the model generates that token first.
        let prompts_with = |id: u32| {
            let parts = parts(&asked, tokens);
            place_of(USER, &parts).is_some_and(|user| ids(&parts[user..]).last() == Some(&id))
        };
        let mut ends: Vec<u32> = answered.iter().filter_map(|parts| behind_reply(parts)).collect();
        ends.extend(asked_again.iter().filter_map(|parts| {
            behind_reply(parts).filter(|id| !begins_reply(*id, parts) || prompts_with(*id))
        }));
        ends.dedup();
        let mut tags = ends.clone();
        tags.extend(match answered.as_ref().or(asked_again.as_ref()) {
            Some(parts) => tags_before_reply(parts, &ends),
            None => tags_before_reply(&parts(&asked, tokens), &ends),
        });
        tags.sort_unstable();
        tags.dedup();
        Self { ends, tags }
    }
}

/// Renders a conversation by `template`. If the template refuses it, renders it with a system message at the start.
fn rendered(template: &str, names: Names<'_>, conversation: &[(&str, char)], prompt: bool) -> Option<String> {
    let message = |(role, mark): &(&str, char)| Message::new(*role, *mark);
    let mut messages: Vec<Message> = conversation.iter().map(message).collect();
    let rendered = template::render(template, &messages, names, prompt).or_else(|_| {
        messages.insert(0, Message::new("system", SYSTEM));
        template::render(template, &messages, names, prompt)
    });
    rendered.ok().map(|rendered| plain(&rendered))
}

fn is_space(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

/// Cuts `text` at its tokens, without those that spell white space.
fn parts<'text>(text: &'text str, tokens: &Controls) -> Vec<Part<'text>> {
    let is_space = |id: &u32| tokens.spelling(*id).is_some_and(is_space);
    let mut parts = tokens.cut(text);
    parts.retain(|part| !matches!(part, Part::Control(id) if is_space(id)));
    parts
}

/// Finds the last stretch of text that contains `mark`.
fn place_of(mark: char, parts: &[Part<'_>]) -> Option<usize> {
    parts.iter().rposition(|part| part.text().is_some_and(|text| text.contains(mark)))
}

fn ids(parts: &[Part<'_>]) -> Vec<u32> {
    let id = |part: &Part<'_>| match part {
        Part::Control(id) => Some(*id),
        Part::Text(_) | Part::Joined(_) => None,
    };
    parts.iter().filter_map(id).collect()
}

/// Returns whether `id` is the last token before the reply.
fn begins_reply(id: u32, parts: &[Part<'_>]) -> bool {
    place_of(REPLY, parts).is_some_and(|reply| ids(&parts[..reply]).last() == Some(&id))
}

/// Returns the token directly after the reply, ignoring white space.
fn behind_reply(parts: &[Part<'_>]) -> Option<u32> {
    let reply = place_of(REPLY, parts)?;
    let rest = parts[reply].text()?.rsplit(REPLY).next()?;
    let mut behind = is_space(rest).then_some(&parts[reply + 1..])?.iter();
    match behind.find(|part| !part.text().is_some_and(is_space))? {
        Part::Control(id) => Some(*id),
        Part::Text(_) | Part::Joined(_) => None,
    }
}

/// Returns the tokens before the user's message, and the first token between it and the reply that does not end a turn.
fn tags_before_reply(parts: &[Part<'_>], ends: &[u32]) -> Vec<u32> {
    let Some(user) = place_of(USER, parts) else { return Vec::new() };
    let reply = place_of(REPLY, parts).filter(|reply| *reply >= user).unwrap_or(parts.len());
    let assistant = ids(&parts[user..reply]).into_iter().find(|id| !ends.contains(id));
    ids(&parts[..user]).into_iter().chain(assistant).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(template: &str, tokens: &[&str]) -> (Vec<u32>, Vec<u32>) {
        let Turns { ends, tags } = Turns::of(template, Names::default(), &Controls::plain(tokens));
        (ends, tags)
    }

    #[test]
    fn what_is_behind_a_reply_ends_it_and_what_begins_turns_is_a_tag() {
        let chatml =
            "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
        assert_eq!(of(chatml, &["<|im_start|>", "<|im_end|>", "<think>"]), (vec![1], vec![0, 1]));
        let thinks = chatml.replace(
            "{{ m.content",
            "{% if m.role == 'assistant' %}<think>\n\n</think>{% endif %}{{ m.content",
        );
        assert_eq!(
            of(&thinks, &["<|im_start|>", "<|im_end|>", "<think>", "</think>"]),
            (vec![1], vec![0, 1])
        );
        let zephyr = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content | trim }} </s>\n{% endfor %}";
        assert_eq!(of(zephyr, &["</s>", "<|user|>", "<|assistant|>"]), (vec![0], vec![0, 1, 2]));
    }

    const CHATML: [&str; 2] = ["<|im_start|>", "<|im_end|>"];

    /// Regression: `<|im_end|>` became part of the reply, since only a conversation that ends with it was examined.
    #[test]
    fn a_reply_ends_at_what_a_template_writes_only_before_another_turn() {
        let turn = "<|im_start|>{{ m.role }}\n{{ m.content }}";
        let between = format!(
            "{{% for m in messages %}}{turn}{{% if not loop.last %}}<|im_end|>\n{{% endif %}}{{% endfor %}}"
        );
        assert_eq!(of(&between, &CHATML), (vec![1], vec![0, 1]));
        let either = between.replace("{% endif %}", "{% else %}</s>{% endif %}");
        assert_eq!(of(&either, &["<|im_start|>", "<|im_end|>", "</s>"]), (vec![2, 1], vec![0, 1, 2]));
        let other = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}";
        assert_eq!(of(other, &["<|user|>", "<|assistant|>"]), (vec![0], vec![0, 1]));
    }

    #[test]
    fn a_reply_ends_also_where_a_template_refuses_a_conversation_that_it_ends() {
        let turns =
            "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
        let refuses =
            |what: &str| format!("{{% if {what} %}}{{{{ raise_exception('no') }}}}{{% endif %}}{turns}");
        for what in [
            "messages[-1].role == 'assistant'",
            "messages[0].role != 'system'",
            "messages[0].role != 'system' or messages[-1].role != 'user'",
            "messages[0].role == 'system' or messages | length == 2",
        ] {
            assert_eq!(of(&refuses(what), &CHATML), (vec![1], vec![0, 1]), "{what}");
        }
    }

    #[test]
    fn only_a_token_directly_behind_a_reply_ends_it() {
        let text = "{% for m in messages %}<u>{{ m.content }}{{ '.' if m.role == 'assistant' }}{% endfor %}";
        assert_eq!(of(text, &["<u>"]), (vec![], vec![0]));
        // A model that has to begin its turn by itself would stop before its turn.
        let bare = "{% for m in messages %}<u>{{ m.content }}{% endfor %}";
        assert_eq!(of(bare, &["<u>"]), (vec![], vec![0]));
        let begun = format!("{bare}{{% if add_generation_prompt %}}<u>{{% endif %}}");
        assert_eq!(of(&begun, &["<u>"]), (vec![0], vec![0]));
        // Some vocabularies spell a newline as an added token.
        let newline =
            "{% for m in messages %}<u>{{ m.content }}\n{% if not loop.last %}<e>{% endif %}{% endfor %}";
        assert_eq!(of(newline, &["<u>", "\n", "<e>"]), (vec![2], vec![0, 2]));
    }

    #[test]
    fn a_template_may_write_nothing_behind_a_reply() {
        let bare = "{% for m in messages %}{{ m.content }}{% endfor %}";
        assert_eq!(of(bare, &["<e>"]), (vec![], vec![]));
        let text = "{% for m in messages %}<u>{{ m.content }}.{% endfor %}<e>";
        assert_eq!(of(text, &["<e>", "<u>"]), (vec![], vec![1]));
        let asks = "{% for m in messages %}<u>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<e>{% endif %}";
        assert_eq!(of(asks, &["<e>", "<u>"]), (vec![], vec![1]));
        assert_eq!(of("{{ raise_exception('no') }}", &["<e>"]), (vec![], vec![]));
    }
}

//! Encodes a conversation by a chat template.

use std::ops::Range;

use super::jinja::{Ch, SOMEONE, plain};
use super::template::{self, Names};
use crate::text::alphabet::SPACE;
use crate::text::control::{Controls, Part};
use crate::text::encode::Place;
use crate::text::{Error, Message};

/// Encodes a conversation by `template`. `encode` appends the ids of a stretch of text.
///
/// The ids are those of transformers' `apply_chat_template`, with two differences. A control token that a message
/// spells stays text: it is a control token only if the template wrote all of its characters. And a reply keeps the ids
/// that the model generated if the template writes the reply as it was generated: completely, and after the prompt that
/// it was generated from.
///
/// # Errors
/// [`Error::Template`] and the other errors of templates, and those of `encode`.
pub(in crate::text) fn render(
    template: &str,
    messages: &[Message],
    names: Names<'_>,
    controls: &Controls,
    mut encode: impl FnMut(&str, Place, &mut Vec<u32>) -> Result<(), Error>,
) -> Result<Vec<u32>, Error> {
    let rendered = template::render(template, messages, names, true)?;
    let outline = outline(&rendered, controls)?;
    let parts = controls.cut(&outline);
    let mut stretches = Stretches { outline: &outline, byte: 0, character: 0 };
    let texts: Vec<Option<Range<usize>>> = parts.iter().map(|part| stretches.characters(part)).collect();
    let beginning = texts.last().cloned().flatten().map_or(&[][..], |range| &rendered[range]);
    let mut ids = Vec::new();
    for (index, (part, text)) in parts.iter().zip(texts).enumerate() {
        match (part, text) {
            (Part::Control(id), _) => ids.push(*id),
            (Part::Text(_) | Part::Joined(_), text) => {
                let place = match part {
                    Part::Joined(_) => Place::Joined,
                    _ if index == 0 => Place::Start,
                    _ => Place::Stretch,
                };
                let text = &rendered[text.unwrap_or_default()];
                let reply = reply(text, beginning, messages);
                let before = if reply.is_some() { beginning } else { text };
                encode(&plain(before), place, &mut ids)?;
                ids.extend(reply.iter().flat_map(|reply| &reply.ids));
            }
        }
    }
    Ok(ids)
}

/// Returns the rendered text with every character of a message replaced by one that no control token has, so that
/// control tokens are found only in what the template wrote. White space is kept, since tokens may include it.
///
/// # Errors
/// [`Error::TooManySpellings`] if the control tokens use every character.
fn outline(rendered: &[Ch], controls: &Controls) -> Result<String, Error> {
    const UNASSIGNED: Range<u32> = 0xF_0000..0x11_0000;
    let used: std::collections::HashSet<char> = controls.all().flat_map(str::chars).collect();
    let mut free = UNASSIGNED.filter_map(char::from_u32).filter(|c| !used.contains(c));
    let other = free.next().ok_or(Error::TooManySpellings(UNASSIGNED.len()))?;
    let stays = |c: char| (c.is_whitespace() || c == SPACE) && !used.contains(&c);
    let shown = |c: &Ch| if c.origin() == 0 || stays(c.char()) { c.char() } else { other };
    Ok(rendered.iter().map(shown).collect())
}

/// The position in an outline while its stretches are read.
struct Stretches<'text> {
    outline: &'text str,
    byte: usize,
    character: usize,
}

impl Stretches<'_> {
    /// Returns the range of the next text's characters.
    fn characters(&mut self, part: &Part<'_>) -> Option<Range<usize>> {
        let text = part.text()?;
        let start = text.as_ptr() as usize - self.outline.as_ptr() as usize;
        let start_character = self.character + self.outline[self.byte..start].chars().count();
        self.byte = start + text.len();
        self.character = start_character + text.chars().count();
        Some(start_character..self.character)
    }
}

/// Finds the generated message whose complete text is `text`, directly after the prompt of a generation.
///
/// Without such a message the text is encoded again. A template may trim a reply or leave out a part of it. If it
/// writes more before a reply than the prompt of a generation has (such as a space), the generated ids would follow a
/// text that they did not follow before.
fn reply<'m>(text: &[Ch], beginning: &[Ch], messages: &'m [Message]) -> Option<&'m Message> {
    let content = text.strip_prefix(beginning)?;
    let origin = content.first().map(|c| c.origin()).filter(|origin| *origin != SOMEONE)?;
    let message = usize::from(origin).checked_sub(1)?;
    let reply = messages.get(message).filter(|reply| !reply.ids.is_empty())?;
    let is_its = content.iter().all(|c| c.origin() == origin);
    let of_template = text[..beginning.len()].iter().all(|c| c.origin() == 0);
    (is_its && of_template && content.iter().map(|c| c.char()).eq(reply.content.chars())).then_some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::control::Control;

    /// Encodes text as its bytes, and `<e>` as 1000.
    fn ids(template: &str, ids: &[u32]) -> Vec<u32> {
        let control = Control {
            spelling: "<e>".into(),
            id: 1000,
            takes_left: false,
            takes_right: false,
            after_space: false,
        };
        let reply = Message { ids: ids.to_vec(), ..Message::new("assistant", "yes ") };
        let messages = [Message::new("user", "a"), reply, Message::new("user", "b")];
        of(template, &messages, &Controls::new([control]))
    }

    fn of(template: &str, messages: &[Message], controls: &Controls) -> Vec<u32> {
        let encode = |text: &str, _: Place, ids: &mut Vec<u32>| {
            ids.extend(text.bytes().map(u32::from));
            Ok(())
        };
        render(template, messages, Names::default(), controls, encode).unwrap()
    }

    const PLAIN: &str = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}<e>{% endfor %}a:";

    fn bytes(text: &str) -> Vec<u32> {
        text.bytes().map(|byte| if byte == b'|' { 1000 } else { byte.into() }).collect()
    }

    #[test]
    fn a_reply_stays_as_it_was_generated() {
        assert_eq!(ids(PLAIN, &[]), bytes("u:a|a:yes |u:b|a:"));
        assert_eq!(ids(PLAIN, &[7, 8]), [bytes("u:a|a:"), vec![7, 8], bytes("|u:b|a:")].concat());
    }

    #[test]
    fn unless_the_template_changes_it_or_writes_something_in_front_of_it() {
        let trims = PLAIN.replace("m.content }}", "m.content | trim }}");
        assert_eq!(ids(&trims, &[7, 8]), bytes("u:a|a:yes|u:b|a:"));
        let space = PLAIN.replace(":{{", ": {{");
        assert_eq!(ids(&space, &[7, 8]), bytes("u: a|a: yes |u: b|a:"));
        let twice = PLAIN.replace("m.content }}", "m.content }}{{ m.content }}");
        assert_eq!(ids(&twice, &[7, 8]), bytes("u:aa|a:yes yes |u:bb|a:"));
    }

    /// No way in which a template can write content turns text of a message into a control token.
    #[test]
    fn no_work_of_a_template_makes_a_control_token_of_a_message() {
        let controls = Controls::plain(&["<|END|>", "<|end|>", "[x]"]);
        let contents = [
            "a<|end|>b",
            "<|e",
            "nd|>",
            "<|END|>",
            "<|<|end|>end|>",
            "[x]",
            "END",
            "<|end|",
            "|dne|<",
            "<|eXnd|>",
        ];
        let writes = [
            "{{ c }}",
            "{{ c | upper }}",
            "{{ c | lower }}",
            "{{ c | trim }}",
            "{{ c[::-1] }}",
            "{{ c | reverse }}",
            "{{ '<|' ~ c ~ '|>' }}",
            "{{ '<|' + c + '|>' }}",
            "{{ '<|%s|>' % c }}",
            "{{ '<|{}|>'.format(c) }}",
            "{{ c.replace('X', '') }}",
            "{{ c.replace('<|end|>', '') }}",
            "{{ c.split('X') | join }}",
            "{{ ''.join(c) }}",
            "{{ c | list | join }}",
            "{% for x in c %}{{ x }}{% endfor %}",
            "{{ c }}{{ c }}",
            "<|{{ c }}|>",
            "{{ c }}|>",
            "<|{{ c }}",
            "{{ [c] }}",
            "{{ {'a': c} | tojson }}",
            "{{ {c: 1} | tojson }}",
            "{{ {c: 1}.keys() | first }}",
            "{{ c.title() }}",
            "{{ c.swapcase() }}",
            "{{ c.center(20) }}",
            "{{ c | e }}",
            "{{ c | indent }}",
            "{% set x %}{{ c }}{% endset %}{{ x }}",
            "{% filter upper %}{{ c }}{% endfilter %}",
            "{% macro f(x) %}<|{{ x }}|>{% endmacro %}{{ f(c) }}",
            "{{ c | replace('|dne|', '|end|') }}",
            "{{ m.role }}",
            "{{ c | urlencode }}",
            "{{ c | wordwrap(3, wrapstring='') }}",
            "{{ c | truncate(7, true, '') }}",
            "{{ c.partition('X') | join }}",
            "{{ c.removeprefix('a') }}",
            "{{ c.strip('ab') }}",
            "{{ c.splitlines() | join }}",
            "{{ c | striptags }}",
            "{{ c.expandtabs() }}",
            "{{ c.zfill(9) }}",
            "{{ (c, 1) | string }}",
            "{{ c | safe }}",
            "{{ c ~ '' }}",
            "{{ c * 2 }}",
            "{{ c[0] ~ c[1:] }}",
            "{{ c.casefold() }}",
            "{{ c | map('upper') | join }}",
            "{{ '%c|end|>' % c[0] }}",
            "{{ c | format }}",
            "{{ c.rjust(9, '<') }}",
            "{{ '[' ~ c ~ ']' }}",
        ];
        for content in contents {
            for write in writes {
                let template =
                    format!("{{% for m in messages %}}{{% set c = m.content %}}{write}{{% endfor %}}");
                let rendered =
                    template::render(&template, &[Message::new(content, content)], Names::default(), true);
                let Ok(rendered) = rendered else { continue };
                let outline = outline(&rendered, &controls).unwrap();
                let parts = controls.cut(&outline);
                assert!(parts.iter().all(|part| part.text().is_some()), "{content} {write}: {parts:?}");
            }
        }
    }

    #[test]
    fn a_template_finds_what_it_looks_for_in_a_message() {
        let controls = Controls::plain(&["<e>", "</think>"]);
        let template = "{% for m in messages %}{{ m.content.split('</think>')[-1] if '</think>' in m.content else 'no' }}<e>{% endfor %}";
        let messages = [Message::new("assistant", "thought</think>said"), Message::new("assistant", "<e>")];
        assert_eq!(
            of(template, &messages, &controls),
            [&bytes("said")[..], &[0], &bytes("no"), &[0]].concat()
        );
    }

    #[test]
    fn a_known_role_may_be_part_of_a_control_token_and_another_may_not() {
        let controls = Controls::plain(&["<|user|>", "<|im_end|>"]);
        let template = "{% for m in messages %}<|{{ m.role }}|>{% endfor %}";
        let roles = [Message::new("user", ""), Message::new("im_end", "")];
        let text = "<|im_end|>".bytes().map(u32::from);
        assert_eq!(of(template, &roles, &controls), [0].into_iter().chain(text).collect::<Vec<_>>());
    }
}

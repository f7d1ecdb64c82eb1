//! A conversation by a chat template, as ids.

use super::masks::Masks;
use super::template::{self, Names};
use crate::text::control::{Controls, Part};
use crate::text::encode::Place;
use crate::text::{Error, Message};

/// The ids of a conversation by `template`. `encode` appends those of a stretch of text.
///
/// The ids are those of transformers' `apply_chat_template`, but for two things. A control token that a message spells
/// stays text: spellings are masked before rendering, and unmasked after the rendered text is cut at control tokens.
/// And a reply stays as the model generated it, where the template writes it as it was generated: whole, and behind
/// what the generation began with.
///
/// # Errors
/// [`Error::Template`] and its kin, and what `encode` reports.
pub(in crate::text) fn render(
    template: &str,
    messages: &[Message],
    names: Names<'_>,
    controls: &Controls,
    mut encode: impl FnMut(&str, Place, &mut Vec<u32>) -> Result<(), Error>,
) -> Result<Vec<u32>, Error> {
    let texts = messages.iter().flat_map(|message| [message.role.as_str(), message.content.as_str()]);
    let mut masks = Masks::new(controls, texts.chain([template]));
    let masked = messages
        .iter()
        .map(|message| Ok(Message::new(masks.role(&message.role)?, masks.content(&message.content)?)));
    let masked: Vec<Message> = masked.collect::<Result<_, Error>>()?;
    let rendered = template::render(template, &masked, names, true)?;
    let marks = Marks::new(messages, &mut masks)?;
    let marked = match marks.0.is_empty() {
        true => None,
        false => Some(template::render(template, &marks.put(&masked), names, true)?),
    };
    let marked = marked.filter(|marked| marks.stand_for(marked, &masked, &rendered, controls));

    let mut ids = Vec::new();
    for (index, part) in controls.cut(marked.as_ref().unwrap_or(&rendered)).into_iter().enumerate() {
        match part {
            Part::Control(id) => ids.push(id),
            Part::Text(text) | Part::Joined(text) => {
                let place = match part {
                    Part::Joined(_) => Place::Joined,
                    _ if index == 0 => Place::Start,
                    _ => Place::Stretch,
                };
                // A reply ends its stretch: `stand_for` saw to that.
                let generated = marked.as_ref().and_then(|_| marks.find(text));
                let before = generated.map_or(text, |(before, ..)| before);
                encode(&masks.unmask(before), place, &mut ids)?;
                ids.extend(generated.into_iter().flat_map(|(_, reply, _)| &messages[reply].ids));
            }
        }
    }
    Ok(ids)
}

/// A character for each reply whose ids are known, and the message that it stands for.
struct Marks(Vec<(char, usize)>);

impl Marks {
    fn new(messages: &[Message], masks: &mut Masks<'_>) -> Result<Self, Error> {
        let known = (0..messages.len()).filter(|&index| !messages[index].ids.is_empty());
        Ok(Self(known.map(|index| Ok((masks.mark()?, index))).collect::<Result<_, Error>>()?))
    }

    /// The messages with marks for contents.
    fn put(&self, masked: &[Message]) -> Vec<Message> {
        let mut marked = masked.to_vec();
        for &(mark, index) in &self.0 {
            marked[index].content = mark.into();
        }
        marked
    }

    /// The text before the first mark in `text`, the message it stands for, and the text after it.
    fn find<'text>(&self, text: &'text str) -> Option<(&'text str, usize, &'text str)> {
        text.char_indices().find_map(|(at, character)| {
            let (mark, index) = self.0.iter().find(|(mark, _)| *mark == character)?;
            Some((&text[..at], *index, &text[at + mark.len_utf8()..]))
        })
    }

    /// Whether the ids of the replies may take their places: a template that trims a reply, or leaves out a part of
    /// it, has to see it; and where it writes more in front of a reply than it lets a generation begin with (a space,
    /// say), the ids would follow what they did not.
    fn stand_for(&self, marked: &str, masked: &[Message], rendered: &str, controls: &Controls) -> bool {
        let unmarked = self
            .0
            .iter()
            .fold(marked.to_owned(), |text, (mark, index)| text.replace(*mark, &masked[*index].content));
        let parts = controls.cut(marked);
        let beginning = parts.last().and_then(Part::text).unwrap_or_default();
        let stands = |part: &Part<'_>| {
            let reply = part.text().and_then(|text| self.find(text));
            reply.is_none_or(|(before, _, after)| before == beginning && after.is_empty())
        };
        unmarked == rendered && parts.iter().all(stands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::control::Control;

    /// Bytes for text, 1000 for `<e>`.
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
        let encode = |text: &str, _: Place, ids: &mut Vec<u32>| {
            ids.extend(text.bytes().map(u32::from));
            Ok(())
        };
        render(template, &messages, Names::default(), &Controls::new([control]), encode).unwrap()
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
}

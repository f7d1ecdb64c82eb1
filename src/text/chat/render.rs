//! A conversation by a chat template, as ids.

use super::template::{self, Names};
use crate::text::control::{Controls, Masks, Part};
use crate::text::{Error, Message};

pub(in crate::text) use super::template::Names as TemplateNames;

/// The ids of a conversation by `template`. `encode` appends those of a stretch of text; its flag says whether the
/// stretch is the first.
///
/// The ids are those of transformers' `apply_chat_template`, except that a control token which a message spells stays
/// text: the spellings are masked before rendering, and undone after the rendered text is cut at control tokens.
///
/// # Errors
/// [`Error::Template`] and its kin, and what `encode` reports.
pub(in crate::text) fn render(
    template: &str,
    messages: &[Message],
    names: Names<'_>,
    controls: &Controls,
    mut encode: impl FnMut(&str, bool, &mut Vec<u32>) -> Result<(), Error>,
) -> Result<Vec<u32>, Error> {
    let texts = messages.iter().flat_map(|message| [message.role.as_str(), message.content.as_str()]);
    let mut masks = Masks::new(controls, texts.chain([template]));
    let masked = messages.iter().map(|message| {
        Ok(Message { role: masks.role(&message.role)?, content: masks.content(&message.content)? })
    });
    let masked: Vec<Message> = masked.collect::<Result<_, Error>>()?;
    let rendered = template::render(template, &masked, names)?;

    let mut ids = Vec::new();
    for (index, part) in controls.cut(&rendered).into_iter().enumerate() {
        match part {
            Part::Control(id) => ids.push(id),
            Part::Text(text) => encode(&masks.unmask(text), index == 0, &mut ids)?,
        }
    }
    Ok(ids)
}

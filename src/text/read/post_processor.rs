//! Reads the `post_processor` of a `tokenizer.json`: the ids that it puts around a text.

use serde_json::Value;

use super::parts::{kind, parts};
use super::source::Around;
use crate::system::quote::quoted;
use crate::text::Error;
use crate::text::error::{malformed, unknown};
use crate::text::model::Model;

/// Reads the ids around a text from `single` of a `TemplateProcessing`, its template for one text.
pub(super) fn around(post_processor: &Value, model: &Model) -> Result<Around, Error> {
    let broken = || unknown("post_processor", "of this form");
    let (mut around, mut found) = (Around::default(), false);
    for part in parts(post_processor, "processors") {
        let ids = match kind(part) {
            // It only trims offsets, which we do not return.
            "ByteLevel" => continue,
            "TemplateProcessing" => template(part, model)?,
            // `["</s>", 2]`.
            "BertProcessing" | "RobertaProcessing" => {
                let id = |name: &str| token_id(&part[name][1], model).ok_or_else(broken);
                Around { before: Some(id("cls")?), after: Some(id("sep")?) }
            }
            other => return Err(unknown("post_processor", other)),
        };
        if std::mem::replace(&mut found, true) {
            return Err(unknown("post_processor", "with two templates"));
        }
        around = ids;
    }
    Ok(around)
}

/// Returns the ids around `$A` in the template for one text.
fn template(part: &Value, model: &Model) -> Result<Around, Error> {
    let broken = |why: &str| malformed(&format!("`single` of its post_processor {why}"));
    let pieces = part["single"].as_array().ok_or_else(|| broken("is no list of pieces"))?;
    let (mut before, mut after, mut text) = (Vec::new(), Vec::new(), false);
    for piece in pieces {
        let one = piece.as_object().filter(|piece| piece.len() == 1).and_then(|piece| piece.iter().next());
        match one.map(|(kind, piece)| (kind.as_str(), &piece["id"])) {
            Some(("Sequence", id)) if id == "A" && !text => text = true,
            Some(("SpecialToken", id)) => {
                let name = id.as_str().ok_or_else(|| broken("has a token without a name"))?;
                let ids = part["special_tokens"][name]["ids"].as_array();
                let ids = ids.ok_or_else(|| {
                    broken(&format!("has the token {}, which it has no ids for", quoted(name)))
                })?;
                for id in ids {
                    let known = token_id(id, model);
                    let id = known.ok_or_else(|| broken(&format!("has the id {id}, which is no token's")))?;
                    if text { &mut after } else { &mut before }.push(id);
                }
            }
            _ => return Err(broken("has a piece that is neither `SpecialToken` nor, once, the sequence A")),
        }
    }
    match (text, before.as_slice(), after.as_slice()) {
        (true, [] | [_], [] | [_]) => {
            Ok(Around { before: before.first().copied(), after: after.first().copied() })
        }
        (false, ..) => Err(broken("leaves the text out")),
        _ => Err(unknown("post_processor", "with several tokens at one end of a text")),
    }
}

/// Reads the id of a token.
fn token_id(value: &Value, model: &Model) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| model.token(*id).is_some())
}

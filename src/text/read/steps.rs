//! Reads the steps of a `tokenizer.json` around its model: those before merging, and those that turn tokens into text.
//!
//! Only the combinations of steps in this table are supported. In any other combination a step would see a text in
//! another alphabet than in the reference, so it is an error that names the step.
//!
//! | alphabet | normalizer | pre-tokenizer | decoder |
//! |---|---|---|---|
//! | bytes | a Unicode form | `Split`, `Digits`, then `ByteLevel` | `ByteLevel` |
//! | spaces | a Unicode form, `Prepend`, `Replace` | `Metaspace`, `Digits` | `Replace` or `Metaspace`, `ByteFallback` |
//! | plain | a Unicode form | `Split`, `Digits` | `ByteFallback` |

use serde_json::Value;

use super::parts::{kind, parts};
use crate::text::Error;
use crate::text::alphabet::{SPACE, fallback_byte};
use crate::text::error::{malformed, unknown};
use crate::text::model::{Alphabet, Cut, Kind, Model, NormalForm, Prefix};

/// GPT-2's expression, which is built into the step `ByteLevel`.
pub(in crate::text) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// The expressions of the step `Digits`: single digits, and runs of digits.
const DIGITS: [&str; 2] = [r"\p{N}", r"\p{N}+"];

/// Maximum number of steps, since each costs memory and time. Published files have fewer.
const MAX_STEPS: usize = 16;

/// Reads the steps before merging.
pub(super) fn steps(normalizer: &Value, pre_tokenizer: &Value, model: &mut Model) -> Result<(), Error> {
    model.alphabet = Alphabet::Plain;
    for part in parts(normalizer, "normalizers") {
        normalize(part, model)?;
    }
    if model.prefix == Prefix::Always && model.alphabet == Alphabet::Plain {
        return Err(unknown("normalizer", "Prepend without Replace"));
    }
    let steps = parts(pre_tokenizer, "pretokenizers");
    if steps.len() > MAX_STEPS {
        return Err(malformed(&format!(
            "its pre-tokenizer has {} steps, the limit is {MAX_STEPS}",
            steps.len()
        )));
    }
    for (index, part) in steps.into_iter().enumerate() {
        // Later steps see letters that stand for bytes.
        if model.alphabet == Alphabet::Bytes {
            return Err(unknown("pre-tokenizer", "with a step after ByteLevel"));
        }
        match kind(part) {
            "Split" => split(part, model)?,
            "Digits" => {
                let [each, all] = DIGITS;
                let expression = if flag(part, "individual_digits", None)? { each } else { all };
                model.cuts.push(Cut::Matches(expression.into()));
            }
            "ByteLevel" => byte_level(part, model)?,
            "Metaspace" if index > 0 => {
                return Err(unknown("pre-tokenizer", "Metaspace after another step"));
            }
            "Metaspace" => metaspace(part, model)?,
            other => return Err(unknown("pre-tokenizer", other)),
        }
    }
    Ok(())
}

fn normalize(part: &Value, model: &mut Model) -> Result<(), Error> {
    let form = match kind(part) {
        "NFC" => NormalForm::Nfc,
        "NFD" => NormalForm::Nfd,
        "NFKC" => NormalForm::Nfkc,
        "NFKD" => NormalForm::Nfkd,
        "Prepend" if part["prepend"] == *SPACE.to_string() => {
            return match std::mem::replace(&mut model.prefix, Prefix::Always) {
                Prefix::Never => Ok(()),
                _ => Err(unknown("normalizer", "with Prepend twice")),
            };
        }
        "Replace" if part["pattern"]["String"] == " " && part["content"] == *SPACE.to_string() => {
            model.alphabet = Alphabet::Spaces;
            return Ok(());
        }
        other => return Err(unknown("normalizer", other)),
    };
    if model.normal_form.is_some() || model.alphabet != Alphabet::Plain || model.prefix != Prefix::Never {
        return Err(unknown("normalizer", "of a Unicode form that is not the first step"));
    }
    model.normal_form = Some(form);
    Ok(())
}

fn split(part: &Value, model: &mut Model) -> Result<(), Error> {
    if part["behavior"] != "Isolated" || flag(part, "invert", None)? {
        return Err(unknown("pre-tokenizer", "Split of another behavior than Isolated"));
    }
    let pattern = part["pattern"].as_object().filter(|pattern| pattern.len() == 1);
    let pattern = pattern.and_then(|pattern| pattern.iter().next());
    let expression = match pattern.map(|(kind, text)| (kind.as_str(), text.as_str())) {
        Some(("String", Some(text))) => fancy_regex::escape(text).into_owned(),
        Some(("Regex", Some(expression))) => expression.to_owned(),
        _ => return Err(unknown("pre-tokenizer", "Split")),
    };
    // This step would search for spaces in a text in which they have been replaced.
    if model.alphabet == Alphabet::Spaces && !DIGITS.contains(&expression.as_str()) {
        return Err(unknown("pre-tokenizer", "Split after a step (Replace, Metaspace) that replaces spaces"));
    }
    model.cuts.push(Cut::Matches(expression));
    Ok(())
}

fn byte_level(part: &Value, model: &mut Model) -> Result<(), Error> {
    if model.alphabet != Alphabet::Plain {
        return Err(unknown(
            "pre-tokenizer",
            "ByteLevel after a step (Replace, Metaspace) that replaces spaces",
        ));
    }
    model.alphabet = Alphabet::Bytes;
    if flag(part, "add_prefix_space", None)? {
        if !model.cuts.is_empty() {
            return Err(unknown("pre-tokenizer", "ByteLevel with a space before every word"));
        }
        model.prefix = Prefix::Missing;
    }
    if flag(part, "use_regex", Some(true))? {
        model.cuts.push(Cut::Matches(GPT2.into()));
    }
    Ok(())
}

fn metaspace(part: &Value, model: &mut Model) -> Result<(), Error> {
    if part["replacement"] != *SPACE.to_string() {
        return Err(unknown("pre-tokenizer", "Metaspace with another replacement"));
    }
    model.alphabet = Alphabet::Spaces;
    let prefix = scheme(part)?;
    // The space that the normalizer adds at the start is kept, so the text already begins with one.
    if model.prefix == Prefix::Never {
        model.prefix = prefix;
    } else if prefix == Prefix::Missing {
        return Err(unknown("pre-tokenizer", "Metaspace with a space before every word, beside Prepend"));
    }
    if part["split"].is_null() || flag(part, "split", None)? {
        model.cuts.push(Cut::BeforeSpaces);
    }
    Ok(())
}

/// Reads when a `Metaspace` adds a space at the start. Old files call the field `add_prefix_space`.
fn scheme(part: &Value) -> Result<Prefix, Error> {
    let adds = match &part["add_prefix_space"] {
        Value::Null => None,
        _ => Some(flag(part, "add_prefix_space", None)?),
    };
    match (part.get("prepend_scheme").map(Value::as_str), adds) {
        (Some(Some("never")), _) | (None, Some(false)) => Ok(Prefix::Never),
        (Some(Some("first")), None | Some(true)) => Ok(Prefix::MissingAtStart),
        (Some(Some("always")) | None, None | Some(true)) => Ok(Prefix::Missing),
        (Some(scheme), adds) => {
            let scheme = scheme.map_or("of another kind".into(), |scheme| format!("{scheme:?}"));
            let beside = if adds == Some(false) { ", which add_prefix_space denies," } else { "" };
            Err(unknown("pre-tokenizer", &format!("Metaspace with the scheme {scheme}{beside}")))
        }
    }
}

/// Reads a field that is true or false; without a default it is required.
fn flag(part: &Value, name: &str, default: Option<bool>) -> Result<bool, Error> {
    match part.get(name) {
        Some(Value::Bool(value)) => Ok(*value),
        None if default.is_some() => Ok(default == Some(true)),
        Some(_) => Err(malformed(&format!("{name} of its step {} is not true or false", kind(part)))),
        None => Err(malformed(&format!("its step {} has no {name}", kind(part)))),
    }
}

/// Checks that the decoder is the inverse of the encoder, and that it can be streamed: a function of one token, and a
/// rule about the start of a text.
pub(super) fn decoder(decoder: &Value, model: &mut Model) -> Result<(), Error> {
    let mut alphabet = Alphabet::Plain;
    let (mut fused, mut steps) = (false, 0);
    let all = parts(decoder, "decoders");
    if all.is_empty() {
        return Err(unknown("decoder", "none"));
    }
    for part in all {
        let plain = alphabet == Alphabet::Plain && !fused;
        match kind(part) {
            "ByteLevel" if steps > 0 => return Err(unknown("decoder", "ByteLevel after another step")),
            "ByteLevel" => alphabet = Alphabet::Bytes,
            "ByteFallback" if alphabet == Alphabet::Bytes || fused => {
                return Err(unknown("decoder", "ByteFallback after ByteLevel or Fuse"));
            }
            "ByteFallback" => {
                for (kind, token) in model.kinds.iter_mut().zip(&model.tokens) {
                    if *kind == Kind::Normal && fallback_byte(token).is_some() {
                        *kind = Kind::Byte;
                    }
                }
            }
            "Fuse" => fused = true,
            "Replace"
                if plain && part["pattern"]["String"] == *SPACE.to_string() && part["content"] == " " =>
            {
                alphabet = Alphabet::Spaces;
            }
            // Before `Fuse`, this step would strip every token; at the end of a text, it cannot be streamed.
            "Strip"
                if fused
                    && !model.drops_first_space
                    && part["content"] == " "
                    && part["start"] == 1
                    && part["stop"] == 0 =>
            {
                model.drops_first_space = true;
            }
            "Metaspace" if plain && part["replacement"] == *SPACE.to_string() => {
                alphabet = Alphabet::Spaces;
                model.drops_first_space = scheme(part)? != Prefix::Never;
            }
            other => return Err(unknown("decoder", other)),
        }
        steps += 1;
    }
    if alphabet != model.alphabet {
        return Err(unknown("decoder", "of another alphabet than the pre-tokenizer's"));
    }
    Ok(())
}

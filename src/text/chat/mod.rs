//! How a model wants a conversation written down.
//!
//! | file | idea |
//! |---|---|
//! | `mod` | [`Format`]: which way a model has |
//! | `mistral` | Mistral's own, by version |
//! | `template` | a chat template, with limits |
//! | `jinja/` | the language that templates are written in |
//! | `render` | a template's text as ids, in which no message is a control token |
//! | `turns` | the tokens that it writes around turns, and which of them ends a reply |
//!
//! # Which
//!
//! A tokenizer of Mistral's own (`tekken.json`, `tokenizer.model.v3`, or any file whose pieces are those of Mistral's
//! SentencePiece vocabulary) brings its format with it. The `chat_template` beside it, which others wrote after it,
//! is used where it does not write `[INST]`: then the model was trained on to another format. Every other model has
//! its template, or no format.

mod jinja;
mod mistral;
mod render;
mod template;
mod turns;

pub(super) use self::mistral::{Mistral, Version};
pub(super) use self::render::render;
pub(super) use self::template::Names as TemplateNames;
pub(super) use self::turns::Turns;
use super::model::{Alphabet, Joins, Kind, Model};

/// The way of one model.
#[derive(Clone, Debug)]
pub(super) enum Format {
    Mistral(Mistral),
    Template,
}

impl Format {
    /// What the rules above say. `version`: what the tokenizer's own file says it is.
    pub(super) fn of(model: &Model, version: Option<Version>, template: Option<&str>) -> Option<Self> {
        let version = version.or_else(|| is_mistrals(model).then(|| Version::of(model)));
        let mistral = version.and_then(|version| Mistral::new(version, model));
        match (mistral, template) {
            (Some(mistral), None) => Some(Self::Mistral(mistral)),
            (Some(mistral), Some(template)) if writes_inst(template) => Some(Self::Mistral(mistral)),
            (_, template) => template.map(|_| Self::Template),
        }
    }
}

/// Whether a template writes Mistral's tags. Llama 2's are the same, with a system prompt in tags of its own.
pub(super) fn writes_inst(template: &str) -> bool {
    template.contains("[INST]") && !template.contains("<<SYS>>")
}

/// Whether the pieces are those of Mistral's SentencePiece vocabulary. They are the same 31,741 in the same order in
/// all versions, which differ in their control tokens; the check is over each with a newline.
fn is_mistrals(model: &Model) -> bool {
    const PIECES: usize = 31_741;
    const CHECK: u32 = 0x2890_50C4;
    let pieces = || model.all().filter(|&(id, _)| model.kind(id) == Kind::Normal);
    let kind = model.alphabet == Alphabet::Spaces && !matches!(model.joins, Joins::Ids);
    if !kind || pieces().count() != PIECES {
        return false;
    }
    let mut check = crc32fast::Hasher::new();
    for (_, piece) in pieces() {
        check.update(piece.as_bytes());
        check.update(b"\n");
    }
    check.finalize() == CHECK
}

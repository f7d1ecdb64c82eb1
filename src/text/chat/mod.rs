//! Chat formats: how a conversation is written for a model.
//!
//! | file | idea |
//! |---|---|
//! | `mod` | [`Format`]: the kind of format that a model has |
//! | `mistral` | Mistral's own, by version |
//! | `template` | a chat template, with limits |
//! | `jinja/` | the language of templates |
//! | `render` | a template's text as ids, in which no message is a control token |
//! | `turns` | the tokens that it writes around turns, and which of them ends a reply |
//!
//! # Which format a model has
//!
//! Mistral's own tokenizers (`tekken.json`, `tokenizer.model.v3`, or any file whose pieces are those of Mistral's
//! SentencePiece vocabulary) imply a format. A `chat_template` beside one, which others wrote later, is used if it does
//! not write `[INST]`: the model was then trained further on another format. Every other model has its template, or no
//! format.

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

/// The chat format of a model.
#[derive(Clone, Debug)]
pub(super) enum Format {
    Mistral(Mistral),
    Template,
}

impl Format {
    /// Chooses by the rules above. `version` is that of the tokenizer's own file.
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

/// Whether a template writes Mistral's tags. Llama 2's are the same, but its system prompt has different ones.
pub(super) fn writes_inst(template: &str) -> bool {
    template.contains("[INST]") && !template.contains("<<SYS>>")
}

/// Whether the pieces are those of Mistral's SentencePiece vocabulary. All versions have the same 31,741 pieces in the
/// same order and differ in their control tokens. The checksum covers each piece and a newline.
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

//! Finds a model's chat format.

use super::mistral::{Mistral, Version};
use crate::text::model::{Alphabet, Joins, Kind, Model};

/// The chat format of a model.
#[derive(Clone, Debug)]
pub(in crate::text) enum Format {
    Mistral(Mistral),
    Template,
}

impl Format {
    /// Chooses the format by the rules on the page of `chat`. `version` is that of the tokenizer's own file.
    pub(in crate::text) fn of(
        model: &Model,
        version: Option<Version>,
        template: Option<&str>,
    ) -> Option<Self> {
        let version = version.or_else(|| is_mistrals(model).then(|| Version::of(model)));
        let mistral = version.and_then(|version| Mistral::new(version, model));
        match (mistral, template) {
            (Some(mistral), None) => Some(Self::Mistral(mistral)),
            (Some(mistral), Some(template)) if writes_inst(template) => Some(Self::Mistral(mistral)),
            (_, template) => template.map(|_| Self::Template),
        }
    }
}

/// Returns whether a template writes Mistral's tags. Llama 2's are the same, but its system prompt has different ones.
pub(in crate::text) fn writes_inst(template: &str) -> bool {
    template.contains("[INST]") && !template.contains("<<SYS>>")
}

/// Returns whether the pieces are those of Mistral's SentencePiece vocabulary. All versions have the same 31,741 pieces
/// in the same order and differ in their control tokens. The checksum covers each piece and a newline.
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

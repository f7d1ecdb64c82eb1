//! The contents of a tokenizer's files, as every reader gives them.

use crate::text::MOST_TOKENS;
use crate::text::chat::Version;
use crate::text::model::Model;

/// Maximum of an id, because the largest id determines the size of tables.
pub(super) const MAX_IDS: usize = MOST_TOKENS;
/// Maximum number of control tokens, which are searched one by one. The largest vocabularies have 1,000.
pub(in crate::text) const MAX_CONTROLS: usize = 1 << 16;

/// The contents of a tokenizer's files.
#[derive(Debug)]
pub(in crate::text) struct Source {
    pub(in crate::text) model: Model,
    pub(in crate::text) names: Names,
    /// The ids that the vocabulary's own file puts around a text.
    pub(in crate::text) around: Around,
    /// Version of the chat format, in Mistral's own files.
    pub(in crate::text) version: Option<Version>,
}

/// The ids that a post-processor adds before and after a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::text) struct Around {
    pub(in crate::text) before: Option<u32>,
    pub(in crate::text) after: Option<u32>,
}

/// Spellings of tokens by their purpose.
#[derive(Clone, Debug, Default)]
pub(in crate::text) struct Names {
    pub(in crate::text) bos: Option<String>,
    /// Whether the settings remove the token, regardless of the vocabulary's own file.
    pub(in crate::text) no_bos: bool,
    pub(in crate::text) eos: Option<String>,
    /// End of turn, and end of a message that a tool answers.
    pub(in crate::text) eot: Option<String>,
    pub(in crate::text) eom: Option<String>,
    pub(in crate::text) unknown: Option<String>,
    /// Further tokens that are control tokens regardless of the vocabulary, as the tokens above always are.
    pub(in crate::text) special: Vec<String>,
    /// Whether BOS is added at the start; if `None`, the post-processor of `tokenizer.json` decides.
    pub(in crate::text) adds_bos: Option<bool>,
    pub(in crate::text) adds_eos: Option<bool>,
    pub(in crate::text) chat_template: Option<String>,
    /// Names of the templates if none of them is for a conversation.
    pub(in crate::text) no_default: Option<String>,
}

impl Names {
    /// Fills in missing names from the vocabulary's own file.
    pub(super) fn or(self, own: Self) -> Self {
        Self {
            bos: self.bos.or(own.bos.filter(|_| !self.no_bos)),
            no_bos: self.no_bos,
            eos: self.eos.or(own.eos),
            eot: self.eot.or(own.eot),
            eom: self.eom.or(own.eom),
            unknown: self.unknown.or(own.unknown),
            special: self.special,
            adds_bos: self.adds_bos.or(own.adds_bos),
            adds_eos: self.adds_eos.or(own.adds_eos),
            chat_template: self.chat_template.or(own.chat_template),
            no_default: self.no_default,
        }
    }
}

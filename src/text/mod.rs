//! Text to token ids and back, and the chat formats that turn a conversation into ids.
//!
//! What this room knows: the files that tokenizers come in (`tokenizer.json`, `tokenizer.model`, `tekken.json`, the
//! vocabulary of a GGUF file), how text is cut and joined into tokens, how bytes of several tokens make one character,
//! and how a model wants a conversation written down. What it must never know: weights, devices, terminals, where a
//! file came from.
//!
//! The one rule of the room: **text of a user never becomes a control token.** A control token (`<s>`,
//! `<|im_end|>`, `[INST]`) is an id that code puts between stretches of text. No merge leads to one, so no stretch of
//! text is encoded to one. (The exception is `<unk>`, which stands for a character that a vocabulary without byte
//! tokens cannot spell.)
//!
//! | file | idea |
//! |---|---|
//! | `tokenizer` | [`Tokenizer`]: encode, decode, the ids of a conversation |
//! | `model` | what a tokenizer is, whichever file it came from |
//! | `read/` | from files to a model |
//! | `encode/` | from text to ids by a model |
//! | `detokenizer` | [`Detokenizer`]: ids to text, one at a time |
//! | `chat/` | chat formats: Mistral's, and Jinja templates, with limits |
//! | `write/` | from a model to files |
//! | `alphabet` | how a vocabulary spells bytes |
//! | `control` | the control tokens: finding them, cutting at them |
//! | `guard` | panics of a dependency on hostile input, turned into errors |

mod alphabet;
mod chat;
mod control;
mod detokenizer;
mod encode;
mod error;
mod guard;
mod model;
mod read;
#[cfg(test)]
mod tests;
mod tokenizer;
mod write;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use detokenizer::Detokenizer;
pub use error::Error;
pub use read::config_beside;
pub use tokenizer::Tokenizer;

/// Names of the files that a tokenizer is written to.
pub const FILES: [&str; 5] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
];

/// Whether a file of this name belongs to a tokenizer, as a vocabulary or as settings.
pub fn is_file(name: &str) -> bool {
    FILES.contains(&name) || read::is_vocabulary(name)
}

/// Whether the path is a folder with a tokenizer, or a tokenizer's file.
pub fn is_at(path: &Path) -> bool {
    read::is_at(path)
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
// Unknown fields are refused: a tool call or a name would be dropped silently.
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or another role that the chat template knows.
    pub role: String,
    /// The text of the turn.
    pub content: String,
    /// The ids that the model generated as this content; `None` if it did not generate it. A text can be encoded in
    /// more than one way, so a reply keeps the ids that the model generated, which the cache holds.
    #[serde(skip)]
    pub ids: Vec<u32>,
}

impl Message {
    /// A message that no model generated.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), ids: Vec::new() }
    }
}

/// Limit for the tokens of a vocabulary. The largest published vocabularies have 262,000.
pub const MOST_TOKENS: usize = 3 << 17;

/// Limit for the merges of a vocabulary. The largest published vocabularies have 515,000.
pub const MOST_MERGES: usize = 7 << 17;

/// The hint for a GGUF file whose tokenizer cannot be used, since it may have been published that way.
pub const NEW_GGUF: &str = "convert the original model to GGUF again (llama.cpp's convert_hf_to_gguf.py), or run it as published: `mist download ORG/NAME`";

/// The tokenizer as a GGUF file's metadata has it (`tokenizer.ggml.*` and `tokenizer.chat_template`).
///
/// Lists are indexed by token id; `scores` and `token_types` are empty where the file has none.
/// See <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// `tokenizer.ggml.model`: `gpt2` (byte-level BPE) or `llama` (SentencePiece BPE).
    pub model: String,
    /// `tokenizer.ggml.pre`: name of the pre-tokenizer, for `gpt2`.
    pub pre: Option<String>,
    /// The tokens' spellings, in the vocabulary's own alphabet.
    pub tokens: Vec<String>,
    /// Merge priorities, for `llama`: the higher, the earlier.
    pub scores: Vec<f32>,
    /// 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub token_types: Vec<i32>,
    /// Merges, for `gpt2`: two tokens with one space between, first merge first.
    pub merges: Vec<String>,
    /// Beginning of sequence.
    pub bos: Option<u32>,
    /// End of sequence.
    pub eos: Option<u32>,
    /// End of turn.
    pub eot: Option<u32>,
    /// End of a message, behind which the turn may go on.
    pub eom: Option<u32>,
    /// The token that stands for text that the vocabulary cannot spell.
    pub unknown: Option<u32>,
    /// Whether a text begins with `bos`.
    pub add_bos: Option<bool>,
    /// Whether a text ends with `eos`.
    pub add_eos: Option<bool>,
    /// Whether the encoder puts a space in front of a text, for `llama`.
    pub add_space_prefix: Option<bool>,
    /// The Jinja source of the chat format.
    pub chat_template: Option<String>,
}

//! Text and token ids: the two directions, and the chat format between a conversation and its ids.
//!
//! What this room knows: `tokenizer.json` and its companions in a Hugging Face folder, the vocabulary of a
//! GGUF file, how bytes of several tokens make one character, and how a model wants a conversation written
//! down. What it must never know: weights, devices, terminals, where a file came from.
//!
//! The one rule of the room: **text of a user never becomes a control token.** A control token (`<s>`,
//! `<|im_end|>`, `[INST]`) is an id that code puts between stretches of text; every stretch is encoded with
//! special tokens off, and an id that is a control token all the same is an error.
//!
//! | file | idea |
//! |---|---|
//! | `tokenizer` | [`Tokenizer`]: encode, decode, the ids of a conversation |
//! | `folder` | a tokenizer from a folder's files, and back into files |
//! | `gguf` | a tokenizer from the metadata of a GGUF file ([`Vocabulary`]) |
//! | `vocabulary` | and back into that metadata |
//! | `pre_tokenizer` | the regular expressions behind a GGUF's pre-tokenizer name |
//! | `bytes` | which bytes an id stands for |
//! | `detokenizer` | [`Detokenizer`]: ids to text, one at a time |
//! | `control` | the control tokens: finding them, cutting at them, masking their spellings |
//! | `template` | Jinja chat templates, with limits |
//! | `guard` | panics of a dependency on hostile input, turned into errors |

mod bytes;
mod control;
mod detokenizer;
mod error;
mod folder;
mod gguf;
mod guard;
mod pre_tokenizer;
mod template;
mod tokenizer;
mod vocabulary;

use serde::{Deserialize, Serialize};

pub use detokenizer::Detokenizer;
pub use error::Error;
pub use tokenizer::Tokenizer;

/// The files of a folder that make up its tokenizer; all but the first may be missing.
pub const FILES: [&str; 4] =
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"];

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or what else the chat template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

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
    /// What stands for text that the vocabulary cannot spell.
    pub unknown: Option<u32>,
    /// Whether a text begins with `bos`.
    pub add_bos: Option<bool>,
    /// Whether a text begins with a space that is not in it, for `llama`.
    pub add_space_prefix: Option<bool>,
    /// The Jinja source of the chat format.
    pub chat_template: Option<String>,
}

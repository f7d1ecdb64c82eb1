//! A tokenizer in a GGUF file's metadata, and the size limits of vocabularies.

/// Maximum number of tokens of a vocabulary. The largest published vocabularies have 262,000.
pub const MOST_TOKENS: usize = 3 << 17;

/// Maximum number of merges of a vocabulary. The largest published vocabularies have 515,000.
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
    /// End of a message, after which the turn may go on.
    pub eom: Option<u32>,
    /// The token that stands for text that the vocabulary cannot spell.
    pub unknown: Option<u32>,
    /// Whether a text begins with `bos`.
    pub add_bos: Option<bool>,
    /// Whether a text ends with `eos`.
    pub add_eos: Option<bool>,
    /// Whether the encoder adds a space at the start of a text, for `llama`.
    pub add_space_prefix: Option<bool>,
    /// The Jinja source of the chat format.
    pub chat_template: Option<String>,
}

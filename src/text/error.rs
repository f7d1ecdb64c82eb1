//! Errors of tokenizers, texts and conversations.

use std::path::{Path, PathBuf};

use super::vocabulary::NEW_GGUF;
use crate::system::budget::Exceeded;
use crate::system::hinted::Hinted;
use crate::system::quote::{about, quoted};

/// Errors of a tokenizer, a text or a conversation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system reports an error for a file.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: std::io::Error,
    },
    /// The file is a pointer of `git lfs`, from a clone without it.
    #[error("{} is a Git LFS pointer, not the file itself", .0.display())]
    LfsPointer(PathBuf),
    /// The folder has no tokenizer file.
    #[error("no tokenizer in {} (tokenizer.json, tokenizer.model or tekken.json)", .0.display())]
    NoTokenizer(PathBuf),
    /// A tokenizer file is larger than the limit.
    #[error("{} is larger than {limit} bytes, the limit for a tokenizer file", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A file is not in the format that its name indicates.
    #[error("{}", unusable(path, reason))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The defect, in one line.
        reason: String,
    },
    /// A vocabulary contradicts itself or lacks a part that its model needs.
    #[error("the tokenizer's vocabulary cannot be used: {0}")]
    Vocabulary(String),
    /// The metadata of a GGUF file lacks a key that texts depend on, or names a token that does not exist.
    #[error("{0}")]
    Metadata(String),
    /// `tokenizer.ggml.model` has an unknown value.
    #[error("the tokenizer model {} is not supported (gpt2 and llama are)", quoted(.0))]
    UnknownModel(String),
    /// `tokenizer.ggml.pre` has an unknown value.
    #[error("the pre-tokenizer {} is not supported", quoted(.0))]
    UnknownPreTokenizer(String),
    /// A part of the tokenizer has an unknown type.
    #[error("the tokenizer's {part} {what} is not supported")]
    UnknownPart {
        /// Which part.
        part: &'static str,
        /// Its type.
        what: String,
    },
    /// A GGUF file cannot express a part of the tokenizer.
    #[error("the tokenizer's {0} has no name in a GGUF file")]
    NoGgufName(String),
    /// A text cannot be encoded.
    #[error("the text cannot be encoded: {0}")]
    Encode(String),
    /// BOS was requested, but the tokenizer names no such token.
    #[error("the tokenizer names no BOS token")]
    NoBos,
    /// The model has no chat format.
    #[error("the model has no chat format")]
    NoTemplate,
    /// None of the model's chat templates is for a conversation.
    #[error("chat_template in tokenizer_config.json has no template by the name default ({0})")]
    NoDefaultTemplate(String),
    /// The chat format does not accept the conversation.
    #[error("the chat format does not take this conversation: {0}")]
    Conversation(String),
    /// A chat template is larger than the limit.
    #[error("the chat template is {bytes} bytes; the limit is {limit}")]
    TemplateTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The chat template is not valid, does not accept the conversation, or exceeded a limit.
    #[error("the chat template failed: {0}")]
    Template(String),
    /// No thread could be started for the chat template.
    #[error("the chat template cannot be run: {0}")]
    NotStarted(Exceeded),
    /// The control tokens use so many different characters that none is left to stand for message text.
    #[error("the control tokens have more than {0} different characters")]
    TooManySpellings(usize),
}

impl Error {
    /// Adds the file that the vocabulary comes from.
    pub(super) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Vocabulary(reason) => Self::Malformed { path: path.to_owned(), reason },
            other => other,
        }
    }
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoTokenizer(_) => Some("`mist download ORG/NAME` fetches one".into()),
            Self::Read { reason, .. } => reason.hint(),
            Self::LfsPointer(_) => Some("fetch it with `git lfs pull`, or all with `mist download`".into()),
            Self::Metadata(_) => Some(NEW_GGUF.into()),
            Self::NoBos => Some("encode without a beginning-of-text token".into()),
            Self::NotStarted(exceeded) => exceeded.hint().map(str::to_owned),
            Self::NoTemplate | Self::NoDefaultTemplate(_) => {
                Some("mist generate continues a plain text".into())
            }
            _ => None,
        }
    }
}

/// Returns the error for a vocabulary that is inconsistent, or for a file that is not a vocabulary.
pub(super) fn malformed(reason: &str) -> Error {
    Error::Vocabulary(one_line(reason))
}

/// Returns the error for a part that is well formed but not supported.
pub(super) fn unknown(part: &'static str, what: &str) -> Error {
    Error::UnknownPart { part, what: one_line(what) }
}

/// Describes a defect of a file: "x.json is not valid JSON", "x.json cannot be used: two tokens have the id 3".
fn unusable(path: &Path, reason: &str) -> String {
    let sentence = about(path, reason).to_string();
    let with_colon = format!("{}:", path.display());
    sentence
        .strip_prefix(&with_colon)
        .map_or(sentence.clone(), |_| format!("{} cannot be used: {reason}", path.display()))
}

/// Makes text from a file or a dependency fit for one line of an error message.
///
/// Removes control characters, which would reach the terminal, and cuts what is too long to read.
pub(super) fn one_line(text: &str) -> String {
    const LONGEST: usize = 240;
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.retain(|c| !c.is_control());
    if let Some((cut, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(cut);
        line.push_str("...");
    }
    line
}

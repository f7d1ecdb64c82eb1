use crate::budget::Exceeded;
use crate::quote::{about, quoted};
use std::path::{Path, PathBuf};

/// What can be wrong with a tokenizer, a text or a conversation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system would not give us a file.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The note of a clone without `git lfs`.
    #[error("{} is a Git LFS pointer, not the file itself", .0.display())]
    LfsPointer(PathBuf),
    /// The folder has no file of a tokenizer.
    #[error("no tokenizer in {} (tokenizer.json, tokenizer.model or tekken.json)", .0.display())]
    NoTokenizer(PathBuf),
    /// A tokenizer file beyond the size that is read at all.
    #[error("{} is larger than {limit} bytes, the limit for a tokenizer file", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A file that is there but is not what its name says.
    #[error("{}", unusable(path, reason))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong in it, in one line.
        reason: String,
    },
    /// A vocabulary that contradicts itself or leaves out what its model needs.
    #[error("the tokenizer's vocabulary cannot be used: {0}")]
    Vocabulary(String),
    /// The metadata of a GGUF file lacks a key, or names a token that there is not, and texts depend on it.
    #[error("{0}")]
    Metadata(String),
    /// `tokenizer.ggml.model` is none that we know.
    #[error("the tokenizer model {} is not supported (gpt2 and llama are)", quoted(.0))]
    UnknownModel(String),
    /// `tokenizer.ggml.pre` is none that we know.
    #[error("the pre-tokenizer {} is not supported", quoted(.0))]
    UnknownPreTokenizer(String),
    /// A part of the tokenizer is none that we know.
    #[error("the tokenizer's {part} {what} is not supported")]
    UnknownPart {
        /// Which part.
        part: &'static str,
        /// What it is called.
        what: String,
    },
    /// A part of the tokenizer that a GGUF file has no way to say.
    #[error("the tokenizer's {0} has no name in a GGUF file")]
    NoGgufName(String),
    /// A text could not be encoded.
    #[error("the text cannot be encoded: {0}")]
    Encode(String),
    /// BOS was asked for and the tokenizer names none.
    #[error("the tokenizer names no BOS token")]
    NoBos,
    /// A conversation for a model that has no chat format.
    #[error("the model has no chat format")]
    NoTemplate,
    /// The model has chat templates for other things than a conversation only.
    #[error("chat_template in tokenizer_config.json has no template by the name default ({0})")]
    NoDefaultTemplate(String),
    /// The chat format does not take the conversation.
    #[error("the chat format does not take this conversation: {0}")]
    Conversation(String),
    /// A chat template beyond the size that is compiled at all.
    #[error("the chat template is {bytes} bytes; the limit is {limit}")]
    TemplateTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The chat template is not valid, does not accept the conversation, or ran into a limit.
    #[error("the chat template failed: {0}")]
    Template(String),
    /// The chat template has no thread to run in.
    #[error("the chat template cannot be run: {0}")]
    NotStarted(Exceeded),
    /// Control tokens with so many different characters that none is left to stand for what messages say.
    #[error("the control tokens have more than {0} different characters")]
    TooManySpellings(usize),
}

impl Error {
    /// With the file whose vocabulary it is about.
    pub(super) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Vocabulary(reason) => Self::Malformed { path: path.to_owned(), reason },
            other => other,
        }
    }

    /// What the user can type instead, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoTokenizer(_) => Some("mist download --tokenizer-only --repo-id ORG/NAME".into()),
            Self::LfsPointer(_) => Some("fetch it with `git lfs pull`, or all with `mist download`".into()),
            Self::Metadata(_) => Some(super::NEW_GGUF.into()),
            Self::NoBos => Some("--no-bos encodes without it".into()),
            Self::NotStarted(exceeded) => exceeded.hint().map(str::to_owned),
            Self::NoTemplate | Self::NoDefaultTemplate(_) => {
                Some("mist generate continues a plain text".into())
            }
            _ => None,
        }
    }
}

/// What is wrong with a file: "x.json is not valid JSON", "x.json cannot be used: two tokens have the id 3".
fn unusable(path: &Path, reason: &str) -> String {
    let sentence = about(path, reason).to_string();
    let with_colon = format!("{}:", path.display());
    sentence
        .strip_prefix(&with_colon)
        .map_or(sentence.clone(), |_| format!("{} cannot be used: {reason}", path.display()))
}

/// Text of a file or a dependency, made fit for one line of an error message.
///
/// Control characters go (they would reach the terminal), and so does what is longer than anyone reads.
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

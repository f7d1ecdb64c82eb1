//! Text to token ids and back, and the chat formats that turn a conversation into ids.
//!
//! Knows about the files that tokenizers come in (`tokenizer.json`, `tokenizer.model`, `tekken.json`, the vocabulary of
//! a GGUF file), how text is cut and joined into tokens, how bytes of several tokens make one character, and how a chat
//! format writes a conversation. Knows nothing about weights, devices, terminals, or where a file came from.
//!
//! The one rule of the room: **text of a user never becomes a control token.** A control token (`<s>`,
//! `<|im_end|>`, `[INST]`) is an id that code puts between stretches of text. No merge leads to one, so no stretch of
//! text is encoded to one. (The exception is `<unk>`, which stands for a character that a vocabulary without byte
//! tokens cannot spell.)
//!
//! | file | idea |
//! |---|---|
//! | `tokenizer` | [`Tokenizer`]: encode, decode, the ids of a conversation |
//! | `files` | which files belong to a tokenizer |
//! | `message` | [`Message`]: one turn of a conversation |
//! | `vocabulary` | [`Vocabulary`]: a tokenizer in a GGUF file's metadata, and the size limits of vocabularies |
//! | `model` | what a tokenizer is, whichever file it came from |
//! | `read/` | from files to a model |
//! | `encode/` | from text to ids by a model |
//! | `detokenizer` | [`Detokenizer`]: ids to text, one at a time |
//! | `chat/` | chat formats: Mistral's, and Jinja templates, with limits |
//! | `write/` | from a model to files |
//! | `ids` | lists of ids, from words or from JSON |
//! | `shown` | ids with their tokens or their text, written piece by piece |
//! | `alphabet` | how a vocabulary spells bytes |
//! | `control` | the control tokens: finding them, cutting at them |
//! | `guard` | panics of a dependency on hostile input, turned into errors |

mod alphabet;
mod chat;
mod control;
mod detokenizer;
mod encode;
mod error;
mod files;
mod guard;
mod ids;
mod message;
mod model;
mod read;
mod shown;
#[cfg(test)]
mod tests;
mod tokenizer;
mod vocabulary;
mod write;

pub use detokenizer::Detokenizer;
pub use error::Error;
pub use files::{FILES, is_at, is_file};
pub use ids::{IdsError, ids, lists};
pub use message::Message;
pub use read::config_beside;
pub use shown::{Decoded, Encoded};
pub use tokenizer::Tokenizer;
pub use vocabulary::{MOST_MERGES, MOST_TOKENS, NEW_GGUF, Vocabulary};

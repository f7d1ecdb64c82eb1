//! A conversation: what was said, what is undone, retried or dropped, how it is kept in a file, and what a
//! line that was typed asks for.
//!
//! Knows messages and their order. Never knows terminals, tokenizers or models: how many tokens messages
//! take is asked of the caller.
//!
//! | file | one idea |
//! |---|---|
//! | `conversation` | messages that alternate by construction |
//! | `fit` | the oldest turns make room |
//! | `file` | a conversation as JSON, written whole or not at all |
//! | `autosave` | conversations that are saved as they go |
//! | `command` | the slash commands, one table |

mod autosave;
mod command;
mod conversation;
mod file;
mod fit;

pub use autosave::{Autosave, MOST_CONVERSATIONS, Saved};
pub use command::{Command, CommandError, Turn, help};
pub use conversation::{Conversation, ConversationError, Exchange};
pub use file::{FileError, LARGEST_FILE, MOST_MESSAGES, ParseError, read_text};
pub use fit::FitError;

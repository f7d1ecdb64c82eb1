//! A conversation: its messages, its files, and the commands that a user may type.
//!
//! Knows about messages and their order, but not about terminals, tokenizers or models: the caller counts the tokens of
//! messages.
//!
//! | file | one idea |
//! |---|---|
//! | `conversation` | messages that alternate by construction |
//! | `fit` | drops the oldest turns so that the rest fits |
//! | `file` | a conversation as JSON, written completely or not at all |
//! | `autosave` | saves conversations automatically |
//! | `settings` | the settings that `/set` changes |
//! | `command` | the slash commands, defined by one table |

mod autosave;
mod command;
mod conversation;
mod file;
mod fit;
mod settings;

pub use autosave::{Autosave, MOST_CONVERSATIONS, Saved};
pub use command::{Command, CommandError, Turn, help};
pub use conversation::{Conversation, ConversationError, Exchange};
pub use file::{FileError, LARGEST_FILE, MOST_MESSAGES, ParseError, read_text};
pub use fit::FitError;
pub use settings::{ChatSettings, SettingError};

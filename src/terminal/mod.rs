//! Everything between `mist` and a person's terminal.
//!
//! Knows streams, keys, signals and escape codes. Never knows models, tokens or files of weights, and never
//! decides what a line that was typed means: that is [`crate::chat`]'s.
//!
//! | file | one idea |
//! |---|---|
//! | `printer` | the only way to stdout and stderr |
//! | `progress` | bars for a person who waits |
//! | `tokens` | a prompt that is read: tokens, time left, rate |
//! | `shared` | a line on stderr begins a line, also where stdout goes to the same place |
//! | `filter` | text that `mist` did not write cannot steer the terminal |
//! | `editor` | one message from the keyboard, on one line or several |
//! | `history` | where the editor keeps what was typed |
//! | `interrupt` | Ctrl-C stops a reply before it stops the process |

mod editor;
mod filter;
mod history;
mod interrupt;
mod printer;
mod progress;
mod shared;
mod tokens;

pub use editor::{Editor, EditorError, Input};
pub use filter::{EscapeFilter, escaped};
pub use interrupt::{Interrupt, InterruptError, Listening};
pub use printer::Printer;
pub use progress::{Bars, Progress};
pub use tokens::{Estimate, TokenProgress};

//! Input and output on a terminal: messages, progress, the line editor, signals, and clap's commands.
//!
//! Knows about streams, keys, signals, escape codes, clap's commands, the types of errors with hints, and the progress
//! of downloads, opening and prefill. Knows nothing about models or weight files. It does not interpret typed lines:
//! [`crate::chat`] does.
//!
//! | file | what |
//! |---|---|
//! | `printer` | the only way to stdout and stderr |
//! | `progress` | progress bars |
//! | `tokens` | the progress of prefill: tokens, time left, rate |
//! | `table` | columns padded to their widest cell |
//! | `output` | writing generated text to stdout in pieces |
//! | `download` | the progress of a download: the plan as lines, then bars |
//! | `running` | the progress of opening a model: messages, and a bar for each step |
//! | `question` | questions to the user |
//! | `ends` | reports of a panic, or of a mapped file that becomes unreadable, in one line |
//! | `errors` | an error's causes in one line, and its hint |
//! | `flags` | hints in the command's flags |
//! | [`command`] | support for clap's commands: error messages, shell completion, manual pages |
//! | `shared` | keeps lines on stderr from starting in the middle of a line of stdout |
//! | `filter` | escapes control characters in text from models, servers and files |
//! | `editor` | reads messages of one or several lines from the keyboard |
//! | `history` | the file with the editor's history |
//! | `interrupt` | Ctrl-C stops a reply before it stops the process |

pub mod command;
mod download;
mod editor;
mod ends;
mod errors;
mod filter;
mod flags;
mod history;
mod interrupt;
mod output;
mod printer;
mod progress;
mod question;
mod running;
mod shared;
mod table;
mod tokens;

pub use download::TerminalReport;
pub use editor::{Editor, EditorError, Input};
pub use ends::{report_panics, report_unreadable_maps};
pub use errors::{hint, hinted, one_line};
pub use filter::{EscapeFilter, escaped};
pub use interrupt::{Interrupt, InterruptError, Listening};
pub use output::Output;
pub use printer::Printer;
pub use progress::{Bars, Progress};
pub use question::{ask, pick};
pub use running::Running;
pub use table::Table;
pub use tokens::{TokenProgress, watch, watch_behind};

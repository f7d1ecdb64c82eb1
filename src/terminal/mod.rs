//! Input and output on a terminal: messages, progress, the line editor, signals, and clap's commands.
//!
//! Knows streams, keys, signals and escape codes; clap's commands as such; how far a download, an opening or a prompt is; which
//! errors have hints. Never knows models or files of weights, and never decides what a line that was typed means: that is
//! [`crate::chat`]'s.
//!
//! | file | what |
//! |---|---|
//! | `printer` | the only way to stdout and stderr |
//! | `progress` | progress bars |
//! | `tokens` | the progress of prefill: tokens, time left, rate |
//! | `table` | columns padded to their widest cell |
//! | `output` | text that comes in pieces, on its way to stdout |
//! | `download` | a download: the plan as lines, then bars |
//! | `running` | the opening of a model: lines, and a bar for each step |
//! | `question` | questions, asked until they are answered |
//! | `ends` | a panic, or a file that can no longer be read, in one line |
//! | `errors` | an error: its causes in one line, and its hint |
//! | [`command`] | what a tree of clap's commands needs around it |
//! | `shared` | a line on stderr begins a line, also where stdout goes to the same place |
//! | `filter` | text that `mist` did not write cannot steer the terminal |
//! | `editor` | one message from the keyboard, on one line or several |
//! | `history` | where the editor keeps what was typed |
//! | `interrupt` | Ctrl-C stops a reply before it stops the process |

pub mod command;
mod download;
mod editor;
mod ends;
mod errors;
mod filter;
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
pub use errors::{hinted, one_line};
pub use filter::{EscapeFilter, escaped};
pub use interrupt::{Interrupt, InterruptError, Listening};
pub use output::Output;
pub use printer::Printer;
pub use progress::{Bars, Progress};
pub use question::{ask, pick};
pub use running::Running;
pub use table::Table;
pub use tokens::{TokenProgress, watch, watch_behind};

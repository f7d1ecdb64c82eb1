//! Everything between `mist` and a person's terminal: the one [`Printer`], progress bars, the chat's line
//! editor, and the filter that keeps a model's output from steering the terminal.
//!
//! Knows streams and escape codes. Never knows models, tokens or files of weights.

mod printer;

pub use printer::{Printer, Progress};

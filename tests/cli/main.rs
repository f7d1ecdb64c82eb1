//! The command line as a user and a script meet it: stdout, stderr and exit code of every command, on tiny
//! checkpoints. Snapshots lie in `snapshots/`; `INSTA_UPDATE=always cargo test --test cli` writes them anew, and then
//! each is to be read: is it what a user would want to see?
//!
//! | file | what |
//! |---|---|
//! | `transcript` | commands and what they print, as one text, less what differs from run to run |
//! | `again` | a text from the JSON of another run |
//! | `commands` | what works |
//! | `bench` | what `bench` measures, less how fast this machine is |
//! | `conversions` | what conversions replace, delete and believe |
//! | `chat` | turns from a pipe |
//! | `help` | `--help` of each command |
//! | `errors` | what fails, and how it says so |
//! | `plain` | what a terminal gets and a pipe does not |
//! | `others` | the first commands of users of other programs |
//! | `store` | where checkpoints are found, listed and deleted |
//! | `shell` | completions and manual pages |
//! | `progress` | what a terminal shows while a prompt is computed, and what it shows no more |
//! | `wrong` | wrong calls, and words that no message has |
//! | `streams` | pipes, closed pipes, full disks, terminals' escapes |
// The lint knows functions marked as tests, not their helpers; a helper that fails here is a failed test.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod again;
mod bench;
mod chat;
mod commands;
mod conversions;
mod endings;
mod errors;
mod help;
mod others;
mod plain;
#[cfg(unix)]
mod progress;
mod shell;
mod store;
mod streams;
#[path = "../support/mod.rs"]
mod support;
#[cfg(unix)]
#[path = "../real/terminal.rs"]
mod terminal;
mod transcript;
mod wrong;

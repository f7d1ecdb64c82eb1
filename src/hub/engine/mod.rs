//! The download engine: fetches files of a commit into a folder, each completely or not at all, and continues an
//! earlier run.
//!
//! ```text
//! run (the caller's thread: passes events to the report, opens more connections, ends the download)
//!  ├─ 8 workers: Board::next ─► Fetch(range of a file) ─► worker::fetch ─► Part::write ─► partial file, journal
//!  └─ 1 follower per started file: Part::wait ─► hash ─► Part::finish (sync, rename)
//! ```
//!
//! Knows how to fetch one commit's files over several connections, but not which files a checkpoint needs.
//!
//! | file | one idea |
//! |---|---|
//! | `run` | starts the workers and receives their messages |
//! | `event` | messages from the threads to the caller |
//! | `ranges` | a set of byte positions |
//! | `journal` | which pieces of a partial file are on disk, even after `kill -9` |
//! | `part` | a partial file, written by several threads at once |
//! | `board` | distributes the work |
//! | `ramp` | finds how many connections the network can use |
//! | `source` | the commit that the files come from |
//! | `worker` | one connection: a range of a file, with retries |
//! | `follow` | hashes a file while it is fetched, and names it when the hash is right |

mod board;
mod event;
mod follow;
mod journal;
mod part;
mod ramp;
mod ranges;
mod run;
mod source;
mod worker;

pub(super) use self::journal::{heading as journal_heading, here, said as said_by_journal};
pub(super) use self::run::{Job, run};

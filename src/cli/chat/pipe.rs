//! Reads one message per line from a pipe or a file. There are no commands.

use std::io;

use anyhow::Context;
use mist::generate::Finish;
use mist::system::files::Lines;

use super::keep::Keeper;
use super::talk::Talk;
use crate::cli::exit::Status;

/// Size limit for reading a line, in bytes.
const LONGEST: u64 = 64 << 20;

/// Sends each line that is not empty as a message.
pub fn run(talk: &mut Talk, keeper: &mut Keeper) -> anyhow::Result<Status> {
    for line in Lines::new(io::stdin().lock(), LONGEST) {
        let line = line.context("cannot read a message from stdin")?;
        if line.trim().is_empty() {
            continue;
        }
        let finish = talk.say(&line)?;
        keeper.save(talk.chat.conversation());
        if finish == Finish::Interrupted {
            return Ok(Status::Interrupted);
        }
    }
    Ok(Status::Success)
}

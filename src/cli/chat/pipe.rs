//! One turn a line, from a pipe or a file. Every line is a message: there are no commands.

use std::io::{self, BufRead, Read};

use anyhow::Context;
use mist::generate::Finish;
use mist::system::files;

use super::keep::Keeper;
use super::talk::Talk;
use crate::cli::exit::Status;
use crate::cli::values::without_mark;

/// The longest line that is read, in bytes.
const LONGEST: u64 = 64 << 20;

/// A turn for every line that is not empty, until they end.
pub fn run(talk: &mut Talk, keeper: &mut Keeper) -> anyhow::Result<Status> {
    let mut lines = io::stdin().lock();
    let mut is_first = true;
    while let Some(line) = next_line(&mut lines, LONGEST).context("cannot read a message from stdin")? {
        let line = if std::mem::take(&mut is_first) { without_mark(line) } else { line };
        if line.trim().is_empty() {
            continue;
        }
        let finish = talk.say(&line)?;
        keeper.save(&talk.conversation);
        if finish == Finish::Interrupted {
            return Ok(Status::Interrupted);
        }
    }
    Ok(Status::Success)
}

/// The next line without its end; `None` at the end of the input.
fn next_line(source: &mut impl BufRead, longest: u64) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if source.take(longest + 1).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() as u64 > longest {
        let message = format!("a line is longer than {longest} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut line = files::utf8(line)?;
    line.truncate(line.trim_end_matches(['\n', '\r']).len());
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_without_their_ends_and_the_last_needs_none() {
        let mut source = "one\r\n\n  two \nthree".as_bytes();
        let mut lines = std::iter::from_fn(|| next_line(&mut source, 7).unwrap());
        assert_eq!(lines.by_ref().collect::<Vec<_>>(), ["one", "", "  two ", "three"]);
    }

    #[test]
    fn a_line_that_is_too_long_or_no_text_is_an_error() {
        assert_eq!(next_line(&mut "1234567".as_bytes(), 7).unwrap().unwrap(), "1234567");
        assert!(next_line(&mut "12345678".as_bytes(), 7).is_err());
        assert!(next_line(&mut &b"\xff\n"[..], 7).is_err());
    }
}

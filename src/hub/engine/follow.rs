//! Hashes a file while it is fetched: first the bytes of an earlier run, then each byte once all bytes before it are on
//! disk. If the hash of all bytes is right, it gives the file its final name.

use std::sync::Arc;

use super::board::Board;
use super::event::Event;
use super::part::{Attempt, Part, Refused};
use crate::hub::hash::Hasher;
use crate::hub::{Digest, Error};

/// Number of bytes that are hashed at a time.
const CHUNK: usize = 1 << 20;

/// Hashes `part` until it is complete and its hash is right. Fetches a damaged file again once, and passes a message to
/// `send`. `None` if the download was stopped.
///
/// # Errors
/// [`Error::Hash`], or a disk error.
pub(super) fn follow(board: &Board, part: &Arc<Part>, send: &dyn Fn(Event)) -> Result<Option<Digest>, Error> {
    let mut attempt: Attempt = 0;
    loop {
        let Some(hasher) = hash(part, attempt)? else { return Ok(None) };
        let mismatch = match hasher.finish() {
            Ok(sha256) => return finish(board, part, attempt, sha256),
            Err(mismatch) => mismatch,
        };
        let error = Error::damaged(part.name(), mismatch);
        if attempt > 0 {
            part.discard(attempt);
            return Err(error);
        }
        send(Event::Note(format!("{error}; fetching it again")));
        attempt = match board.restart(part, attempt) {
            Ok(attempt) => attempt,
            Err(Refused::Outdated) => return Ok(None),
            Err(Refused::Disk(error)) => return Err(error),
        };
    }
}

/// Hashes the whole file; `None` if the attempt became outdated.
fn hash(part: &Part, attempt: Attempt) -> Result<Option<Hasher>, Error> {
    let size = part.entry.size;
    let mut hasher = Hasher::new(part.entry.hash, size);
    let mut chunk = part.buffer(CHUNK)?;
    let mut hashed = 0;
    loop {
        let Some(front) = part.wait(attempt, hashed) else { return Ok(None) };
        while hashed < front {
            let most = usize::try_from(front - hashed).unwrap_or(CHUNK).min(CHUNK);
            let read = part.read(&mut chunk[..most], hashed)?;
            if read == 0 {
                return Err(part.shrank());
            }
            hasher.update(&chunk[..read]);
            hashed += read as u64;
        }
        if hashed == size {
            return Ok(Some(hasher));
        }
    }
}

fn finish(board: &Board, part: &Part, attempt: Attempt, sha256: Digest) -> Result<Option<Digest>, Error> {
    match part.finish(attempt) {
        Ok(()) => {
            board.finished(part);
            Ok(Some(sha256))
        }
        Err(Refused::Outdated) => Ok(None),
        Err(Refused::Disk(error)) => Err(error),
    }
}

//! A connection: requests a range of a file, checks that the response is that range, writes it, and retries after
//! temporary errors.

use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_ENCODING, CONTENT_RANGE, ETAG};

use super::board::{Board, Work};
use super::event::Event;
use super::journal::is_etag;
use super::part::Refused;
use super::source::Source;
use crate::hub::Error;
use crate::hub::body::{failed, innermost};
use crate::hub::retry::Failure;
use crate::system::memory;

/// Number of bytes that are written and recorded in the journal at a time.
pub(super) const PIECE: usize = 256 << 10;
/// Time after which a smaller piece is written, so that a slow connection still records and shows its progress.
const LATEST: Duration = Duration::from_millis(250);
/// Number of received bytes after which an attempt resets the count of failed attempts, for a long file over a bad
/// connection.
const WORTHWHILE: u64 = 64 << 10;

/// The reason why a range was not completed.
#[derive(Debug)]
enum Stop {
    /// The attempt failed.
    Failed(Failure),
    /// Another connection fetches the range, or the range is no longer needed.
    Outdated,
    /// The server's validator differs from the one that was sent.
    OtherTag,
}

/// The kind of request for a range of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    /// A range, if the content still has the known validator.
    Conditional,
    /// A range.
    Range,
    /// The whole file.
    Whole,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Outdated => Self::Outdated,
            Refused::Disk(error) => Self::Failed(Failure::Final(error)),
        }
    }
}

/// Allocates a connection's buffer for pieces of files in `folder`.
///
/// # Errors
/// The memory is not available.
pub(super) fn buffer(folder: &Path) -> Result<Vec<u8>, Error> {
    memory::buffer(PIECE).map_err(Error::io("find memory to download to", folder))
}

/// Fetches the rest of `work` through `piece`, a buffer from [`buffer`].
///
/// # Errors
/// The error of the last attempt, if another attempt would not help.
pub(super) fn fetch(
    source: &Source,
    board: &Board,
    work: &mut Work,
    piece: &mut [u8],
    send: &dyn Fn(Event),
) -> Result<(), Error> {
    let mut retries = source.client.retries();
    let mut asking = Asking::Conditional;
    while let Some(mut gap) = work.part.gap(work.attempt, work.range.clone()) {
        if work.part.entry.hash.is_none() {
            work.part.forget(work.attempt);
            gap = 0..work.part.entry.size;
        }
        let mut fresh = 0;
        let waiting = source.client.silence().begin();
        let failure = match attempt(source, work, gap, asking, piece, &mut fresh) {
            Ok(()) => continue,
            Err(Stop::Outdated) => return Ok(()),
            Err(Stop::OtherTag) => {
                asking = Asking::Range;
                continue;
            }
            Err(Stop::Failed(failure)) => failure,
        };
        let silent = waiting.silent();
        // A slow connection still receives some bytes, here or in another thread.
        let is_slow = matches!(failure, Failure::Silent(_)) && waiting.kept() > 0;
        drop(waiting);
        if fresh >= WORTHWHILE || is_slow {
            retries.progress();
        }
        if matches!(failure, Failure::NoRange(_)) && asking != Asking::Whole {
            match work.whole || work.make_whole() {
                true => asking = Asking::Whole,
                false => return Ok(()),
            }
            continue;
        }
        let (error, pause) = retries.again(failure, silent)?;
        // Ranges are tried once more: a single refusal may be a mistake, and without ranges all bytes are fetched
        // again.
        asking = Asking::Range;
        send(Event::Note(format!("{error}; trying again in {pause:?}")));
        if !wait(board, pause) {
            return Ok(());
        }
    }
    Ok(())
}

/// Pauses, and returns whether the download continues.
fn wait(board: &Board, pause: Duration) -> bool {
    let end = Instant::now() + pause;
    while !board.is_stopped() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        sleep(left.min(Duration::from_millis(100)));
    }
    false
}

/// Sends one request for `gap`, or for the whole file without ranges, and counts the new bytes.
fn attempt(
    source: &Source,
    work: &mut Work,
    gap: Range<u64>,
    asking: Asking,
    piece: &mut [u8],
    fresh: &mut u64,
) -> Result<(), Stop> {
    let part = work.part.clone();
    let (about, url, all) = (source.about(part.name()), source.url(part.name()), 0..part.entry.size);
    let whole = asking == Asking::Whole || gap == all;
    let etag = part.etag().filter(|_| asking == Asking::Conditional);
    let range = (!whole).then_some((&gap, etag.as_deref()));
    let mut response = source.client.attempt(&url, about, range)?;
    let found = strong_etag(&response);
    let received = match response.status() {
        StatusCode::PARTIAL_CONTENT => check_range(source, work, &response, &gap)?,
        // File stores may give the same content different ETags. The hash shows whether the content differs.
        _ if !whole && etag.is_some() && etag != found => return Err(Stop::OtherTag),
        _ if !whole && !work.whole && !work.make_whole() => return Err(Stop::Outdated),
        _ => all,
    };
    check_length(source, work, &response, &received)?;
    if let Some(found) = &found {
        part.set_etag(found).map_err(Failure::Final)?;
    }
    stream(source, work, &mut response, received, piece, fresh)
}

/// Returns the validator, if it is a strong one.
fn strong_etag(response: &Response) -> Option<String> {
    let etag = response.headers().get(ETAG)?.to_str().ok()?;
    is_etag(etag).then(|| etag.to_string())
}

/// Returns the range of the response, which must begin where the requested range does, in a file of the listing's size,
/// and may end earlier.
fn check_range(
    source: &Source,
    work: &Work,
    response: &Response,
    requested: &Range<u64>,
) -> Result<Range<u64>, Failure> {
    let text = response.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let size = work.part.entry.size;
    let right = content_range(text).filter(|(received, of)| {
        received.start == requested.start
            && (requested.start + 1..=requested.end).contains(&received.end)
            && of.is_none_or(|of| of == size)
    });
    right.map(|(received, _)| received).ok_or_else(|| {
        let about = source.about(work.part.name());
        Failure::NoRange(source.client.broken(about, "is another range than was asked for"))
    })
}

/// Refuses responses whose bytes are not those of the file: compressed responses, and for a file without a hash,
/// responses of another length.
fn check_length(
    source: &Source,
    work: &Work,
    response: &Response,
    received: &Range<u64>,
) -> Result<(), Failure> {
    let broken = |why: String| source.client.broken(source.about(work.part.name()), why);
    let encoding = response.headers().get(CONTENT_ENCODING).map(|v| v.as_bytes());
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Failure::Final(broken(
            "is compressed, although no compression was requested".to_string(),
        )));
    }
    let (length, expected) = (response.content_length(), received.end - received.start);
    match length {
        Some(length) if length != expected && work.part.entry.hash.is_none() => {
            let why = format!("is {length} bytes long, and the listing says {expected}");
            Err(Failure::Passing(broken(why), None))
        }
        _ => Ok(()),
    }
}

/// Parses `bytes 0-9/100` or `bytes 0-9/*`.
fn content_range(text: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let size = match size {
        "*" => None,
        size => Some(size.parse().ok()?),
    };
    Some((first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?, size))
}

/// Writes the body, which is the range `range` of the file, piece by piece.
fn stream(
    source: &Source,
    work: &Work,
    response: &mut Response,
    range: Range<u64>,
    piece: &mut [u8],
    fresh: &mut u64,
) -> Result<(), Stop> {
    let (mut start, mut filled) = (range.start, 0);
    let mut written = Instant::now();
    let exact = response.content_length() == Some(range.end - range.start);
    // A file without a hash is not continued.
    let keeps = work.part.entry.hash.is_some();
    let mut body = source.client.patient(response, keeps);
    loop {
        // The rest of the range, if it is less than the piece's capacity.
        let room = usize::try_from(range.end - start).unwrap_or(PIECE).min(piece.len());
        let read = body.read(&mut piece[filled..room]);
        if let Ok(n) = &read {
            filled += n;
        }
        let last = start + filled as u64 == range.end;
        if last && work.part.entry.hash.is_none() && matches!(body.read(&mut [0]), Ok(1..)) {
            // Checked before the last piece, since the file would be complete with it.
            return Err(longer(source, work).into());
        }
        let over = last || !matches!(read, Ok(1..));
        if over || filled == room || written.elapsed() >= LATEST {
            let written_now = work.part.write(work.attempt, start, &piece[..filled])?;
            *fresh += written_now;
            if keeps {
                source.client.silence().keep(written_now);
            }
            source.count(filled);
            (start, filled, written) = (start + filled as u64, 0, Instant::now());
        }
        match read {
            _ if last => break,
            Ok(0) => return Err(Failure::Passing(cut(work, "the connection was closed"), None).into()),
            Err(e) => return Err(failed(cut(work, innermost(&e)), &e).into()),
            Ok(_) => {}
        }
    }
    if exact {
        // A connection can be reused once its body was read to the end.
        let _ = body.read(&mut [0]);
    }
    Ok(())
}

fn longer(source: &Source, work: &Work) -> Failure {
    let why = format!("is longer than the {} bytes that the listing says", work.part.entry.size);
    Failure::Passing(source.client.broken(source.about(work.part.name()), why), None)
}

fn cut(work: &Work, cause: impl Into<String>) -> Error {
    let (file, here, size) = (work.part.name().clone(), work.part.here(), work.part.entry.size);
    Error::Cut { file, here, size, cause: cause.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_or_refused() {
        assert_eq!(content_range("bytes 0-9/100"), Some((0..10, Some(100))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5..10, None)));
        for wrong in
            ["", "bytes", "bytes 0-9", "bytes */100", "bytes 0-18446744073709551615/1", "items 0-9/100"]
        {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }
}

//! One connection: asks for a stretch of a file, checks that it gets that stretch, writes it, and tries again where
//! trying again may help.

use std::io::Read;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_RANGE, ETAG};

use super::Event;
use super::board::{Board, Work};
use super::part::Refused;
use super::source::Source;
use crate::hub::Error;
use crate::hub::client::{Failure, innermost};

/// Bytes written at once, and noted in the journal.
pub(super) const PIECE: usize = 256 << 10;
/// On a slow line less is written at once, so that what was fetched is kept and seen.
const LATEST: Duration = Duration::from_millis(250);
/// An attempt that brought at least this much starts the count of failed ones anew: a long file over a bad line.
const WORTHWHILE: u64 = 64 << 10;

/// Why a stretch was not brought to its end.
#[derive(Debug)]
enum Stop {
    /// The attempt failed.
    Failed(Failure),
    /// Somebody else does it, or nobody is to.
    Outdated,
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

/// Fetches what of `work` is not here yet.
///
/// # Errors
/// The last attempt's, when there is no point in another.
pub(super) fn fetch(
    source: &Source,
    board: &Board,
    work: &mut Work,
    tell: &dyn Fn(Event),
) -> Result<(), Error> {
    let mut retries = source.client.retries();
    while let Some(gap) = work.part.gap(work.range.clone()) {
        let mut fresh = 0;
        let failure = match attempt(source, work, gap, &mut fresh) {
            Ok(()) => continue,
            Err(Stop::Outdated) => return Ok(()),
            Err(Stop::Failed(failure)) => failure,
        };
        if fresh >= WORTHWHILE {
            retries.progress();
        }
        if matches!(failure, Failure::NoRange(_)) && !work.whole {
            match work.make_whole() {
                true => continue,
                false => return Ok(()),
            }
        }
        let (error, pause) = retries.again(failure)?;
        tell(Event::Note(format!("{error}; trying again in {pause:?}")));
        if !wait(board, pause) {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether the download goes on after the pause.
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

/// One request for `gap`, or for all of the file where ranges are not done. Counts the fresh bytes it brought.
fn attempt(source: &Source, work: &mut Work, gap: Range<u64>, fresh: &mut u64) -> Result<(), Stop> {
    let part = work.part.clone();
    let about = source.about(part.name());
    let url = source.url(part.name());
    let plain = work.whole || gap == (0..part.entry.size);
    let etag = part.etag();
    let range = (!plain).then_some((&gap, etag.as_deref()));
    let mut answer = source.client.attempt(&url, about, range)?;
    let found = strong_etag(&answer);
    match (answer.status(), plain) {
        (StatusCode::PARTIAL_CONTENT, _) => check_range(source, work, &answer, &gap)?,
        (_, true) => {}
        // Ranges are not done here, or the content is another than the one that was begun.
        (_, false) => {
            if !work.make_whole() {
                return Err(Stop::Outdated);
            }
        }
    }
    if part.entry.hash.is_none() && etag.is_some() && etag != found {
        // Where there is a hash, it tells whether the content is another one; file stores name one content twice.
        let changed = source.client.broken(about, "is of another content than the one before");
        return Err(Failure::Final(changed).into());
    }
    if let Some(found) = &found {
        part.set_etag(found).map_err(Failure::Final)?;
    }
    let from = if answer.status() == StatusCode::PARTIAL_CONTENT { gap } else { 0..part.entry.size };
    stream(source, work, &mut answer, from, fresh)
}

/// The validator, if it stands for the very bytes.
fn strong_etag(answer: &Response) -> Option<String> {
    let etag = answer.headers().get(ETAG)?.to_str().ok()?;
    etag.starts_with('"').then(|| etag.to_string())
}

/// The range that came must begin where the one that was asked for does, in a file of the listing's size.
fn check_range(source: &Source, work: &Work, answer: &Response, asked: &Range<u64>) -> Result<(), Failure> {
    let text = answer.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let size = work.part.entry.size;
    let right = content_range(text).is_some_and(|(came, of)| {
        came.start == asked.start && came.end <= asked.end && of.is_none_or(|of| of == size)
    });
    match right {
        true => Ok(()),
        false => Err(Failure::NoRange(
            source.client.broken(source.about(work.part.name()), "is another range than was asked for"),
        )),
    }
}

/// `bytes 0-9/100` or `bytes 0-9/*`.
fn content_range(text: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let size = match size {
        "*" => None,
        size => Some(size.parse().ok()?),
    };
    Some((first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?, size))
}

/// Writes the body, which is the stretch `range` of the file, piece by piece.
fn stream(
    source: &Source,
    work: &Work,
    answer: &mut Response,
    range: Range<u64>,
    fresh: &mut u64,
) -> Result<(), Stop> {
    let mut piece = vec![0; PIECE];
    let (mut start, mut filled) = (range.start, 0);
    let mut written = Instant::now();
    loop {
        // What is left of the range, if it is less than the piece has room for.
        let room = usize::try_from(range.end - start).unwrap_or(PIECE).min(PIECE);
        let read = answer.read(&mut piece[filled..room]);
        if let Ok(n) = &read {
            filled += n;
        }
        let last = start + filled as u64 == range.end;
        if last {
            end(source, work, answer)?;
        }
        let over = last || !matches!(read, Ok(1..));
        if over || filled == room || written.elapsed() >= LATEST {
            *fresh += work.part.write(work.attempt, start, &piece[..filled])?;
            source.count(filled);
            (start, filled, written) = (start + filled as u64, 0, Instant::now());
        }
        match read {
            _ if last => return Ok(()),
            Ok(0) => return Err(cut(work, "the connection was closed").into()),
            Err(e) => return Err(cut(work, innermost(&e)).into()),
            Ok(_) => {}
        }
    }
}

/// All bytes are here. The end of the body is read, so that the connection can be used again. Where no hash will tell
/// whether the file is right, there must be one.
fn end(source: &Source, work: &Work, answer: &mut Response) -> Result<(), Failure> {
    let more = matches!(answer.read(&mut [0]), Ok(1..));
    match more && work.part.entry.hash.is_none() && answer.status() == StatusCode::OK {
        true => Err(Failure::Passing(
            source.client.broken(
                source.about(work.part.name()),
                format!("is longer than the {} bytes that the listing says", work.part.entry.size),
            ),
            None,
        )),
        false => Ok(()),
    }
}

fn cut(work: &Work, cause: impl Into<String>) -> Failure {
    let (file, here, size) = (work.part.name().clone(), work.part.here(), work.part.entry.size);
    Failure::Passing(Error::Cut { file, here, size, cause: cause.into() }, None)
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

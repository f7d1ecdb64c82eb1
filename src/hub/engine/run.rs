//! Runs a download: starts the workers, receives their messages, and passes them to the report.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use super::board::{Board, CONNECTIONS, Next};
use super::event::Event;
use super::part::Part;
use super::ramp::Ramp;
use super::source::Source;
use super::{follow, worker};
use crate::hub::client::Client;
use crate::hub::{Commit, Digest, DownloadReport, Entry, Error, RepoId};
use crate::system::files::Folder;
use crate::system::threads;

/// Interval between calls of the report, and between checks for an end.
const TICK: Duration = Duration::from_millis(100);

/// A set of files to fetch.
#[derive(Debug)]
pub(in crate::hub) struct Job<'a> {
    pub client: &'a Client,
    pub repo: &'a RepoId,
    pub commit: &'a Commit,
    pub folder: &'a Folder,
    pub entries: &'a [Entry],
    /// Another thread sets it to end the download.
    pub stop: &'a AtomicBool,
}

/// Fetches the entries of `job`, and calls `finished` with the sha256 of each once the file has its final name.
///
/// # Errors
/// The hub refuses, a file was damaged twice, the disk fails, [`Error::Interrupted`], or an error of `finished`. The
/// fetched bytes stay, and a later run continues with them.
pub(in crate::hub) fn run(
    job: &Job<'_>,
    report: &mut dyn DownloadReport,
    finished: &mut dyn FnMut(&Entry, Digest) -> Result<(), Error>,
) -> Result<(), Error> {
    let source = Arc::new(Source::new(job.client, job.repo, job.commit));
    let board = Arc::new(Board::new(job.folder, job.entries, job.client.segment()));
    let outcome = watch(job, &source, &board, report, finished);
    board.stop();
    outcome
}

/// Starts the workers and receives their messages until all files are complete.
fn watch(
    job: &Job<'_>,
    source: &Arc<Source>,
    board: &Arc<Board>,
    report: &mut dyn DownloadReport,
    finished: &mut dyn FnMut(&Entry, Digest) -> Result<(), Error>,
) -> Result<(), Error> {
    let (sender, events) = mpsc::channel();
    for started in 0..CONNECTIONS {
        let (source, board, sender) = (source.clone(), board.clone(), sender.clone());
        let worker = worker::buffer(job.folder.path()).and_then(|mut piece| {
            start(job.folder.path(), move || work(&source, &board, &mut piece, &sender))
        });
        match worker {
            Err(error) if started == 0 => return Err(error),
            // With little memory there are fewer connections.
            Err(_) => break,
            Ok(()) => {}
        }
    }
    // Only the threads' own senders remain, so that receiving ends with the threads.
    drop(sender);
    let mut running: Vec<Arc<Part>> = Vec::new();
    let mut left = job.entries.len();
    let mut last_note = String::new();
    let mut ramp = Ramp::new();
    while left > 0 {
        if job.stop.load(Ordering::SeqCst) {
            return Err(Error::Interrupted);
        }
        match events.recv_timeout(TICK) {
            // Several connections that fail for one reason are reported once.
            Ok(Event::Note(note)) if note == last_note => {}
            Ok(Event::Note(note)) => {
                report.note(&note);
                last_note = note;
            }
            Ok(Event::Begun(part)) => {
                report.begin(part.name(), part.entry.size, part.here());
                running.push(part);
            }
            Ok(Event::Finished(part, sha256)) => {
                running.retain(|r| !Arc::ptr_eq(r, &part));
                report.progress(part.name(), part.entry.size);
                report.end(part.name());
                finished(&part.entry, sha256)?;
                left -= 1;
            }
            Ok(Event::Failed(error)) => return Err(error),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Error::Interrupted),
        }
        source.client.silence().notice().into_iter().for_each(|notice| report.note(&notice));
        running.iter().for_each(|part| report.progress(part.name(), part.here()));
        if let Some(passed) = ramp.is_due() {
            let rate = source.take_count() as f64 / passed.as_secs_f64();
            board.allow(|busy| ramp.decide(busy, rate));
        }
    }
    Ok(())
}

/// Stack size of a thread. The default is four times as large, and address space may be limited.
const STACK: usize = 512 << 10;

/// Starts a thread of the download. The thread is never joined, since it may hang in a connection. It writes nothing
/// after the board has been stopped.
fn start(folder: &Path, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = threads::builder("download", STACK).and_then(|thread| thread.spawn(run));
    thread.map(drop).map_err(Error::io("start a thread to download to", folder))
}

/// Runs a worker, which takes tasks from the board until none is left.
fn work(source: &Arc<Source>, board: &Arc<Board>, piece: &mut [u8], sender: &Sender<Event>) {
    // Sending fails once the download has ended, which does no harm.
    let send = |event| drop(sender.send(event));
    let failed = loop {
        let outcome = match board.next() {
            Ok(Some(Next::Fetch(mut work))) => {
                let outcome = worker::fetch(source, board, &mut work, piece, &send);
                if outcome.is_err() {
                    // The board stops before the range returns to it; otherwise another worker would retry the range.
                    board.stop();
                }
                outcome
            }
            Ok(Some(Next::Follow(part))) => follow_in_thread(board, part, sender),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            break error;
        }
    };
    send(Event::Failed(failed));
}

fn follow_in_thread(board: &Arc<Board>, part: Arc<Part>, sender: &Sender<Event>) -> Result<(), Error> {
    let (board, sender, folder) = (board.clone(), sender.clone(), board.folder().path().to_path_buf());
    start(&folder, move || {
        let send = |event| drop(sender.send(event));
        send(Event::Begun(part.clone()));
        match follow::follow(&board, &part, &send) {
            Ok(Some(sha256)) => send(Event::Finished(part, sha256)),
            Ok(None) => {}
            Err(error) => send(Event::Failed(error)),
        }
    })
}

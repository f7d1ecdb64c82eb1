//! What of a partial file is on disk, so that a later run goes on where this one stopped, however it stopped.
//!
//! A text file beside the partial file: a line that says of what content the pieces are, then a line for each
//! piece, appended after the piece was written. A torn last line is a piece that is fetched again. After a power
//! cut the journal can be ahead of the data; the hash of the whole file finds that out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::ranges::Ranges;
use crate::hub::listing::Entry;

/// A line is less than 50 bytes and stands for a piece of [`super::worker::PIECE`] bytes, less at the end of a connection.
const MAX_BYTES: u64 = 64 << 20;

/// What an earlier run left of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remains {
    /// The bytes that are on disk.
    pub have: Ranges,
    /// The validator that their server gave.
    pub etag: Option<String>,
}

impl Remains {
    /// What is there of `entry`: nothing where the journal is of another content, or where no hash would find a
    /// wrong piece.
    pub fn of(entry: &Entry, partial: &Path, journal: &Path) -> Self {
        let read = || {
            let length = fs::metadata(partial).ok().filter(fs::Metadata::is_file)?.len();
            let mut text = String::new();
            File::open(journal).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
            parse(&text, &heading(entry)?, length.min(entry.size))
        };
        read().unwrap_or_default()
    }
}

/// The first line. It names the content and not the commit: two commits that hold the same file share its pieces.
fn heading(entry: &Entry) -> Option<String> {
    entry.hash.map(|hash| format!("mist 1 {} bytes, {hash}\n", entry.size))
}

/// The lines up to the first that is not one of ours; pieces beyond `limit` do not count.
fn parse(text: &str, heading: &str, limit: u64) -> Option<Remains> {
    let mut remains = Remains::default();
    for line in text.strip_prefix(heading)?.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else { break };
        if let Some(etag) = line.strip_prefix("etag ") {
            remains.etag = Some(etag.to_string());
            continue;
        }
        let piece = line.split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse::<u64>().ok()?)));
        let Some((start, end)) = piece else { break };
        remains.have.insert(start..end.min(limit));
    }
    Some(remains)
}

/// The journal of a file that is being fetched.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// `None` for a file without a hash: it is never continued.
    file: Option<File>,
}

impl Journal {
    /// Begins a journal with what remains, in place of the one at `path`.
    pub fn begin(path: &Path, entry: &Entry, remains: &Remains) -> io::Result<Self> {
        let mut journal = Self { path: path.to_path_buf(), file: None };
        let Some(mut text) = heading(entry) else {
            journal.remove();
            return Ok(journal);
        };
        if let Some(etag) = &remains.etag {
            text += &format!("etag {etag}\n");
        }
        text.extend(remains.have.iter().map(|r| format!("{} {}\n", r.start, r.end)));
        // Whole or not at all: a torn one would lose what is on disk. Under a fixed name, as a killed run leaves it.
        let new = path.with_added_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, path)?;
        journal.file = Some(OpenOptions::new().append(true).open(path)?);
        Ok(journal)
    }

    /// Nothing is there any more.
    pub fn begin_anew(&mut self, entry: &Entry) -> io::Result<()> {
        self.file = None;
        *self = Self::begin(&self.path, entry, &Remains::default())?;
        Ok(())
    }

    /// `piece` is on disk.
    pub fn add(&mut self, piece: Range<u64>) -> io::Result<()> {
        self.line(&format!("{} {}\n", piece.start, piece.end))
    }

    /// The server's validator.
    pub fn etag(&mut self, etag: &str) -> io::Result<()> {
        self.line(&format!("etag {etag}\n"))
    }

    /// In one call, so that a killed process leaves whole lines and at most one torn one.
    fn line(&mut self, line: &str) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(line.as_bytes()))
    }

    /// The file is whole, or has to begin anew.
    pub fn remove(&mut self) {
        self.file = None;
        // One that stays is of no partial file and is not read.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Digest, Hash};

    fn entry(hash: u8) -> Entry {
        Entry { name: "x".parse().unwrap(), size: 100, hash: Some(Hash::Sha256(Digest([hash; 32]))) }
    }

    #[test]
    fn pieces_are_found_again_after_any_cut_of_the_journal() {
        let root = tempfile::tempdir().unwrap();
        let (partial, path) = (root.path().join("partial"), root.path().join("journal"));
        fs::write(&partial, [0; 100]).unwrap();
        let mut journal = Journal::begin(&path, &entry(1), &Remains::default()).unwrap();
        let pieces = [(0, 10), (50, 60), (10, 20), (60, 100)];
        journal.etag("\"abc\"").unwrap();
        for (start, end) in pieces {
            journal.add(start..end).unwrap();
        }
        drop(journal);
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let have = Remains::of(&entry(1), &partial, &path).have;
            let mut expected = Ranges::default();
            let lines = String::from_utf8_lossy(&whole[..cut]).matches('\n').count();
            pieces.iter().take(lines.saturating_sub(2)).for_each(|p| expected.insert(p.0..p.1));
            assert_eq!(have, expected, "cut at {cut}");
            // A journal that goes on after a cut says the same.
            let again = Journal::begin(&path, &entry(1), &Remains { have, etag: None }).unwrap();
            drop(again);
            assert_eq!(Remains::of(&entry(1), &partial, &path).have, expected);
        }
    }

    #[test]
    fn pieces_of_another_content_or_beyond_the_partial_file_do_not_count() {
        let root = tempfile::tempdir().unwrap();
        let (partial, path) = (root.path().join("partial"), root.path().join("journal"));
        fs::write(&partial, [0; 70]).unwrap();
        let mut journal = Journal::begin(&path, &entry(1), &Remains::default()).unwrap();
        journal.add(60..80).unwrap();
        journal.add(90..100).unwrap();
        assert_eq!(Remains::of(&entry(2), &partial, &path).have, Ranges::default());
        assert_eq!(Remains::of(&entry(1), &partial, &path).have.iter().next(), Some(60..70));
        fs::remove_file(&partial).unwrap();
        assert_eq!(Remains::of(&entry(1), &partial, &path).have, Ranges::default());
    }

    #[test]
    fn a_file_without_a_hash_is_never_continued() {
        let root = tempfile::tempdir().unwrap();
        let (partial, path) = (root.path().join("partial"), root.path().join("journal"));
        fs::write(&partial, [0; 100]).unwrap();
        let unknown = Entry { hash: None, ..entry(1) };
        Journal::begin(&path, &unknown, &Remains::default()).unwrap().add(0..10).unwrap();
        assert!(!path.exists());
        assert_eq!(Remains::of(&unknown, &partial, &path).have, Ranges::default());
    }
}

//! Records which pieces of a partial file are on disk, so that a later run continues where this one stopped.
//!
//! The journal is a text file beside the partial file. Its first line identifies the content; then comes a line for each
//! piece, appended after the piece was written. A piece whose line is torn is fetched again. After a power cut the journal
//! can be ahead of the data, which the hash of the whole file detects.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::Range;
use std::path::Path;

use reqwest::header::HeaderValue;

use super::ranges::Ranges;
use crate::hub::Entry;
use crate::hub::folder;
use crate::system::files::Folder;

/// Maximum size of a journal in bytes. A line has less than 50 bytes and stands for a piece of [`super::worker::PIECE`]
/// bytes, or fewer at the end of a connection.
const MAX_BYTES: u64 = 64 << 20;
/// Maximum length of a line in bytes.
const LONGEST_LINE: u64 = 4 << 10;
/// Maximum length of a validator in bytes.
const LONGEST_ETAG: usize = 1 << 10;
/// Maximum number of ranges of a file, more than several connections leave.
const MOST_STRETCHES: usize = 1 << 16;

/// What an earlier run left of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remains {
    /// The ranges of bytes that are on disk.
    pub have: Ranges,
    /// The validator that the server gave for them.
    pub etag: Option<String>,
}

impl Remains {
    /// Finds what an earlier run left of `entry`.
    pub fn of(entry: &Entry, folder: &Folder) -> Self {
        let partial = folder.read(folder::partial(&entry.name)).and_then(|file| file.metadata());
        partial.map_or_else(|_| Self::default(), |partial| Self::in_partial(partial.len(), entry, folder))
    }

    /// Finds what an earlier run left of `entry` in a partial file of this length: nothing if the journal is for
    /// another content or cannot be used, or if no hash would detect a wrong piece.
    pub fn in_partial(length: u64, entry: &Entry, folder: &Folder) -> Self {
        let read = || {
            let heading = heading(entry)?;
            let journal = folder.read(folder::journal(&entry.name)).ok()?;
            parse(BufReader::new(journal.take(MAX_BYTES)), &heading, length.min(entry.size))
        };
        read().unwrap_or_default()
    }
}

/// Returns the number of bytes of `entry` that an earlier run left in `folder`.
pub(in crate::hub) fn here(folder: &Path, entry: &Entry) -> u64 {
    Folder::open(folder).map_or(0, |folder| Remains::of(entry, &folder).have.total())
}

/// Returns the number of bytes of `entry` that the text of a journal lists, for a partial file of `length` bytes.
pub(in crate::hub) fn said(entry: &Entry, text: &str, length: u64) -> u64 {
    let remains = heading(entry).and_then(|heading| parse(text.as_bytes(), &heading, length.min(entry.size)));
    remains.map_or(0, |remains| remains.have.total())
}

/// Returns whether a validator can be stored, and sent to a server.
pub(super) fn is_etag(text: &str) -> bool {
    text.starts_with('"')
        && text.len() <= LONGEST_ETAG
        && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && HeaderValue::from_str(text).is_ok()
}

/// Returns the first line. It names the content and not the commit, so that two commits with the same file share its
/// pieces.
pub(in crate::hub) fn heading(entry: &Entry) -> Option<String> {
    entry.hash.map(|hash| format!("mist 1 {} bytes, {hash}\n", entry.size))
}

/// Reads lines up to the first malformed one; pieces beyond `limit` do not count. `None` for a journal of another
/// content, or a file that is not a journal.
fn parse(mut journal: impl BufRead, heading: &str, limit: u64) -> Option<Remains> {
    let mut remains = Remains::default();
    if line(&mut journal)? != heading.strip_suffix('\n')? {
        return None;
    }
    while let Some(line) = line(&mut journal) {
        if let Some(etag) = line.strip_prefix("etag ") {
            remains.etag = Some(is_etag(etag).then(|| etag.to_string())?);
            continue;
        }
        let piece = line.split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse::<u64>().ok()?)));
        let Some((start, end)) = piece else { break };
        remains.have.insert(start..end.min(limit));
        if remains.have.count() > MOST_STRETCHES {
            return None;
        }
    }
    Some(remains)
}

/// Reads the next line without its end; `None` if it is torn, too long or not text.
fn line(journal: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    journal.take(LONGEST_LINE).read_until(b'\n', &mut line).ok()?;
    String::from_utf8(line).ok()?.strip_suffix('\n').map(str::to_string)
}

/// The journal of a file that is being fetched.
#[derive(Debug)]
pub(super) struct Journal {
    folder: Folder,
    name: String,
    /// `None` for a file without a hash, which is never continued.
    file: Option<File>,
}

impl Journal {
    /// Starts the journal of `entry` with what an earlier run left, and replaces an earlier journal.
    pub fn begin(folder: &Folder, entry: &Entry, remains: &Remains) -> io::Result<Self> {
        let mut journal = Self { folder: folder.clone(), name: folder::journal(&entry.name), file: None };
        let Some(mut text) = heading(entry) else {
            journal.remove();
            return Ok(journal);
        };
        if let Some(etag) = &remains.etag {
            text += &format!("etag {etag}\n");
        }
        text.extend(remains.have.iter().map(|r| format!("{} {}\n", r.start, r.end)));
        // Written completely or not at all, since a torn journal would lose pieces on disk. The name is fixed, so that
        // a later run replaces the file that a killed run leaves.
        let new = format!("{}.new", journal.name);
        let mut file = folder.create(&new, 0o666)?;
        file.write_all(text.as_bytes())?;
        folder.rename(&new, &journal.name)?;
        journal.file = Some(file);
        Ok(journal)
    }

    /// Records that no piece is on disk.
    pub fn restart(&mut self, entry: &Entry) -> io::Result<()> {
        self.file = None;
        *self = Self::begin(&self.folder, entry, &Remains::default())?;
        Ok(())
    }

    /// Records that `piece` is on disk.
    pub fn add(&mut self, piece: Range<u64>) -> io::Result<()> {
        self.line(&format!("{} {}\n", piece.start, piece.end))
    }

    /// Records the server's validator.
    pub fn etag(&mut self, etag: &str) -> io::Result<()> {
        self.line(&format!("etag {etag}\n"))
    }

    /// Writes in one call, so that a killed process leaves complete lines and at most one torn line.
    fn line(&mut self, line: &str) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(line.as_bytes()))
    }

    /// Deletes the journal of a file that is complete or is fetched again.
    pub fn remove(&mut self) {
        self.file = None;
        // A journal that is left has no partial file and is not read.
        let _ = self.folder.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::hub::{Digest, Hash};

    fn entry(hash: u8) -> Entry {
        Entry { name: "x".parse().unwrap(), size: 100, hash: Some(Hash::Sha256(Digest([hash; 32]))) }
    }

    /// Returns a folder with a partial file of that many bytes, and the path of the journal.
    fn folder(partial: usize) -> (tempfile::TempDir, Folder, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(".x.partial"), vec![0; partial]).unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let journal = root.path().join(".x.journal");
        (root, folder, journal)
    }

    #[test]
    fn pieces_are_found_again_after_any_cut_of_the_journal() {
        let (_root, folder, path) = folder(100);
        let mut journal = Journal::begin(&folder, &entry(1), &Remains::default()).unwrap();
        let pieces = [(0, 10), (50, 60), (10, 20), (60, 100)];
        journal.etag("\"abc\"").unwrap();
        for (start, end) in pieces {
            journal.add(start..end).unwrap();
        }
        drop(journal);
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let have = Remains::of(&entry(1), &folder).have;
            let mut expected = Ranges::default();
            let lines = String::from_utf8_lossy(&whole[..cut]).matches('\n').count();
            pieces.iter().take(lines.saturating_sub(2)).for_each(|p| expected.insert(p.0..p.1));
            assert_eq!(have, expected, "cut at {cut}");
            // A journal that is continued after a cut lists the same pieces.
            let again = Journal::begin(&folder, &entry(1), &Remains { have, etag: None }).unwrap();
            drop(again);
            assert_eq!(Remains::of(&entry(1), &folder).have, expected);
        }
    }

    #[test]
    fn pieces_of_another_content_or_beyond_the_partial_file_do_not_count() {
        let (root, folder, _) = folder(70);
        let mut journal = Journal::begin(&folder, &entry(1), &Remains::default()).unwrap();
        journal.add(60..80).unwrap();
        journal.add(90..100).unwrap();
        assert_eq!(Remains::of(&entry(2), &folder).have, Ranges::default());
        assert_eq!(Remains::of(&entry(1), &folder).have.iter().next(), Some(60..70));
        fs::remove_file(root.path().join(".x.partial")).unwrap();
        assert_eq!(Remains::of(&entry(1), &folder).have, Ranges::default());
    }

    #[test]
    fn a_file_without_a_hash_is_never_continued() {
        let (_root, folder, path) = folder(100);
        let unknown = Entry { hash: None, ..entry(1) };
        Journal::begin(&folder, &unknown, &Remains::default()).unwrap().add(0..10).unwrap();
        assert!(!path.exists());
        assert_eq!(Remains::of(&unknown, &folder).have, Ranges::default());
    }

    #[test]
    fn a_journal_that_cannot_be_used_is_as_none() {
        let (_root, folder, path) = folder(100);
        let heading = heading(&entry(1)).unwrap();
        let many: String = (0..=MOST_STRETCHES).map(|i| format!("{} {}\n", 2 * i, 2 * i + 1)).collect();
        let huge = Entry { size: u64::MAX, ..entry(1) };
        let of = |entry: &Entry, text: &str| {
            fs::write(&path, text).unwrap();
            Remains::in_partial(entry.size, entry, &folder)
        };
        assert_eq!(of(&entry(1), &format!("{heading}etag \"a\"\n0 10\n")).have.total(), 10);
        let long = format!("\"{}\"", "a".repeat(LONGEST_ETAG));
        for etag in ["\"a\u{1}\"", "\"a\r\"", "\"\u{e9}\"", "W/\"a\"", "", "\0", &long] {
            let remains = of(&entry(1), &format!("{heading}0 10\netag {etag}\n10 20\n"));
            assert_eq!((remains.have.total(), remains.etag), (0, None), "{etag:?}");
        }
        let huge_heading = super::heading(&huge).unwrap();
        assert_eq!(of(&huge, &format!("{huge_heading}{many}")).have.total(), 0);
        for (line, kept) in [("20 30 40", 10), ("20", 10), ("-1 30", 10), ("30 20\n20 30", 20), ("é é", 10)]
        {
            assert_eq!(of(&entry(1), &format!("{heading}0 10\n{line}\n")).have.total(), kept, "{line}");
        }
        // A new journal replaces the malformed one.
        let mut journal = Journal::begin(&folder, &entry(1), &Remains::default()).unwrap();
        journal.add(0..5).unwrap();
        assert_eq!(Remains::of(&entry(1), &folder).have.total(), 5);
    }
}

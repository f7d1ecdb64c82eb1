//! Reads the zip archives that `torch.save` writes: uncompressed entries, found through the central directory.
//!
//! Follows PKWARE's APPNOTE 6.3.10 (sections 4.3 and 4.5.3), with stricter rules: one disk, no comment, no gap before
//! the directory's end, no compression, no repeated or overlapping entries, and each entry's local header must agree
//! with the directory. The `zip` crate keeps the last of two entries with one name and does not check for overlaps, so
//! this program and a scanner could see different contents of one file.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

use crate::checkpoint::Error;
use crate::checkpoint::tensors::MOST_TENSORS;

/// Maximum number of entries: a storage for each tensor, and a few small entries.
const MOST_ENTRIES: u64 = MOST_TENSORS as u64 + 64;

/// Sizes in bytes without variable fields: end record, zip64 locator, zip64 end record, directory header, local header.
const END: usize = 22;
const LOCATOR: usize = 20;
const WIDE_END: usize = 56;
const HEADER: usize = 46;
const LOCAL: usize = 30;

/// Flags of an encrypted entry, and of an entry whose sizes follow its data.
const ENCRYPTED: u16 = 1;
const SIZES_AFTER_DATA: u16 = 1 << 3;

/// The contents of an archive: each entry's data by its name.
pub struct Archive(BTreeMap<String, Bytes>);

impl Archive {
    /// Reads the directory and checks every entry against it.
    ///
    /// # Errors
    /// The archive breaks a rule of the module.
    pub fn read(path: &Path, bytes: &Bytes) -> Result<Self, Error> {
        let reader = Reader { path, bytes };
        let directory = reader.directory()?;
        let mut entries = BTreeMap::new();
        let mut spans = Vec::new();
        let mut at = directory.start;
        for _ in 0..directory.count {
            let entry = reader.entry(at, directory.end)?;
            at = entry.next;
            let (start, end) = reader.span(&entry, directory.start)?;
            spans.push((entry.local, end));
            if entries.insert(entry.name.clone(), bytes.slice(start..end)).is_some() {
                return Err(reader.malformed(format!("there are two entries named {}", entry.name)));
            }
        }
        if at != directory.end {
            return Err(reader.malformed("the archive's directory holds more than its entries"));
        }
        spans.sort_unstable();
        match spans.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            true => Err(reader.malformed("two entries of the archive overlap")),
            false => Ok(Self(entries)),
        }
    }

    /// Returns an entry's data.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.get(name)
    }

    /// Returns the names of all entries.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The directory's position in the file, and its number of headers.
struct Directory {
    start: usize,
    end: usize,
    count: u64,
}

/// An entry as the directory describes it.
struct Entry {
    name: String,
    local: usize,
    size: usize,
    flags: u16,
    /// Position of the next directory header.
    next: usize,
}

struct Reader<'a> {
    path: &'a Path,
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn malformed(&self, rule: impl Into<String>) -> Error {
        Error::malformed(self.path, rule)
    }

    fn cut(&self) -> Error {
        self.malformed("is not a whole zip archive: its directory is missing or cut short")
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], Error> {
        self.bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or_else(|| self.cut())
    }

    fn u16(&self, at: usize) -> Result<u16, Error> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Result<u32, Error> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64, Error> {
        self.array(at).map(u64::from_le_bytes)
    }

    /// Finds the directory by the end record and by the zip64 record before it, which torch always writes.
    fn directory(&self) -> Result<Directory, Error> {
        let end = self.bytes.len().checked_sub(END).ok_or_else(|| self.cut())?;
        if self.array(end)? != *b"PK\x05\x06" {
            return Err(self.cut());
        }
        let narrow = [self.u16(end + 10)?.into(), self.u32(end + 12)?.into(), self.u32(end + 16)?.into()];
        let locator = end.checked_sub(LOCATOR).filter(|at| self.bytes[*at..].starts_with(b"PK\x06\x07"));
        let ([count, size, start], closes) = match locator {
            None => (narrow, end),
            Some(locator) => {
                let wide_end = locator.checked_sub(WIDE_END).ok_or_else(|| self.cut())?;
                if self.u64(locator + 8)? != wide_end as u64 || self.array(wide_end)? != *b"PK\x06\x06" {
                    return Err(self.cut());
                }
                let wide = [self.u64(wide_end + 32)?, self.u64(wide_end + 40)?, self.u64(wide_end + 48)?];
                let full = [u64::from(u16::MAX), u64::from(u32::MAX), u64::from(u32::MAX)];
                if (0..3).any(|i| narrow[i] != full[i] && narrow[i] != wide[i]) {
                    return Err(self.malformed("the archive's two end records differ"));
                }
                (wide, wide_end)
            }
        };
        if start.checked_add(size) != Some(closes as u64) {
            return Err(self.cut());
        }
        if count > MOST_ENTRIES || count > size / HEADER as u64 {
            return Err(self.malformed(format!(
                "the archive promises {count} entries, more than its directory can hold or the limit of {MOST_ENTRIES}"
            )));
        }
        // The directory lies within the mapped file, so both numbers fit into `usize`.
        Ok(Directory { start: start as usize, end: closes, count })
    }

    /// Reads the directory header at `at`; the directory ends at `end`.
    fn entry(&self, at: usize, end: usize) -> Result<Entry, Error> {
        if end - at < HEADER || self.array(at)? != *b"PK\x01\x02" {
            return Err(self.cut());
        }
        let [name_length, extra_length, comment_length] =
            [self.u16(at + 28)?, self.u16(at + 30)?, self.u16(at + 32)?].map(usize::from);
        let (name_at, extra_at) = (at + HEADER, at + HEADER + name_length);
        let next = extra_at + extra_length + comment_length;
        if next > end {
            return Err(self.cut());
        }
        let name = str::from_utf8(&self.bytes[name_at..extra_at])
            .map_err(|_| self.malformed("an entry's name is not UTF-8"))?;
        let (flags, method) = (self.u16(at + 8)?, self.u16(at + 10)?);
        if method != 0 || flags & ENCRYPTED != 0 {
            let what = format!("the entry {name}, compressed or encrypted (torch.save writes neither)");
            return Err(Error::unsupported(self.path, what));
        }
        let narrow = [self.u32(at + 24)?, self.u32(at + 20)?, self.u32(at + 42)?];
        let wide = self.widened(narrow, &self.bytes[extra_at..extra_at + extra_length]);
        let [size, stored, local] =
            wide.ok_or_else(|| self.malformed(format!("the entry {name} lacks its sizes of 64 bits")))?;
        if size != stored {
            return Err(self.malformed(format!("the entry {name} has two sizes: {size} and {stored} bytes")));
        }
        let beyond = || self.malformed(format!("the entry {name} reaches beyond the archive's entries"));
        Ok(Entry {
            name: name.into(),
            local: usize::try_from(local).map_err(|_| beyond())?,
            size: usize::try_from(size).map_err(|_| beyond())?,
            flags,
            next,
        })
    }

    /// Widens numbers to 64 bits. A number whose bits are all ones is taken from the zip64 extra field (id 1).
    fn widened(&self, narrow: [u32; 3], mut extra: &[u8]) -> Option<[u64; 3]> {
        let mut numbers = narrow.map(u64::from);
        if !narrow.contains(&u32::MAX) {
            return Some(numbers);
        }
        loop {
            let ([id0, id1, length0, length1], rest) = extra.split_first_chunk()?;
            let (field, rest) = rest.split_at_checked(u16::from_le_bytes([*length0, *length1]).into())?;
            extra = rest;
            if [*id0, *id1] != [1, 0] {
                continue;
            }
            let mut wide = field.chunks_exact(8);
            for number in numbers.iter_mut().filter(|n| **n == u64::from(u32::MAX)) {
                *number = u64::from_le_bytes(wide.next()?.try_into().ok()?);
            }
            return Some(numbers);
        }
    }

    /// Returns the start and the end of an entry's data. Checks that the data ends before the directory, which begins
    /// at `limit`, and that the entry's local header agrees with the directory.
    fn span(&self, entry: &Entry, limit: usize) -> Result<(usize, usize), Error> {
        let Entry { name, local: at, size, flags, .. } = entry;
        let beyond = || self.malformed(format!("the entry {name} reaches beyond the archive's entries"));
        let name_at = at.checked_add(LOCAL).filter(|end| *end <= limit).ok_or_else(beyond)?;
        let sizes = [self.u32(at + 18)?, self.u32(at + 22)?];
        let (name_length, extra_length) = (self.u16(at + 26)?, self.u16(at + 28)?);
        let agrees = |stated: &u32| *stated == u32::MAX || u64::from(*stated) == *size as u64;
        let same = self.array(*at)? == *b"PK\x03\x04"
            && self.u16(at + 6)? == *flags
            && self.u16(at + 8)? == 0
            && (flags & SIZES_AFTER_DATA != 0 || sizes.iter().all(agrees))
            && usize::from(name_length) == name.len()
            && self.bytes[name_at..].starts_with(name.as_bytes());
        if !same {
            return Err(
                self.malformed(format!("the entry {name} differs from what the directory says of it"))
            );
        }
        let start = name_at + name.len() + usize::from(extra_length);
        let end = start.checked_add(*size).filter(|end| *end <= limit).ok_or_else(beyond)?;
        Ok((start, end))
    }
}

//! A reader that limits nesting and the length of strings in a stream. serde_json does not: it takes one byte for each
//! level of a skipped value, and keeps each string in memory as a whole.

use std::io::{self, Read};

/// Maximum depth of nesting. serde_json has the same limit for values that it builds.
const DEEPEST: usize = 128;
/// Maximum length of a string in bytes. The longest in published files are chat templates and normalizer tables of some
/// hundred KB.
const LONGEST: usize = 4 << 20;

/// Passes JSON through, and fails if it is nested too deep or has too long a string.
#[derive(Debug)]
pub(super) struct Guarded<R> {
    from: R,
    depth: usize,
    place: Place,
    begun: bool,
}

/// Where in the text the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Between,
    /// Within a string, after this number of bytes.
    String(usize),
    /// After a backslash in a string, with the same count.
    Escaped(usize),
}

impl<R: Read> Guarded<R> {
    pub fn new(from: R) -> Self {
        Self { from, depth: 0, place: Place::Between, begun: false }
    }

    fn see(&mut self, byte: u8) -> Result<(), &'static str> {
        self.place = match (self.place, byte) {
            (Place::Between, b'"') => Place::String(0),
            (Place::Between, b'[' | b'{') => {
                self.depth += 1;
                Place::Between
            }
            (Place::Between, b']' | b'}') => {
                self.depth = self.depth.saturating_sub(1);
                Place::Between
            }
            (Place::Between, _) | (Place::String(_), b'"') => Place::Between,
            (Place::String(length), b'\\') => Place::Escaped(length + 1),
            (Place::String(length) | Place::Escaped(length), _) => Place::String(length + 1),
        };
        match self.place {
            _ if self.depth > DEEPEST => Err("values nest more than 128 deep"),
            Place::String(length) if length > LONGEST => Err("a string is longer than 4194304 bytes"),
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        let mut read = &mut buffer[..count];
        // A byte order mark becomes white space for the parser.
        if !std::mem::replace(&mut self.begun, true)
            && let [0xEF, 0xBB, 0xBF, ..] = read
        {
            read[..3].fill(b' ');
            read = &mut read[3..];
        }
        let refused = read.iter().find_map(|byte| self.see(*byte).err());
        refused.map_or(Ok(count), |rule| Err(io::Error::new(io::ErrorKind::InvalidData, rule)))
    }
}

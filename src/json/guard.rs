//! What a reader in pieces cannot bound by itself: serde_json keeps a byte for each level of what it skips, and each
//! string whole.

use std::io::{self, Read};

/// Deepest nesting, which is also serde_json's for what is built.
const DEEPEST: usize = 128;
/// Longest string: the longest in a published file is a chat template or a normalizer's table, of some hundred KB.
const LONGEST: usize = 4 << 20;

/// Passes JSON on, and ends where it nests deeper or has a longer string than any file has.
#[derive(Debug)]
pub(super) struct Guarded<R> {
    from: R,
    depth: usize,
    place: Place,
    begun: bool,
}

/// Where in the text the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Between,
    /// Within a string of which so many bytes have passed.
    String(usize),
    /// Behind a backslash in it.
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
        // The mark of a file's beginning is white space to what comes after.
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

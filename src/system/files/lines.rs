//! Reads an input line by line, with a limit for the length of a line.

use std::io::{self, BufRead, Read};

use super::read::utf8;

/// An iterator over the lines of an input, without line ends, and without the byte order mark that programs on Windows
/// write. A line that is too long or not UTF-8 is an error.
#[derive(Debug)]
pub struct Lines<R> {
    source: R,
    longest: u64,
    is_first: bool,
}

impl<R: BufRead> Lines<R> {
    /// Reads lines of `source`, of at most `longest` bytes each.
    pub fn new(source: R, longest: u64) -> Self {
        Self { source, longest, is_first: true }
    }

    fn read(&mut self) -> io::Result<Option<String>> {
        let (mut line, longest) = (Vec::new(), self.longest);
        if self.source.by_ref().take(longest + 1).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line.len() as u64 > longest {
            let message = format!("a line is longer than {longest} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let mut line = utf8(line)?;
        line.truncate(line.trim_end_matches(['\n', '\r']).len());
        if std::mem::take(&mut self.is_first) && line.starts_with('\u{feff}') {
            line.drain(..'\u{feff}'.len_utf8());
        }
        Ok(Some(line))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<io::Result<String>> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_without_their_ends_and_the_last_needs_none() {
        let lines: Vec<String> =
            Lines::new("\u{feff}one\r\n\n  two \nthree".as_bytes(), 8).map(Result::unwrap).collect();
        assert_eq!(lines, ["one", "", "  two ", "three"]);
    }

    #[test]
    fn a_line_that_is_too_long_or_no_text_is_an_error() {
        let first = |text: &'static [u8]| Lines::new(text, 7).next().unwrap();
        assert_eq!(first(b"1234567").unwrap(), "1234567");
        assert!(first(b"12345678").is_err());
        assert!(first(b"\xff\n").is_err());
    }
}

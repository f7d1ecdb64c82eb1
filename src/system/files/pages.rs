//! Writing so that the system can keep a file in large pages.

use std::io::{self, Write};

/// Bytes of a large page, and of a piece of a file that such a page can hold.
const LARGE_PAGE: usize = 2 << 20;

/// Writes in whole pieces of 2 MiB, whatever runs it is given. Linux keeps what was written at once in one piece of
/// memory, where the file system can, and maps that as a large page: weights are then read from a map a quarter to a
/// half faster, and without a page fault for every 4 KiB. The last piece is written by [`finish`](Self::finish).
#[derive(Debug)]
pub struct InLargePages<W> {
    to: W,
    piece: Vec<u8>,
}

impl<W: Write> InLargePages<W> {
    /// Writes to the beginning of `to`.
    pub fn new(to: W) -> Self {
        Self { to, piece: Vec::with_capacity(LARGE_PAGE) }
    }

    /// Writes a run of bytes.
    ///
    /// # Errors
    /// What writing reports.
    pub fn write_all(&mut self, mut run: &[u8]) -> io::Result<()> {
        while !run.is_empty() {
            let (now, later) = run.split_at(run.len().min(LARGE_PAGE - self.piece.len()));
            self.piece.extend_from_slice(now);
            run = later;
            if self.piece.len() == LARGE_PAGE {
                self.to.write_all(&self.piece)?;
                self.piece.clear();
            }
        }
        Ok(())
    }

    /// Writes what is left, and gives back what was written to.
    ///
    /// # Errors
    /// What writing reports.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&self.piece)?;
        Ok(self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_any_length_are_written_in_whole_pieces() {
        #[derive(Default)]
        struct Sizes(Vec<usize>, Vec<u8>);
        impl Write for Sizes {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.push(bytes.len());
                self.1.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let bytes: Vec<u8> = (0..5 * LARGE_PAGE + 77).map(|i| (i * 7919 % 251) as u8).collect();
        let mut pages = InLargePages::new(Sizes::default());
        let mut rest = &bytes[..];
        for length in [1, 100, LARGE_PAGE, 3 * LARGE_PAGE, 0, usize::MAX] {
            let (run, later) = rest.split_at(length.min(rest.len()));
            pages.write_all(run).unwrap();
            rest = later;
        }
        let Sizes(sizes, written) = pages.finish().unwrap();
        assert!(written == bytes);
        assert_eq!(sizes, [&[LARGE_PAGE; 5][..], &[77]].concat());
    }
}

//! The permutation between the standard rows of blocks and the packed ones.

use rayon::prelude::*;

use crate::kernels::Scheme;

/// Rows that are interleaved: a strip.
pub const ROWS: usize = 16;

/// How a scheme's block is cut into the pieces that are interleaved: first `before` f16 numbers, then `words`
/// pieces of 4 bytes, then `after` f16 numbers.
struct Pieces {
    before: usize,
    words: usize,
    after: usize,
}

fn pieces(scheme: Scheme) -> Option<Pieces> {
    let (before, words, after) = match scheme {
        Scheme::Q4_0 => (1, 4, 0),
        Scheme::Q4_1 => (2, 4, 0),
        Scheme::Q5_0 => (1, 5, 0),
        Scheme::Q5_1 => (2, 5, 0),
        Scheme::Q8_0 => (1, 8, 0),
        Scheme::Q2K => (0, 20, 2),
        Scheme::Q3K => (0, 27, 1),
        Scheme::Q4K => (2, 35, 0),
        Scheme::Q5K => (2, 43, 0),
        Scheme::Q6K => (0, 52, 1),
        Scheme::F32 | Scheme::F16 | Scheme::Bf16 => return None,
    };
    Some(Pieces { before, words, after })
}

impl Pieces {
    /// Offset within the block and length of every piece.
    fn spans(&self) -> impl Iterator<Item = (usize, usize)> {
        let words = 2 * self.before;
        let after = words + 4 * self.words;
        let halves = |from: usize, count: usize| (0..count).map(move |i| (from + 2 * i, 2));
        halves(0, self.before)
            .chain((0..self.words).map(move |i| (words + 4 * i, 4)))
            .chain(halves(after, self.after))
    }
}

/// The rows of a matrix, `(rows, columns)`, in packed order: of every full strip of 16 rows the blocks
/// interleaved, then the rows left over as they were. As many bytes as before.
///
/// `None` if the scheme has no blocks, or the bytes are not those of the shape.
pub fn pack(scheme: Scheme, rows: usize, columns: usize, plain: &[u8]) -> Option<Vec<u8>> {
    permute(scheme, rows, columns, plain, |plain, packed, from, to| {
        to[packed].copy_from_slice(&from[plain]);
    })
}

/// The inverse of [`pack`].
///
/// `None` if the scheme has no blocks, or the bytes are not those of the shape.
pub fn unpack(scheme: Scheme, rows: usize, columns: usize, packed: &[u8]) -> Option<Vec<u8>> {
    permute(scheme, rows, columns, packed, |plain, packed, from, to| {
        to[plain].copy_from_slice(&from[packed]);
    })
}

type Span = std::ops::Range<usize>;

/// Copies each piece of each strip with `copy(place in plain rows, place in packed rows, from, to)`.
fn permute(
    scheme: Scheme,
    rows: usize,
    columns: usize,
    from: &[u8],
    copy: impl Fn(Span, Span, &[u8], &mut [u8]) + Sync,
) -> Option<Vec<u8>> {
    let pieces = pieces(scheme)?;
    let row_bytes = scheme.row_bytes(columns)?;
    if row_bytes.checked_mul(rows)? != from.len() {
        return None;
    }
    let mut to = from.to_vec();
    let strip_bytes = row_bytes * ROWS;
    if strip_bytes == 0 {
        return Some(to);
    }
    to.par_chunks_exact_mut(strip_bytes).zip(from.par_chunks_exact(strip_bytes)).for_each(|(to, from)| {
        for block in (0..row_bytes).step_by(scheme.block_bytes()) {
            for (offset, len) in pieces.spans() {
                for row in 0..ROWS {
                    let plain = row * row_bytes + block + offset;
                    let packed = (block + offset) * ROWS + row * len;
                    copy(plain..plain + len, packed..packed + len, from, to);
                }
            }
        }
    });
    Some(to)
}

/// One row's standard block out of the interleaved blocks of `rows` rows.
pub(super) fn gather(scheme: Scheme, interleaved: &[u8], rows: usize, row: usize, block: &mut [u8]) {
    let Some(pieces) = pieces(scheme) else { return };
    for (offset, len) in pieces.spans() {
        block[offset..offset + len].copy_from_slice(&interleaved[offset * rows + row * len..][..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemes() -> impl Iterator<Item = Scheme> {
        Scheme::all().filter(|s| !s.is_dense())
    }

    #[test]
    fn the_pieces_of_a_block_are_the_whole_block() {
        for scheme in schemes() {
            let mut end = 0;
            for (offset, len) in pieces(scheme).unwrap().spans() {
                assert_eq!(offset, end, "{scheme}");
                end += len;
            }
            assert_eq!(end, scheme.block_bytes(), "{scheme}");
        }
    }

    #[test]
    fn unpacking_undoes_packing_for_any_number_of_rows() {
        for scheme in schemes() {
            for rows in [0, 1, 15, 16, 17, 31, 32, 50] {
                let columns = 512;
                let count = scheme.row_bytes(columns).unwrap() * rows;
                let plain: Vec<u8> = (0..count).map(|i| (i * 7919 % 251) as u8).collect();
                let packed = pack(scheme, rows, columns, &plain).unwrap();
                assert_eq!(packed == plain, rows < ROWS, "{scheme} {rows}");
                assert_eq!(unpack(scheme, rows, columns, &packed).unwrap(), plain, "{scheme} {rows}");
            }
        }
    }

    #[test]
    fn sixteen_rows_lie_side_by_side_four_bytes_each() {
        let row_bytes = Scheme::Q8_0.block_bytes();
        let plain: Vec<u8> = (0..ROWS * row_bytes).map(|i| (i / row_bytes) as u8).collect();
        let packed = pack(Scheme::Q8_0, ROWS, 32, &plain).unwrap();
        let (scales, words) = packed.split_at(2 * ROWS);
        assert!(scales.iter().enumerate().all(|(i, row)| usize::from(*row) == i / 2));
        assert!(words.iter().enumerate().all(|(i, row)| usize::from(*row) == i / 4 % ROWS));
    }

    #[test]
    fn dense_rows_and_bytes_that_do_not_fit_the_shape_are_refused() {
        assert!(pack(Scheme::F32, 16, 32, &[0; 2048]).is_none());
        assert!(pack(Scheme::Q8_0, 16, 32, &[0; 543]).is_none());
        assert!(unpack(Scheme::Q4K, 16, 32, &[0; 288]).is_none());
    }
}

//! The order in which the rows of a quantized matrix are stored, and conversion between the orders.

use serde::{Deserialize, Serialize};

use super::interleave::{ROWS, copy, interleave, with_pieces};
use super::scheme::Scheme;
use crate::cpu::{self, pool};
use crate::system::pages;

/// The order in which rows are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// One row after another: dense weights, and blocks in every published file.
    #[default]
    Rows,
    /// Sixteen rows interleaved, as [`packed`](crate::kernels::packed) describes it: blocks in a converted
    /// checkpoint.
    #[serde(rename = "strips")]
    Panels,
}

/// Converts the rows of a matrix, `(rows, columns)`, to panels, on all threads.
///
/// The blocks of every 16 rows are interleaved; the rows after the last full panel keep their order. The number of
/// bytes stays the same. `None` if the scheme has no blocks, or if `plain` does not have the bytes of the shape.
pub fn pack(scheme: Scheme, rows: usize, columns: usize, plain: &[u8]) -> Option<Vec<u8>> {
    let row_bytes = scheme.row_bytes(columns)?;
    if scheme.is_dense() || row_bytes.checked_mul(rows)? != plain.len() {
        return None;
    }
    let mut packed = vec![0; plain.len()];
    pages::in_large_pages(&packed);
    let panel = (row_bytes * ROWS).max(1);
    pool::each_piece(&mut packed, panel, |i, packed| {
        let plain = &plain[i * panel..][..packed.len()];
        match packed.len() == panel {
            true => interleave(cpu::level(), scheme, plain, row_bytes, packed),
            false => packed.copy_from_slice(plain),
        }
    });
    Some(packed)
}

/// Extracts one row's standard blocks, as many as `blocks` holds, from the interleaved blocks of `rows` rows.
pub(crate) fn gather(scheme: Scheme, packed: &[u8], rows: usize, row: usize, blocks: &mut [u8]) {
    match rows {
        // A constant number of rows compiles to faster code.
        ROWS => with_pieces!(scheme, separate(packed, ROWS, row, blocks)),
        _ => with_pieces!(scheme, separate(packed, rows, row, blocks)),
    };
}

// The widths are constants, so that the loops below compile to moves at fixed offsets. That has four times the rate
// of loops over a list of offsets.

#[inline(always)]
fn separate<const N: usize, const BEFORE: usize, const WORDS: usize, const AFTER: usize>(
    packed: &[u8],
    rows: usize,
    row: usize,
    blocks: &mut [u8],
) {
    // With this assertion, no access below needs a bounds check.
    assert!(row < rows);
    for (block, packed) in blocks.as_chunks_mut::<N>().0.iter_mut().zip(packed.chunks_exact(N * rows)) {
        for i in 0..BEFORE {
            copy::<2>(packed, 2 * i * rows + 2 * row, block, 2 * i);
        }
        for i in 0..WORDS {
            let at = 2 * BEFORE + 4 * i;
            copy::<4>(packed, at * rows + 4 * row, block, at);
        }
        for i in 0..AFTER {
            let at = 2 * BEFORE + 4 * WORDS + 2 * i;
            copy::<2>(packed, at * rows + 2 * row, block, at);
        }
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
        fn sizes<const N: usize, const BEFORE: usize, const WORDS: usize, const AFTER: usize>() -> [usize; 2]
        {
            [N, 2 * BEFORE + 4 * WORDS + 2 * AFTER]
        }
        for scheme in schemes() {
            assert_eq!(with_pieces!(scheme, sizes()), Some([scheme.block_bytes(); 2]), "{scheme}");
        }
    }

    /// Returns the rows of panels, one after another.
    fn unpack(scheme: Scheme, rows: usize, columns: usize, packed: &[u8]) -> Vec<u8> {
        let row_bytes = scheme.row_bytes(columns).unwrap();
        let (panels, left_over) = packed.split_at(rows / ROWS * ROWS * row_bytes);
        let mut plain = vec![0; panels.len()];
        for (i, row) in plain.chunks_exact_mut(row_bytes).enumerate() {
            gather(scheme, &panels[i / ROWS * ROWS * row_bytes..], ROWS, i % ROWS, row);
        }
        [plain, left_over.to_vec()].concat()
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
                assert_eq!(unpack(scheme, rows, columns, &packed), plain, "{scheme} {rows}");
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
        assert!(pack(Scheme::Q4K, 16, 32, &[0; 288]).is_none());
    }
}

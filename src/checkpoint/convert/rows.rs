//! Cuts and reorders matrices by rows without copying, to convert between fused and published matrices.

use crate::kernels::attention::Heads;
use crate::kernels::pointwise::RopeLayout;
use crate::quant::Matrix;

/// Cuts a matrix into pieces of `heights` rows, from the top. `None` if `heights` do not add up to its rows.
pub fn cut(matrix: &Matrix, heights: &[usize]) -> Option<Vec<Matrix>> {
    if heights.iter().sum::<usize>() != matrix.rows() {
        return None;
    }
    let mut first = 0;
    let piece = |height: &usize| {
        first += height;
        matrix.slice(first - height..first)
    };
    heights.iter().map(piece).collect()
}

/// Reorders the rotary pairs of the queries or keys of `heads` heads.
///
/// In a head of size 6, pair i has rows i and i + 3 in `HalfSplit` order, and rows 2i and 2i + 1 in `Interleaved`
/// order. So rows 0 1 2 3 4 5 become 0 3 1 4 2 5 for `Interleaved`, and 0 2 4 1 3 5 for `HalfSplit`.
pub fn rotary(matrix: &Matrix, heads: usize, to: RopeLayout) -> Option<Matrix> {
    let size = matrix.rows() / heads;
    let half = size / 2;
    let source = |row: usize| {
        let i = row % size;
        let within = match to {
            RopeLayout::Interleaved => i % 2 * half + i / 2,
            RopeLayout::HalfSplit => i % half * 2 + i / half,
        };
        row - i + within
    };
    let rows = (0..matrix.rows()).map(|row| matrix.slice(source(row)..source(row) + 1));
    Matrix::stack(rows.collect::<Option<Vec<_>>>()?)
}

/// Reorders queries, keys and values from groups (H/G query heads, a key head, a value head, each of D rows) to all
/// queries, then all keys, then all values.
///
/// For 4 query heads in 2 groups, the heads q0 q1 k0 v0 q2 q3 k1 v1 become q0 q1 q2 q3 k0 k1 v0 v1.
pub fn ungrouped(matrix: &Matrix, heads: Heads) -> Option<Matrix> {
    let Heads { query: h, key_value: g, size: d } = heads;
    if (h + 2 * g) * d != matrix.rows() {
        return None;
    }
    let queries = h / g * d;
    let group = |i: usize| i * (queries + 2 * d);
    let all = |first: usize, height: usize| {
        (0..g).map(move |i| matrix.slice(group(i) + first..group(i) + first + height))
    };
    let pieces = all(0, queries).chain(all(queries, d)).chain(all(queries + d, d));
    Matrix::stack(pieces.collect::<Option<Vec<_>>>()?)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::quant::Scheme;

    fn matrix(values: Range<u8>) -> Matrix {
        let bytes: Vec<u8> = values.clone().flat_map(|v| f32::from(v).to_le_bytes()).collect();
        Matrix::new(Scheme::F32, values.len(), 1, bytes.into()).unwrap()
    }

    #[test]
    fn pieces_run_across_parts() {
        let stack = Matrix::stack([matrix(0..3), matrix(3..4), matrix(4..9)]).unwrap();
        let [a, b, c] = cut(&stack, &[2, 4, 3]).unwrap().try_into().unwrap();
        assert_eq!([a.to_f32(), b.to_f32(), c.to_f32()].concat(), stack.to_f32());
        assert_eq!((a.rows(), b.rows(), c.rows()), (2, 4, 3));
        assert!(cut(&stack, &[2, 4]).is_none() && cut(&stack, &[2, 8]).is_none());
    }

    #[test]
    fn groups_are_taken_apart() {
        let grouped = matrix(0..16);
        let heads = Heads { query: 4, key_value: 2, size: 2 };
        let separate = ungrouped(&grouped, heads).unwrap().to_f32();
        let expected = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15];
        assert_eq!(separate, expected.map(|row| row as f32));
        assert!(ungrouped(&matrix(0..15), heads).is_none());
    }

    #[test]
    fn rotary_pairs_change_their_order_and_back() {
        let halves = matrix(0..12);
        let pairs = rotary(&halves, 2, RopeLayout::Interleaved).unwrap();
        assert_eq!(pairs.to_f32(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 6.0, 9.0, 7.0, 10.0, 8.0, 11.0]);
        assert_eq!(rotary(&pairs, 2, RopeLayout::HalfSplit).unwrap().to_f32(), halves.to_f32());
    }
}

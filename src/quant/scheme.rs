//! How weights are stored: dense types, and ggml's block schemes in their standard format.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The storage format of a matrix's elements. A row is a whole number of blocks; a block of a dense type is one
/// number.
///
/// The block schemes are ggml's (`ggml-common.h`). Each block holds 32 or 256 weights as small integers with one
/// scale, and in some schemes one minimum. K-quants have a second level of scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Scheme {
    F32,
    F16,
    Bf16,
    #[serde(rename = "q4_0")]
    Q4_0,
    #[serde(rename = "q4_1")]
    Q4_1,
    #[serde(rename = "q5_0")]
    Q5_0,
    #[serde(rename = "q5_1")]
    Q5_1,
    #[serde(rename = "q8_0")]
    Q8_0,
    #[serde(rename = "q2_k")]
    Q2K,
    #[serde(rename = "q3_k")]
    Q3K,
    #[serde(rename = "q4_k")]
    Q4K,
    #[serde(rename = "q5_k")]
    Q5K,
    #[serde(rename = "q6_k")]
    Q6K,
}

/// A row of the table: scheme, name, type id in a GGUF file, weights per block, bytes per block.
type Row = (Scheme, &'static str, u32, usize, usize);

const TABLE: [Row; 13] = [
    (Scheme::F32, "f32", 0, 1, 4),
    (Scheme::F16, "f16", 1, 1, 2),
    (Scheme::Bf16, "bf16", 30, 1, 2),
    (Scheme::Q4_0, "q4_0", 2, 32, 18),
    (Scheme::Q4_1, "q4_1", 3, 32, 20),
    (Scheme::Q5_0, "q5_0", 6, 32, 22),
    (Scheme::Q5_1, "q5_1", 7, 32, 24),
    (Scheme::Q8_0, "q8_0", 8, 32, 34),
    (Scheme::Q2K, "q2_k", 10, 256, 84),
    (Scheme::Q3K, "q3_k", 11, 256, 110),
    (Scheme::Q4K, "q4_k", 12, 256, 144),
    (Scheme::Q5K, "q5_k", 13, 256, 176),
    (Scheme::Q6K, "q6_k", 14, 256, 210),
];

impl Scheme {
    /// Returns every scheme.
    pub fn all() -> impl Iterator<Item = Scheme> {
        TABLE.iter().map(|row| row.0)
    }

    /// Returns the scheme of a GGUF type id.
    pub fn from_ggml_type(id: u32) -> Option<Self> {
        TABLE.iter().find(|row| row.2 == id).map(|row| row.0)
    }

    /// Returns the scheme's GGUF type id.
    pub fn ggml_type(self) -> u32 {
        self.row().2
    }

    /// Returns the scheme's usual name, in lower case.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Returns the number of weights in a block.
    pub fn block_len(self) -> usize {
        self.row().3
    }

    /// Returns the bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.row().4
    }

    /// Returns the bytes of a row of `columns` weights. `None` if the row is not a whole number of blocks, or on
    /// overflow.
    pub fn row_bytes(self, columns: usize) -> Option<usize> {
        match columns.is_multiple_of(self.block_len()) {
            true => (columns / self.block_len()).checked_mul(self.block_bytes()),
            false => None,
        }
    }

    /// Returns whether the scheme stores plain numbers, not blocks.
    pub fn is_dense(self) -> bool {
        self.block_len() == 1
    }

    /// Returns the number of activations that share a scale in integer products with this scheme. `None` if there
    /// is no integer kernel: the weights are then multiplied in f32.
    pub fn activation_block(self) -> Option<usize> {
        let in_integers = !self.is_dense() && !matches!(self, Scheme::Q2K | Scheme::Q3K);
        in_integers.then(|| self.block_len())
    }

    fn row(self) -> &'static Row {
        // The table is in the order of the variants, which a test checks.
        &TABLE[self as usize]
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_variants_and_names_are_those_of_serde() {
        for (i, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, i);
            assert_eq!(serde_json::to_value(row.0).unwrap(), row.1);
        }
    }

    #[test]
    fn a_row_that_is_no_whole_number_of_blocks_has_no_size() {
        assert_eq!(Scheme::Q4_1.row_bytes(576), Some(360));
        assert_eq!(Scheme::Q4K.row_bytes(576), None);
        assert_eq!(Scheme::F32.row_bytes(usize::MAX), None);
    }
}

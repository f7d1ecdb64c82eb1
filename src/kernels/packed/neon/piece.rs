//! Loads a panel's pieces into registers.

use std::arch::aarch64::*;

use crate::quant::ROWS;

/// Rows per register.
pub const LANES: usize = 4;

/// Number of registers that hold a piece of all rows of the panel.
pub const QUARTERS: usize = ROWS / LANES;

/// Four bytes of each row of the panel, in quarters of four rows.
pub type Piece = [[u8; 4 * LANES]; QUARTERS];

pub fn pieces(bytes: &[u8]) -> &[Piece] {
    bytes.as_chunks().0.as_chunks().0
}

#[inline]
#[target_feature(enable = "neon")]
pub fn load(piece: &Piece, quarter: usize) -> uint8x16_t {
    let rows = &piece[quarter];
    // SAFETY: the array is 16 bytes; the load requires no alignment.
    #[allow(unsafe_code)]
    unsafe {
        vld1q_u8(rows.as_ptr())
    }
}

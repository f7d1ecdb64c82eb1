//! The buffer that 256 columns of a panel are unpacked to before they are multiplied.

use super::scheme::SUPER_BLOCK;
use crate::quant::ROWS;

/// A cache line with four bytes, or one 32-bit number, of each row of a panel.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Piece(pub [u8; 4 * ROWS]);

impl Piece {
    pub const ZERO: Self = Self([0; 4 * ROWS]);
}

/// Up to 256 columns of a panel as bytes and scales, one piece per register.
#[repr(C)]
pub struct Unpacked {
    /// The weights, four columns per piece.
    pub words: [Piece; SUPER_BLOCK / 4],
    /// The f32 scale of each block of columns.
    pub scales: [Piece; SUPER_BLOCK / 32],
    /// The f32 minimum of each block, in schemes that have minima.
    pub minima: [Piece; SUPER_BLOCK / 32],
    /// The integer scale of each group of a k-quant's block.
    pub groups: [Piece; SUPER_BLOCK / 16],
    /// The groups' numbers that are multiplied by sums of activations, packed as pairs of 16 bits.
    pub pairs: [Piece; 8],
    /// Number of blocks of columns.
    pub blocks: usize,
}

impl Unpacked {
    pub const ZERO: Self = Self {
        words: [Piece::ZERO; SUPER_BLOCK / 4],
        scales: [Piece::ZERO; SUPER_BLOCK / 32],
        minima: [Piece::ZERO; SUPER_BLOCK / 32],
        groups: [Piece::ZERO; SUPER_BLOCK / 16],
        pairs: [Piece::ZERO; 8],
        blocks: 0,
    };
}

//! What 256 columns of a panel are unpacked to, before they are multiplied.

use super::scheme::SUPER_BLOCK;
use crate::quant::ROWS;

/// Four bytes or one number of each row of a panel, on a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Piece(pub [u8; 4 * ROWS]);

impl Piece {
    pub const ZERO: Self = Self([0; 4 * ROWS]);
}

/// Up to 256 columns of a panel as bytes and scales, in registers' shape.
#[repr(C)]
pub struct Unpacked {
    /// The weights, four columns a piece.
    pub words: [Piece; SUPER_BLOCK / 4],
    /// The scale of each block of columns, in f32.
    pub scales: [Piece; SUPER_BLOCK / 32],
    /// The minimum of each, in schemes that have them.
    pub minima: [Piece; SUPER_BLOCK / 32],
    /// The scale of each group of a k-quant's block, an integer.
    pub groups: [Piece; SUPER_BLOCK / 16],
    /// The groups' numbers that are multiplied by sums of activations, two side by side in 16 bits.
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

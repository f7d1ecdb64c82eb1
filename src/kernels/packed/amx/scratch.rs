//! A thread's buffers for unpacked panels and stored tiles.

use super::super::scheme::{PANELS, SUPER_BLOCK};
use super::super::unpacked::{Piece, Unpacked};
use crate::quant::ROWS;

/// The buffers that a thread reuses.
pub struct Scratch {
    pub unpacked: [Unpacked; PANELS],
    /// The high bytes of k-quants' weights.
    pub high: [[Piece; SUPER_BLOCK / 4]; PANELS],
    /// Sums as stored tiles, for the current tile of rows and for the previous tile.
    pub sums: [[[Piece; ROWS]; SUPER_BLOCK / 32]; 2],
}

impl Scratch {
    pub const ZERO: Self = Self {
        unpacked: [Unpacked::ZERO; PANELS],
        high: [[Piece::ZERO; SUPER_BLOCK / 4]; PANELS],
        sums: [[[Piece::ZERO; ROWS]; SUPER_BLOCK / 32]; 2],
    };
}

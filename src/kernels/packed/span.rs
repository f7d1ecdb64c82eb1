//! What 256 columns of a strip are unpacked to, before they are multiplied.

use super::SPAN;
use crate::quant::ROWS;

/// Four bytes or one number of each row of a strip, on a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Lanes(pub [u8; 4 * ROWS]);

impl Lanes {
    pub const ZERO: Self = Self([0; 4 * ROWS]);
}

/// Up to 256 columns of a strip as bytes and scales, in registers' shape.
#[repr(C)]
pub struct Span {
    /// The weights, four columns a line.
    pub words: [Lanes; SPAN / 4],
    /// Of each block of columns, in f32.
    pub scales: [Lanes; SPAN / 32],
    /// The same of schemes that have them.
    pub minima: [Lanes; SPAN / 32],
    /// Of a block of 256 columns each group's scale, in integers.
    pub groups: [Lanes; SPAN / 16],
    /// Those numbers of the groups that are multiplied with sums of activations, two side by side in 16 bits.
    pub pairs: [Lanes; 8],
    /// How many blocks of columns.
    pub blocks: usize,
}

impl Span {
    pub const ZERO: Self = Self {
        words: [Lanes::ZERO; SPAN / 4],
        scales: [Lanes::ZERO; SPAN / 32],
        minima: [Lanes::ZERO; SPAN / 32],
        groups: [Lanes::ZERO; SPAN / 16],
        pairs: [Lanes::ZERO; 8],
        blocks: 0,
    };
}

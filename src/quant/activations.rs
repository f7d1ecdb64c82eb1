//! How activations are rounded for products with blocks of integers on the CPU.

/// Bits of the integers that activations are rounded to, block by block of 32 or 256 values that share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationBits {
    /// As llama.cpp rounds them.
    Eight,
    /// As two planes of 8 bits, at twice the multiplications.
    Sixteen,
}

impl ActivationBits {
    /// How many.
    pub fn count(self) -> u32 {
        match self {
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }

    /// Planes of 8 bits.
    pub(crate) fn planes(self) -> usize {
        match self {
            Self::Eight => 1,
            Self::Sixteen => 2,
        }
    }
}

/// How activations are multiplied with blocks of integers on the CPU. Dense weights are multiplied in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// In integers: activations are rounded, block by block.
    Integer(ActivationBits),
    /// In f32, over the values that the blocks stand for.
    F32,
}

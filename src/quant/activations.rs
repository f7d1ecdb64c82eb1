//! How activations are rounded for products with quantized weights on the CPU.

/// Number of bits that activations are rounded to, in blocks of 32 or 256 values with one scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationBits {
    /// 8 bits, as in llama.cpp.
    Eight,
    /// 16 bits as two planes of 8 bits, which takes twice the multiplications.
    Sixteen,
}

impl ActivationBits {
    /// Returns the number of bits.
    pub fn count(self) -> u32 {
        match self {
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }

    /// Returns the number of 8-bit planes.
    pub(crate) fn planes(self) -> usize {
        match self {
            Self::Eight => 1,
            Self::Sixteen => 2,
        }
    }
}

/// How activations are multiplied with quantized weights on the CPU. Dense weights are multiplied in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// In integers, with activations rounded in blocks.
    Integer(ActivationBits),
    /// In f32, with dequantized weights.
    F32,
}

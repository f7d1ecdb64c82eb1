//! Random weights for tests.

use rand::Rng;

use super::scheme::Scheme;
use crate::tensor::narrow;

/// Returns the offsets of a block's f16 numbers.
pub fn numbers_at(scheme: Scheme) -> &'static [usize] {
    match scheme {
        Scheme::F32 | Scheme::F16 | Scheme::Bf16 => &[],
        Scheme::Q4_0 | Scheme::Q5_0 | Scheme::Q8_0 => &[0],
        Scheme::Q4_1 | Scheme::Q5_1 | Scheme::Q4K | Scheme::Q5K => &[0, 2],
        Scheme::Q2K => &[80, 82],
        Scheme::Q3K => &[108],
        Scheme::Q6K => &[208],
    }
}

/// Returns blocks of random bytes with small f16 numbers; all other bytes are valid. For a dense scheme, returns
/// random numbers.
pub fn weights(scheme: Scheme, blocks: usize, rng: &mut impl Rng) -> Vec<u8> {
    if scheme.is_dense() {
        let values: Vec<f32> = (0..blocks).map(|_| rng.random_range(-1.0..1.0)).collect();
        return narrow(&values, scheme).unwrap();
    }
    let mut bytes: Vec<u8> = (0..blocks * scheme.block_bytes()).map(|_| rng.random()).collect();
    for block in bytes.chunks_exact_mut(scheme.block_bytes()) {
        for at in numbers_at(scheme) {
            let number = half::f16::from_f32(rng.random_range(-0.01..0.01));
            block[*at..at + 2].copy_from_slice(&number.to_le_bytes());
        }
    }
    bytes
}

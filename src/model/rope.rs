//! Rotary position embeddings (Su et al. 2021): the angles of a batch's positions, computed in f64 and rounded to f32
//! once.

use crate::arch::Rope;
use crate::kernels::pointwise::RopeLayout;
use crate::quant::HostRows;
use crate::tensor::ops::Angles;

/// The rotation frequencies of a model's heads.
#[derive(Clone, Debug)]
pub struct RopeTable {
    frequencies: Vec<f64>,
    layout: RopeLayout,
}

impl RopeTable {
    /// Creates the table for heads of size `head_size`.
    pub fn new(rope: &Rope, head_size: usize) -> Self {
        Self { frequencies: rope.frequencies(head_size), layout: rope.layout }
    }

    /// Returns the angles of tokens at `positions`, on the host: cosines and sines, each `(T, D/2)`.
    pub fn angles(&self, positions: &[usize]) -> Angles {
        let half = self.frequencies.len();
        let table = |of: fn(f64) -> f64| {
            let mut table = HostRows::scratch(positions.len(), half); // (T, D/2)
            for (row, position) in table.chunks_exact_mut(half.max(1)).zip(positions) {
                let angles = self.frequencies.iter().map(|f| *position as f64 * f);
                row.iter_mut().zip(angles).for_each(|(value, angle)| *value = of(angle) as f32);
            }
            table
        };
        Angles::Host([table(libm::cos), table(libm::sin)], self.layout)
    }
}

//! Grouped-query attention (Ainslie et al. 2023) with rotary positions and an exact sliding window.

use candle_core::Result;

use super::pipeline::{LayerRings, Segment};
use crate::arch::LayerWeights;
use crate::kernels::attention::Heads;
use crate::quant::Rows;
use crate::tensor::ops::{self, Angles};
use crate::tensor::{Target, Weight};

/// One layer's attention.
#[derive(Clone, Debug)]
pub struct Attention {
    qkv: Weight,    // ((H + 2G)·D, C)
    output: Weight, // (C, H·D)
    heads: Heads,
}

impl Attention {
    /// The attention of a layer, on its device.
    ///
    /// # Errors
    /// What candle reports.
    pub fn load(weights: &LayerWeights, heads: Heads, target: &Target) -> Result<Self> {
        let qkv = Weight::load(&weights.qkv, target)?;
        let output = Weight::load(&weights.output, target)?;
        Ok(Self { qkv, output, heads })
    }

    /// Adds to `residual (T, C)` what the tokens of `x (T, C)`, segment after segment, take from the positions of their
    /// sequences: `(T, C)`.
    ///
    /// # Errors
    /// A sequence has no ring, its positions are beyond it, or what candle reports.
    pub fn forward(
        &self,
        x: &Rows,
        residual: Rows,
        segments: &[Segment],
        angles: &Angles,
        rings: &mut LayerRings,
    ) -> Result<Rows> {
        let qkv = ops::linear(x, &self.qkv)?; // (T, (H + 2G)·D)
        let qkv = ops::rotated(qkv, self.heads, angles)?;
        rings.append(segments, &qkv, self.heads)?;
        let queries = |i: usize| rings.queries(segments, i);
        let mixed = ops::attention(&qkv, self.heads, segments.len(), queries)?; // (T, H·D)
        ops::linear_add(&mixed, &self.output, residual) // (T, C)
    }
}

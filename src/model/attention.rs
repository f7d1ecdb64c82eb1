//! Grouped-query attention (Ainslie et al. 2023) with rotary position embeddings and an exact sliding window.

use candle_core::Result;

use super::stage_cache::StageCache;
use crate::arch::LayerWeights;
use crate::kernels::attention::Heads;
use crate::quant::Rows;
use crate::tensor::ops::{self, Angles};
use crate::tensor::{Target, Weight};

/// The attention of one layer.
#[derive(Clone, Debug)]
pub struct Attention {
    qkv: Weight,    // ((H + 2G)·D, C)
    output: Weight, // (C, H·D)
    heads: Heads,
}

impl Attention {
    /// Loads a layer's attention to its device.
    ///
    /// # Errors
    /// The device has no memory for the weights, or reports another error.
    pub fn load(weights: &LayerWeights, heads: Heads, target: &Target) -> Result<Self> {
        let qkv = Weight::load(&weights.qkv, target)?;
        let output = Weight::load(&weights.output, target)?;
        Ok(Self { qkv, output, heads })
    }

    /// Adds the attention of `x (T, C)`, whose rows are the slices of a batch, to `residual (T, C)`; returns `(T, C)`.
    /// The keys and values are appended to layer `layer` of `caches`.
    ///
    /// # Errors
    /// A cache belongs to another model, or has too few positions.
    pub fn forward(
        &self,
        x: &Rows,
        residual: Rows,
        angles: &Angles,
        caches: &mut StageCache,
        layer: usize,
    ) -> Result<Rows> {
        let qkv = ops::linear(x, &self.qkv)?; // (T, (H + 2G)·D)
        let qkv = ops::rotated(qkv, self.heads, angles)?;
        caches.append(layer, &qkv, self.heads)?;
        let queries = |i: usize| caches.queries(layer, i);
        let mixed = ops::attention(&qkv, self.heads, caches.slices().len(), queries)?; // (T, H·D)
        ops::linear_add(&mixed, &self.output, residual) // (T, C)
    }
}

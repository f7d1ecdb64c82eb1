//! Grouped-query attention (Ainslie et al. 2023) with rotary positions and an exact sliding window.

use candle_core::{DType, Device, Result, Tensor};

use super::cache::LayerCache;
use super::rope::Angles;
use crate::checkpoint::LayerWeights;
use crate::checkpoint::config::Heads;
use crate::kernels::{Weight, ops};

/// One layer's attention.
#[derive(Clone, Debug)]
pub struct Attention {
    qkv: Weight,    // ((H + 2G)·D, C)
    output: Weight, // (C, H·D)
    heads: Heads,
    window: Option<usize>,
}

impl Attention {
    /// The attention of a layer, on its device.
    ///
    /// # Errors
    /// What candle reports.
    pub fn load(
        weights: &LayerWeights,
        heads: Heads,
        window: Option<usize>,
        device: &Device,
        dtype: DType,
    ) -> Result<Self> {
        let qkv = Weight::load(&weights.qkv, device, dtype)?;
        let output = Weight::load(&weights.output, device, dtype)?;
        Ok(Self { qkv, output, heads, window })
    }

    /// What the tokens of `x (T, C)`, from position `first` on, take from the positions they see: `(T, C)`.
    ///
    /// # Errors
    /// The positions are beyond the context, or what candle reports.
    pub fn forward(
        &self,
        x: &Tensor,
        first: usize,
        angles: &Angles,
        cache: &mut LayerCache,
    ) -> Result<Tensor> {
        let Heads { query, key_value, size } = self.heads;
        let tokens = x.dim(0)?;
        let qkv = ops::linear(x, &self.qkv)?; // (T, (H + 2G)·D)
        let heads = |from: usize, count: usize| {
            qkv.narrow(1, from * size, count * size)?.contiguous()?.reshape((tokens, count, size)) // (T, count, D)
        };
        let q = angles.rotate(&heads(0, query)?)?; // (T, H, D)
        let k = angles.rotate(&heads(query, key_value)?)?; // (T, G, D)
        let v = heads(query + key_value, key_value)?; // (T, G, D)
        let (keys, values, span) = cache.append(first, &k, &v, self.window)?; // (S, G, D)
        let mixed = ops::attention(&q, &keys, &values, self.heads, span)?; // (T, H·D)
        ops::linear(&mixed, &self.output) // (T, C)
    }
}

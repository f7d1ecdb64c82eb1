//! Grouped-query attention (Ainslie et al. 2023) with rotary positions and an exact sliding window.

use candle_core::{DType, Device, Result, Tensor};

use super::pipeline::{LayerRings, Segment};
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
}

impl Attention {
    /// The attention of a layer, on its device.
    ///
    /// # Errors
    /// What candle reports.
    pub fn load(weights: &LayerWeights, heads: Heads, device: &Device, dtype: Option<DType>) -> Result<Self> {
        let qkv = Weight::load(&weights.qkv, device, dtype)?;
        let output = Weight::load(&weights.output, device, dtype)?;
        Ok(Self { qkv, output, heads })
    }

    /// What the tokens of `x (T, C)`, segment after segment, take from the positions of their sequences: `(T, C)`.
    ///
    /// # Errors
    /// A sequence has no ring, its positions are beyond it, or what candle reports.
    pub fn forward(
        &self,
        x: &Tensor,
        segments: &[Segment],
        angles: &Angles,
        rings: &mut LayerRings,
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
        let mut row = 0;
        let mut attend = |segment: &Segment| {
            let rows = |x: &Tensor| x.narrow(0, row, segment.tokens)?.contiguous();
            let (q, k, v) = (rows(&q)?, rows(&k)?, rows(&v)?); // (Ts, heads, D)
            row += segment.tokens;
            let (keys, values, span) = rings.of(segment)?.append(segment.first, &k, &v)?; // (S, G, D)
            ops::attention(&q, &keys, &values, self.heads, span) // (Ts, H·D)
        };
        let mixed = match segments {
            [all] => attend(all)?, // (T, H·D)
            several => Tensor::cat(&several.iter().map(attend).collect::<Result<Vec<_>>>()?, 0)?, // (T, H·D)
        };
        ops::linear(&mixed, &self.output) // (T, C)
    }
}

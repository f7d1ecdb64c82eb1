//! One layer: attention and feed-forward network, each behind a norm and added to the residual stream.

use candle_core::{DType, Device, Result, Tensor};

use super::attention::Attention;
use super::mlp::Mlp;
use super::pipeline::{LayerRings, Segment};
use super::rope::Angles;
use crate::checkpoint::{Config, LayerWeights};
use crate::kernels::{Matrix, ops};

/// A layer on its device.
#[derive(Clone, Debug)]
pub struct Block {
    attention_norm: Tensor, // (C)
    attention: Attention,
    mlp_norm: Tensor, // (C)
    mlp: Mlp,
    norm_epsilon: f64,
}

impl Block {
    /// Puts a layer's weights on `device`.
    ///
    /// # Errors
    /// What candle reports.
    pub fn load(
        config: &Config,
        weights: &LayerWeights,
        device: &Device,
        dtype: Option<DType>,
    ) -> Result<Self> {
        let active = config.experts.map_or(1, |experts| experts.active);
        Ok(Self {
            attention_norm: vector(&weights.attention_norm, device)?,
            attention: Attention::load(weights, config.heads(), device, dtype)?,
            mlp_norm: vector(&weights.mlp_norm, device)?,
            mlp: Mlp::load(&weights.mlp, active, device, dtype)?,
            norm_epsilon: config.norm_epsilon,
        })
    }

    /// See [`Mlp::read_ahead`].
    pub fn read_ahead(&mut self) {
        self.mlp.read_ahead();
    }

    /// Passes `x (T, C)`, the tokens of `segments`, through the layer: `(T, C)`.
    ///
    /// # Errors
    /// As [`Attention::forward`].
    pub fn forward(
        &self,
        x: &Tensor,
        segments: &[Segment],
        angles: &Angles,
        rings: &mut LayerRings,
    ) -> Result<Tensor> {
        let normed = ops::rms_norm(x, &self.attention_norm, self.norm_epsilon)?; // (T, C)
        let x = (x + self.attention.forward(&normed, segments, angles, rings)?)?; // (T, C)
        let normed = ops::rms_norm(&x, &self.mlp_norm, self.norm_epsilon)?; // (T, C)
        &x + self.mlp.forward(&normed)? // (T, C)
    }
}

/// A norm's weight, `(C)` in f32 on `device`.
pub(super) fn vector(matrix: &Matrix, device: &Device) -> Result<Tensor> {
    Tensor::from_vec(matrix.to_f32(), matrix.columns(), device) // (C)
}

//! One layer: attention and a feed-forward network, each after a norm and added to the residual stream.

use candle_core::Result;

use super::attention::Attention;
use super::mlp::Mlp;
use super::stage_cache::StageCache;
use crate::arch::{Config, LayerWeights};
use crate::quant::Rows;
use crate::tensor::ops::{self, Angles};
use crate::tensor::{Target, Vector};

/// One layer on its device.
#[derive(Clone, Debug)]
pub struct Block {
    attention_norm: Vector, // (C)
    attention: Attention,
    mlp_norm: Vector, // (C)
    mlp: Mlp,
    norm_epsilon: f64,
}

impl Block {
    /// Loads a layer's weights to its device.
    ///
    /// # Errors
    /// The device has no memory for the weights, or reports another error.
    pub fn load(config: &Config, weights: &LayerWeights, target: &Target) -> Result<Self> {
        let active = config.experts.map_or(1, |experts| experts.active);
        Ok(Self {
            attention_norm: Vector::load(&weights.attention_norm, target)?,
            attention: Attention::load(weights, config.heads(), target)?,
            mlp_norm: Vector::load(&weights.mlp_norm, target)?,
            mlp: Mlp::load(&weights.mlp, active, target)?,
            norm_epsilon: config.norm_epsilon,
        })
    }

    /// Calls [`Mlp::read_ahead`].
    pub fn read_ahead(&mut self) {
        self.mlp.read_ahead();
    }

    /// Passes `x (T, C)`, whose rows are the slices of a batch, through the layer; returns `(T, C)`. `layer` is the
    /// layer's index in `caches`.
    ///
    /// # Errors
    /// The errors of [`Attention::forward`].
    pub fn forward(&self, x: Rows, angles: &Angles, caches: &mut StageCache, layer: usize) -> Result<Rows> {
        let normed = ops::rms_norm(&x, &self.attention_norm, self.norm_epsilon)?; // (T, C)
        let x = self.attention.forward(&normed, x, angles, caches, layer)?; // (T, C)
        let normed = ops::rms_norm(&x, &self.mlp_norm, self.norm_epsilon)?; // (T, C)
        self.mlp.forward(&normed, x) // (T, C)
    }
}

//! Rotary positions (Su et al. 2021): the angles of a chunk's positions, made in f64 and rounded to f32 once.

use candle_core::{Device, Result, Tensor};

use crate::checkpoint::config::{Rope, RopeLayout};
use crate::kernels::ops;

/// The frequencies of a model's heads, on one device.
#[derive(Clone, Debug)]
pub struct RopeTable {
    frequencies: Vec<f64>,
    layout: RopeLayout,
    device: Device,
}

/// Cosines and sines of some positions.
#[derive(Clone, Debug)]
pub struct Angles {
    cos: Tensor, // (T, D/2) f32
    sin: Tensor, // (T, D/2) f32
    layout: RopeLayout,
}

impl RopeTable {
    /// The table for heads of `head_size` on `device`.
    pub fn new(rope: &Rope, head_size: usize, device: &Device) -> Self {
        Self { frequencies: rope.frequencies(head_size), layout: rope.layout, device: device.clone() }
    }

    /// The angles of the tokens at `positions`.
    ///
    /// # Errors
    /// What candle reports.
    pub fn angles(&self, positions: &[usize]) -> Result<Angles> {
        let shape = (positions.len(), self.frequencies.len());
        let angles = || positions.iter().flat_map(|p| self.frequencies.iter().map(|f| *p as f64 * f));
        let table = |of: fn(f64) -> f64| {
            let values: Vec<f32> = angles().map(|angle| of(angle) as f32).collect();
            Tensor::from_vec(values, shape, &self.device) // (T, D/2)
        };
        Ok(Angles { cos: table(f64::cos)?, sin: table(f64::sin)?, layout: self.layout })
    }
}

impl Angles {
    /// Rotates every head of `x (T, heads, D)`.
    ///
    /// # Errors
    /// What candle reports.
    pub fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        ops::rope(x, &self.cos, &self.sin, self.layout) // (T, heads, D)
    }
}

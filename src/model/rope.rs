//! Rotary positions (Su et al. 2021): the angles of a chunk's positions, made in f64 and rounded to f32 once.

use candle_core::{Device, Result, Tensor};

use crate::checkpoint::config::{Rope, RopeLayout};
use crate::kernels::ops::Angles;
use crate::kernels::rows::HostRows;

/// The frequencies of a model's heads, on one device.
#[derive(Clone, Debug)]
pub struct RopeTable {
    frequencies: Vec<f64>,
    layout: RopeLayout,
    device: Device,
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
        let half = self.frequencies.len();
        let table = |of: fn(f64) -> f64| {
            let mut table = HostRows::uninitialized(positions.len(), half); // (T, D/2)
            for (row, position) in table.chunks_exact_mut(half.max(1)).zip(positions) {
                let angles = self.frequencies.iter().map(|f| *position as f64 * f);
                row.iter_mut().zip(angles).for_each(|(value, angle)| *value = of(angle) as f32);
            }
            table
        };
        let tables = [table(libm::cos), table(libm::sin)];
        if self.device.is_cpu() {
            return Ok(Angles::Host(tables, self.layout));
        }
        let [cos, sin] = tables.map(|table| {
            Tensor::from_slice(&table, (positions.len(), half), &Device::Cpu)?.to_device(&self.device)
        }); // (T, D/2)
        Ok(Angles::Device([cos?, sin?], self.layout))
    }
}

//! Carrying a plan out: each layer's bytes go from the map to its device.

use candle_core::{DType, Device};

use super::{DeviceName, Error, Plan};
use crate::checkpoint::Checkpoint;
use crate::model::{Stage, Transformer};

/// Loads a model as `plan` says; `dtype` is the type of computation, `None` for each device's own (f32 on the
/// CPU, bf16 on an accelerator). `progress` is told of each layer.
///
/// # Errors
/// A device cannot be opened, or what candle reports.
pub fn load(
    checkpoint: &Checkpoint,
    plan: &Plan,
    dtype: Option<DType>,
    progress: &mut dyn FnMut(usize, DeviceName),
) -> Result<Transformer, Error> {
    let config = &checkpoint.config;
    let mut opened: Vec<(DeviceName, Device)> = Vec::new();
    let mut stages = Vec::new();
    for share in &plan.shares {
        // To candle each opening of a GPU is another device: one is opened once.
        let device = match opened.iter().find(|(name, _)| *name == share.device) {
            Some((_, device)) => device.clone(),
            None => share.device.open()?,
        };
        opened.push((share.device, device.clone()));
        let mut stage = Stage::new(config, &device, dtype);
        for layer in share.layers.clone() {
            stage.push(config, &checkpoint.weights.layers[layer])?;
            progress(layer, share.device);
        }
        stages.push(stage);
    }
    Ok(Transformer::new(config.clone(), &checkpoint.weights, stages)?)
}

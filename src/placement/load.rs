//! Carrying a plan out: each layer's bytes go from the map to its device.

use candle_core::{DType, Device};

use super::{DeviceName, Error, Plan, host_memory};
use crate::checkpoint::{Checkpoint, LayerWeights};
use crate::kernels::pages;
use crate::model::{Stage, Transformer};

/// Loads a model as `plan` says; `dtype` is the type of computation, `None` for each device's own (f32 on the
/// CPU, bf16 on an accelerator). `progress` is told of each layer.
///
/// On the CPU weights stay in the map; only dense ones that `dtype` rounds are copied. On its way to an accelerator the host
/// holds a run of rows, and of the map that layer's pages.
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
    let reads_ahead = is_larger_than_memory(checkpoint, plan).is_some();
    let mut opened: Vec<(DeviceName, Device)> = Vec::new();
    let mut stages = Vec::new();
    for share in &plan.shares {
        // To candle each opening of a GPU is another device: one is opened once.
        let device = match opened.iter().find(|(name, _)| *name == share.device) {
            Some((_, device)) => device.clone(),
            None => share.device.open()?,
        };
        opened.push((share.device, device.clone()));
        let mut stage = Stage::new(config, &device, dtype).reading_ahead(reads_ahead);
        for layer in share.layers.clone() {
            let weights = &checkpoint.weights.layers[layer];
            stage.push(config, weights)?;
            if !device.is_cpu() {
                release(weights);
            }
            progress(layer, share.device);
        }
        stages.push(stage);
    }
    Ok(Transformer::new(config.clone(), &checkpoint.weights, stages)?)
}

/// Bytes of the weights that stay on the host, and of its memory, where the former are more: then they are read from the
/// disk as they are used.
pub fn is_larger_than_memory(checkpoint: &Checkpoint, plan: &Plan) -> Option<(u64, u64)> {
    let on_host = plan.shares.iter().filter(|share| share.device == DeviceName::Cpu);
    let layers = on_host.flat_map(|share| &checkpoint.weights.layers[share.layers.clone()]);
    let weights = layers.map(LayerWeights::size).sum();
    host_memory().filter(|memory| weights > *memory).map(|memory| (weights, memory))
}

/// The layer is on an accelerator: its pages are not needed any more.
fn release(layer: &LayerWeights) {
    layer.matrices().into_iter().for_each(|(_, matrix)| pages::release(matrix));
}

//! Carrying a plan out: each layer's bytes go from the map to its device.

use candle_core::{DType, Device};

use super::memory::available_memory;
use super::{DeviceName, Error, Plan, host_memory};
use crate::checkpoint::{Checkpoint, LayerWeights};
use crate::kernels::pages;
use crate::kernels::weight::Target;
use crate::model::{Stage, Transformer};

/// Loads a model as `plan` says; `dtype` is the type of computation, `None` for each device's own (f32 on the
/// CPU, bf16 on an accelerator). `progress` is told of each layer.
///
/// On the CPU weights of a converted checkpoint stay in the map. Blocks that lie otherwise are copied into the order of the
/// kernels, where memory has room for that beside everything else; dense weights are copied where `dtype` rounds them. On its way to an accelerator the host
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
    let packs = has_room_for_copies(checkpoint, plan);
    let mut opened: Vec<(DeviceName, Device)> = Vec::new();
    let mut stages = Vec::new();
    for share in &plan.shares {
        // To candle each opening of a GPU is another device: one is opened once.
        let device = match opened.iter().find(|(name, _)| *name == share.device) {
            Some((_, device)) => device.clone(),
            None => share.device.open()?,
        };
        opened.push((share.device, device.clone()));
        let target = Target { device: device.clone(), dtype, packs };
        let mut stage = Stage::new(config, target).reading_ahead(reads_ahead);
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

/// Whether the memory that can be had holds all weights of the host a second time, and a quarter more.
fn has_room_for_copies(checkpoint: &Checkpoint, plan: &Plan) -> bool {
    available_memory().is_some_and(|memory| on_host(checkpoint, plan) <= memory / 5 * 4)
}

/// Bytes of the weights that stay on the host, and of its memory, where the former are more: then they are read from the
/// disk as they are used.
pub fn is_larger_than_memory(checkpoint: &Checkpoint, plan: &Plan) -> Option<(u64, u64)> {
    let weights = on_host(checkpoint, plan);
    host_memory().filter(|memory| weights > *memory).map(|memory| (weights, memory))
}

/// Bytes of the layers that stay on the host.
fn on_host(checkpoint: &Checkpoint, plan: &Plan) -> u64 {
    let shares = plan.shares.iter().filter(|share| share.device == DeviceName::Cpu);
    shares.flat_map(|share| &checkpoint.weights.layers[share.layers.clone()]).map(LayerWeights::size).sum()
}

/// The layer is on an accelerator: its pages are not needed any more.
fn release(layer: &LayerWeights) {
    layer.matrices().into_iter().for_each(|(_, matrix)| pages::release(matrix));
}

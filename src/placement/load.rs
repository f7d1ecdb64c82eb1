//! Carries out a plan: copies each layer's bytes from the map to its device.

use candle_core::Device;

use super::memory::available_memory;
use super::{DeviceName, Error, MemoryRequirement, PlacementPlan, host_memory};
use crate::arch::LayerWeights;
use crate::checkpoint::open::Checkpoint;
use crate::model::{Stage, Transformer};
use crate::quant::Matrix;
use crate::system::pages;
use crate::tensor::{Arithmetic, Target};

/// Loads a model by `plan`, which was made from `requirement`, to compute in `arithmetic`. Without a type there, the
/// CPU computes in f32 and accelerators in bf16. Calls `progress` after each layer.
///
/// On the CPU, the weights of a converted checkpoint stay in the map. Blocks in another order are copied to panels if
/// there is memory for them beside the KV cache; the original pages stay in the page cache, which the system gives up
/// when memory is short. Dense weights are copied if the computation's type rounds them. While a layer is copied to an
/// accelerator, the host holds some of its rows and its mapped pages.
///
/// # Errors
/// A device cannot be opened, or does not have enough memory for its layers.
pub fn load(
    checkpoint: &Checkpoint,
    plan: &PlacementPlan,
    requirement: &MemoryRequirement,
    arithmetic: Arithmetic,
    progress: &mut dyn FnMut(usize, DeviceName),
) -> Result<Transformer, Error> {
    let config = &checkpoint.config;
    let reads_ahead = is_larger_than_memory(checkpoint, plan).is_some();
    let packs =
        available_memory().is_some_and(|memory| has_room_for_copies(checkpoint, plan, requirement, memory));
    let mut opened: Vec<(DeviceName, Device)> = Vec::new();
    let mut stages = Vec::new();
    for share in &plan.shares {
        // candle treats each opening of a GPU as a different device, so each GPU is opened once.
        let device = match opened.iter().find(|(name, _)| *name == share.device) {
            Some((_, device)) => device.clone(),
            None => share.device.open()?,
        };
        opened.push((share.device, device.clone()));
        let target = Target { device: device.clone(), arithmetic, packs };
        let mut stage = Stage::new(target).reading_ahead(reads_ahead);
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

/// Returns whether `memory` has room for the panels and the host's KV caches, and leaves a fifth of it free.
fn has_room_for_copies(
    checkpoint: &Checkpoint,
    plan: &PlacementPlan,
    requirement: &MemoryRequirement,
    memory: u64,
) -> bool {
    let size = |matrix: &Matrix| matrix.packed_size() as u64;
    let of_layer = |layer: &LayerWeights| layer.matrices().into_iter().map(|(_, m)| size(m)).sum::<u64>();
    let (mut copies, mut cache) = (0, 0);
    for (share, footprint) in plan.shares.iter().zip(plan.footprints(requirement)) {
        if share.device == DeviceName::Cpu {
            let is_last = share.layers.end == checkpoint.config.layers;
            copies += checkpoint.weights.layers[share.layers.clone()].iter().map(of_layer).sum::<u64>();
            copies += if is_last { size(&checkpoint.weights.head) } else { 0 };
            cache += footprint.cache;
        }
    }
    copies.saturating_add(cache) <= memory / 5 * 4
}

/// Returns the bytes of weights on the host and the host's memory if the weights are larger. They are then read from
/// the disk while they are used.
pub fn is_larger_than_memory(checkpoint: &Checkpoint, plan: &PlacementPlan) -> Option<(u64, u64)> {
    let weights = on_host(checkpoint, plan);
    host_memory().filter(|memory| weights > *memory).map(|memory| (weights, memory))
}

/// Returns the bytes of the layers that stay on the host.
fn on_host(checkpoint: &Checkpoint, plan: &PlacementPlan) -> u64 {
    let shares = plan.shares.iter().filter(|share| share.device == DeviceName::Cpu);
    shares.flat_map(|share| &checkpoint.weights.layers[share.layers.clone()]).map(LayerWeights::size).sum()
}

/// Releases the mapped pages of a layer that was copied to an accelerator.
fn release(layer: &LayerWeights) {
    layer.matrices().into_iter().for_each(|(_, matrix)| matrix.bytes().for_each(pages::release));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::kernels::attention::CacheType;
    use crate::placement::Place;

    #[test]
    fn copies_and_caches_need_room_together() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/llama-gqa-quants.gguf");
        let checkpoint = Checkpoint::open(&file).unwrap();
        let places = [Place { device: DeviceName::Cpu, memory: None }];
        let has_room = |slots, memory| {
            let requirement = MemoryRequirement::new(&checkpoint, None, CacheType::F16, slots);
            let plan = PlacementPlan::fit(&requirement, &places).unwrap();
            has_room_for_copies(&checkpoint, &plan, &requirement, memory)
        };
        let weights = &checkpoint.weights;
        let layers = weights.layers.iter().flat_map(|layer| layer.matrices()).map(|(_, matrix)| matrix);
        let copies = layers.chain([&weights.head]).map(|matrix| matrix.packed_size() as u64).sum::<u64>();
        assert!(copies > 0);
        let least = copies.div_ceil(4) * 5;
        assert!(has_room(0, least + 5) && !has_room(0, least - 5));
        let cache = MemoryRequirement::new(&checkpoint, None, CacheType::F16, 1000)
            .footprint(DeviceName::Cpu, 0..weights.layers.len())
            .cache;
        assert!(cache > 0 && !has_room(1000, least + 5));
        assert!(has_room(1000, (copies + cache).div_ceil(4) * 5 + 5));
    }
}

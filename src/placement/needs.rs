//! What a model's parts take on a device, in bytes.

use std::ops::Range;

use candle_core::DType;

use super::DeviceName;
use crate::arch::{LayerWeights, Mlp};
use crate::checkpoint::layouts::mist as convert;
use crate::checkpoint::open::Checkpoint;
use crate::kernels::attention::CacheType;
use crate::quant::{Matrix, Scheme};

/// What a model needs: on the host as its weights are stored, on an accelerator dense in the type of computation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// On the host.
    pub host: Sizes,
    /// On an accelerator.
    pub accelerator: Sizes,
    /// Slots of each layer's rings, over all sequences.
    pub slots: usize,
}

/// Bytes of a model's parts on one kind of device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The weights of each layer.
    pub layers: Vec<u64>,
    /// The embedding, on the first device.
    pub embedding: u64,
    /// The final norm, on the last device.
    pub norm: u64,
    /// The head, on the last device.
    pub head: u64,
    /// The head is the embedding: where one device holds both it is there once.
    pub tied: bool,
    /// A slot of one layer's ring.
    pub slot: u64,
}

/// Bytes that one device holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Its layers, and the embedding if it is the first.
    pub weights: u64,
    /// The final norm and the head, if it is the last.
    pub head: u64,
    /// Keys and values of its layers.
    pub cache: u64,
}

impl Load {
    /// All of it.
    pub fn total(self) -> u64 {
        self.weights.saturating_add(self.head).saturating_add(self.cache)
    }
}

impl Needs {
    /// Of a checkpoint that computes in `dtype` (`None`: each device's own) and has so many `slots` in a layer's rings,
    /// of type `cache`.
    pub fn new(checkpoint: &Checkpoint, dtype: Option<DType>, cache: CacheType, slots: usize) -> Self {
        let config = &checkpoint.config;
        let dense = dtype.unwrap_or(DType::BF16).size_in_bytes() as u64;
        let on_host = |matrix: &Matrix| -> u64 {
            let part = |(scheme, size): (Scheme, usize)| match dtype {
                Some(DType::F16 | DType::BF16) if scheme == Scheme::F32 => size as u64 / 2,
                _ => size as u64,
            };
            matrix.parts().map(part).sum()
        };
        let on_accelerator = |matrix: &Matrix| dense * matrix.rows() as u64 * matrix.columns() as u64;
        let sizes = |bytes: &dyn Fn(&Matrix) -> u64, slot: usize| {
            let weights = &checkpoint.weights;
            Sizes {
                layers: weights
                    .layers
                    .iter()
                    .map(|l| l.matrices().iter().map(|(_, m)| bytes(m)).sum())
                    .collect(),
                embedding: bytes(&weights.embedding),
                norm: bytes(&weights.norm),
                head: bytes(&weights.head),
                tied: config.tied_head,
                slot: slot as u64,
            }
        };
        let (heads, size) = (config.key_value_heads, config.head_size);
        let host = sizes(&on_host, cache.position_on_host(heads, size));
        let accelerator = sizes(&on_accelerator, cache.position(heads, size));
        Self { host, accelerator, slots }
    }

    /// The same once the weights are quantized to `scheme`, as `--quantize` does; an accelerator's stay dense. `None`
    /// where that cannot be planned.
    pub fn quantized(&self, checkpoint: &Checkpoint, scheme: Scheme) -> Option<Self> {
        let mut host = Sizes { layers: vec![0; self.host.layers.len()], ..self.host.clone() };
        for (name, size) in convert::quantized_sizes(checkpoint, scheme).ok()? {
            let layer = name
                .strip_prefix("model.layers.")
                .and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
            match layer {
                Some(layer) => *host.layers.get_mut(layer)? += size,
                None if name == "lm_head.weight" => host.head = size,
                None if name == "model.embed_tokens.weight" => host.embedding = size,
                None => {}
            }
        }
        if host.tied {
            host.head = host.embedding;
        }
        Some(Self { host, ..self.clone() })
    }

    /// The model's layers.
    pub fn layers(&self) -> usize {
        self.host.layers.len()
    }

    /// What a device holds that has these layers.
    pub fn load(&self, device: DeviceName, layers: Range<usize>) -> Load {
        let sizes = match device {
            DeviceName::Cpu => &self.host,
            DeviceName::Cuda(_) | DeviceName::Metal => &self.accelerator,
        };
        let (first, last) = (layers.start == 0, layers.end == self.layers());
        let sum = |sizes: &[u64]| sizes.iter().fold(0u64, |sum, size| sum.saturating_add(*size));
        let head = if sizes.tied && first { 0 } else { sizes.head };
        let slots = (self.slots as u64).saturating_mul(layers.len() as u64);
        Load {
            weights: sum(&sizes.layers[layers]).saturating_add(if first { sizes.embedding } else { 0 }),
            head: if last { head.saturating_add(sizes.norm) } else { 0 },
            cache: sizes.slot.saturating_mul(slots),
        }
    }
}

/// Bytes of weights that one token reads: the layers with the experts that answer it, and the head.
pub fn bytes_per_token(checkpoint: &Checkpoint) -> u64 {
    let (weights, counts) = (&checkpoint.weights, checkpoint.config.experts);
    let layer = |layer: &LayerWeights| -> u64 {
        let of_experts: u64 = match &layer.mlp {
            Mlp::Mixture { experts, .. } => {
                experts.iter().map(|e| (e.gate_up.size() + e.down.size()) as u64).sum()
            }
            Mlp::Dense(_) => 0,
        };
        let idle = counts.map_or(0, |e| of_experts * (e.all - e.active) as u64 / e.all.max(1) as u64);
        layer.size() - idle
    };
    weights.layers.iter().map(layer).sum::<u64>() + (weights.norm.size() + weights.head.size()) as u64
}

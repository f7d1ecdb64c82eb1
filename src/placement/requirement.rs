//! Computes how many bytes a model's parts need on a device.

use std::ops::Range;

use candle_core::DType;

use super::DeviceName;
use crate::arch::Config;
use crate::arch::schema::{self, MatrixKind, MatrixSpec};
use crate::checkpoint::layouts::mist as convert;
use crate::checkpoint::open::Checkpoint;
use crate::kernels::attention::CacheType;
use crate::quant::{Matrix, Scheme};

/// The memory requirement of a model. On the host weights are as stored, on an accelerator dense in the computation's
/// type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryRequirement {
    /// Sizes on the host.
    pub host: Sizes,
    /// Sizes on an accelerator.
    pub accelerator: Sizes,
    /// Slots of each layer's KV cache, for all sequences together.
    pub slots: usize,
}

/// Sizes in bytes of a model's parts on one kind of device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Weights of each layer.
    pub layers: Vec<u64>,
    /// The embedding, on the first device.
    pub embedding: u64,
    /// The final norm, on the last device.
    pub norm: u64,
    /// The head, on the last device.
    pub head: u64,
    /// Whether the head is the embedding. A device that holds both then stores it once.
    pub tied: bool,
    /// One slot of one layer's KV cache.
    pub slot: u64,
}

/// The footprint of a model on one device, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Weights of the device's layers, and the embedding on the first device.
    pub weights: u64,
    /// The final norm and the head, on the last device.
    pub head: u64,
    /// The KV cache of the device's layers.
    pub cache: u64,
}

impl Sizes {
    /// Adds up the sizes of matrices, each given as layer, kind and bytes. Leaves `slot` at 0.
    fn of(config: &Config, matrices: impl Iterator<Item = (Option<usize>, MatrixKind, u64)>) -> Self {
        let mut sizes = Self { layers: vec![0; config.layers], tied: config.tied_head, ..Self::default() };
        for (layer, kind, bytes) in matrices {
            match (layer.and_then(|layer| sizes.layers.get_mut(layer)), kind) {
                (Some(layer), _) => *layer += bytes,
                (None, MatrixKind::Embedding) => sizes.embedding = bytes,
                (None, MatrixKind::FinalNorm) => sizes.norm = bytes,
                (None, MatrixKind::Head) => sizes.head = bytes,
                (None, _) => {}
            }
        }
        if sizes.tied {
            sizes.head = sizes.embedding;
        }
        sizes
    }
}

impl Footprint {
    /// Returns the sum.
    pub fn total(self) -> u64 {
        self.weights.saturating_add(self.head).saturating_add(self.cache)
    }
}

impl MemoryRequirement {
    /// Computes the requirement of a checkpoint that computes in `dtype` (`None`: the default of each device), with
    /// `slots` slots of type `cache` in each layer's KV cache.
    #[doc(hidden)]
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
            let matrices = schema::matrices(config).flat_map(|spec| {
                let of_matrix = move |matrix| (spec.layer, spec.kind(), bytes(matrix));
                checkpoint.weights.of(&spec).into_iter().map(of_matrix)
            });
            Sizes { slot: slot as u64, ..Sizes::of(config, matrices) }
        };
        let (heads, size) = (config.key_value_heads, config.head_size);
        let host = sizes(&on_host, cache.position_on_host(heads, size));
        let accelerator = sizes(&on_accelerator, cache.position(heads, size));
        Self { host, accelerator, slots }
    }

    /// Returns the requirement after quantizing the weights to `scheme`, as `--quantize` does. Weights on an
    /// accelerator stay dense. Returns `None` if the sizes cannot be computed.
    pub fn quantized(&self, checkpoint: &Checkpoint, scheme: Scheme) -> Option<Self> {
        let sizes = convert::quantized_sizes(checkpoint, scheme).ok()?;
        let Sizes { layers, embedding, head, .. } = Sizes::of(&checkpoint.config, sizes.into_iter());
        let host = Sizes { layers, embedding, head, ..self.host.clone() };
        Some(Self { host, ..self.clone() })
    }

    /// Returns the number of layers.
    pub fn layers(&self) -> usize {
        self.host.layers.len()
    }

    /// Returns the footprint of a run of layers on a device.
    pub fn footprint(&self, device: DeviceName, layers: Range<usize>) -> Footprint {
        let sizes = match device {
            DeviceName::Cpu => &self.host,
            DeviceName::Cuda(_) | DeviceName::Metal => &self.accelerator,
        };
        let (first, last) = (layers.start == 0, layers.end == self.layers());
        let sum = |sizes: &[u64]| sizes.iter().fold(0u64, |sum, size| sum.saturating_add(*size));
        let head = if sizes.tied && first { 0 } else { sizes.head };
        let slots = (self.slots as u64).saturating_mul(layers.len() as u64);
        Footprint {
            weights: sum(&sizes.layers[layers]).saturating_add(if first { sizes.embedding } else { 0 }),
            head: if last { head.saturating_add(sizes.norm) } else { 0 },
            cache: sizes.slot.saturating_mul(slots),
        }
    }
}

/// Returns the bytes of weights that computing one token reads: the layers with only the active experts, and the head.
pub fn bytes_per_token(checkpoint: &Checkpoint) -> u64 {
    let config = &checkpoint.config;
    let read = |spec: MatrixSpec<'_>| {
        let all: u64 = checkpoint.weights.of(&spec).into_iter().map(|matrix| matrix.size() as u64).sum();
        let experts = config.experts.filter(|_| spec.is_of_experts());
        all - experts.map_or(0, |e| all * (e.all - e.active) as u64 / e.all.max(1) as u64)
    };
    let [_, norm, head] = schema::ends(config);
    let layers = schema::matrices(config).filter(|spec| spec.layer.is_some());
    layers.chain([norm, head]).map(read).sum()
}

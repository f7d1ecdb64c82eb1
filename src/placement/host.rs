//! Computes the host memory that a plan allocates.

use candle_core::DType;

use super::{DeviceName, MemoryRequirement, Place, PlacementPlan};
use crate::arch::schema::MatrixKind;
use crate::checkpoint::open::Checkpoint;
use crate::quant::{Matrix, Scheme};

/// The host memory that a plan allocates, in bytes. Mapped weights are not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostMemory {
    /// The KV cache.
    pub cache: u64,
    /// Dense weights that are rounded to the computation's type. Panels of blocks are not included, since they are only
    /// made if there is room.
    pub copies: u64,
}

impl HostMemory {
    /// Computes the memory for a plan that was made from `requirement`, with `dtype` as the computation's type.
    /// Devices with a memory limit count as 0, since the plan already respects their limit.
    pub fn on_host(
        checkpoint: &Checkpoint,
        plan: &PlacementPlan,
        requirement: &MemoryRequirement,
        places: &[Place],
        dtype: Option<DType>,
    ) -> Self {
        let mut made = Self { cache: 0, copies: 0 };
        for ((share, footprint), place) in plan.shares.iter().zip(plan.footprints(requirement)).zip(places) {
            if share.device == DeviceName::Cpu && place.memory.is_none() {
                let matrices =
                    checkpoint.weights.layers[share.layers.clone()].iter().flat_map(|l| l.matrices());
                made.cache = made.cache.saturating_add(footprint.cache);
                made.copies += matrices.map(|(_, matrix)| rounded(matrix, dtype)).sum::<u64>();
            }
        }
        made
    }

    /// Returns the sum.
    pub fn total(self) -> u64 {
        self.cache.saturating_add(self.copies)
    }
}

/// Returns whether all weights are used as they are stored: on the CPU those that `dtype` does not round; on an
/// accelerator those that are dense and of its type.
pub fn stay_as_stored(checkpoint: &Checkpoint, plan: &PlacementPlan, dtype: Option<DType>) -> bool {
    let dense = match dtype.unwrap_or(DType::BF16) {
        DType::F16 => Scheme::F16,
        DType::F32 => Scheme::F32,
        _ => Scheme::Bf16,
    };
    let weights = &checkpoint.weights;
    plan.shares.iter().all(|share| {
        // Norms have one row; their size does not matter.
        let layers = weights.layers[share.layers.clone()].iter().flat_map(|layer| layer.matrices());
        let head = (share.layers.end == weights.layers.len()).then_some((MatrixKind::Head, &weights.head));
        let mut matrices = layers.chain(head).map(|(_, matrix)| matrix).filter(|matrix| matrix.rows() > 1);
        matrices.all(|matrix| match share.device {
            DeviceName::Cpu => rounded(matrix, dtype) == 0,
            DeviceName::Cuda(_) | DeviceName::Metal => matrix.parts().all(|(scheme, _)| scheme == dense),
        })
    })
}

/// Returns the size in bytes of a matrix's dense rows after rounding to `dtype`; 0 if they are not rounded.
fn rounded(matrix: &Matrix, dtype: Option<DType>) -> u64 {
    let scheme = match dtype {
        Some(DType::F16) => Scheme::F16,
        Some(DType::BF16) => Scheme::Bf16,
        _ => return 0,
    };
    let bytes = |(stored, size): (Scheme, usize)| match stored {
        Scheme::F32 => size as u64 / 2,
        Scheme::F16 | Scheme::Bf16 if stored != scheme => size as u64,
        _ => 0,
    };
    matrix.parts().map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::kernels::attention::CacheType;

    fn fixture(name: &str) -> Checkpoint {
        Checkpoint::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
    }

    fn place(device: DeviceName) -> Place {
        Place { device, memory: None }
    }

    #[test]
    fn caches_and_rounded_weights_are_made_and_memory_that_was_given_is_planned_already() {
        let checkpoint = fixture("models/llama-gqa");
        let made = |places: &[Place], dtype| {
            let requirement = MemoryRequirement::new(&checkpoint, dtype, CacheType::F16, 100);
            let plan = PlacementPlan::fit(&requirement, places).unwrap();
            let footprint = requirement.footprint(DeviceName::Cpu, 0..requirement.layers());
            (HostMemory::on_host(&checkpoint, &plan, &requirement, places, dtype), footprint.cache)
        };
        let cpu = [place(DeviceName::Cpu); 2];
        let (as_stored, cache) = made(&cpu, None);
        assert_eq!(as_stored, HostMemory { cache, copies: 0 });
        let layers: u64 = checkpoint.weights.layers.iter().map(|layer| layer.size()).sum();
        assert_eq!(made(&cpu, Some(DType::BF16)).0, HostMemory { cache, copies: layers / 2 });
        let given = [Place { memory: Some(1 << 30), ..cpu[0] }];
        assert_eq!(made(&given, Some(DType::BF16)).0.total(), 0);
    }

    #[test]
    fn weights_stay_as_stored_but_for_those_that_are_rounded_or_made_dense() {
        let (blocks, dense) = (fixture("gguf/llama-gqa-quants.gguf"), fixture("models/llama-gqa"));
        let stay = |checkpoint: &Checkpoint, device, dtype| {
            let layers = checkpoint.weights.layers.len();
            let places = [place(device), place(DeviceName::Cpu)];
            let requirement = MemoryRequirement::new(checkpoint, dtype, CacheType::F16, 1);
            let plan = PlacementPlan::split(&requirement, &places, &[1, layers - 1]).unwrap();
            stay_as_stored(checkpoint, &plan, dtype)
        };
        assert!(stay(&blocks, DeviceName::Cpu, None) && stay(&dense, DeviceName::Cpu, None));
        assert!(
            stay(&dense, DeviceName::Cpu, Some(DType::F32))
                && !stay(&dense, DeviceName::Cpu, Some(DType::F16))
        );
        assert!(!stay(&blocks, DeviceName::Cuda(0), None) && !stay(&dense, DeviceName::Cuda(0), None));
        assert!(stay(&dense, DeviceName::Cuda(0), Some(DType::F32)));
    }
}

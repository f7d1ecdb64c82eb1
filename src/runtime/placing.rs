//! Chooses the device of each layer and the size of the KV caches, from the settings and the devices' memory.

use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::error::Error;
use super::settings::{ModelSettings, Precision};
use crate::checkpoint::open::Checkpoint;
use crate::cpu;
use crate::generate::{MOST_AT_ONCE, sequence_slots};
use crate::kernels::attention::CacheType;
use crate::placement::{
    self, DeviceName, Devices, Footprint, HostMemory, MemoryRequirement, Place, PlacementPlan, Share,
    advised, most_that_fit,
};

/// The wanted capacity of each layer's KV caches, in slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Minimum number of slots.
    pub least: usize,
    /// Number of slots if memory allows.
    pub wanted: usize,
    /// Minimum useful number of positions: the longest prompt and one token.
    pub fewest: usize,
}

impl Room {
    /// Returns the capacity for one sequence of up to `positions`.
    pub fn of_one(checkpoint: &Checkpoint, positions: usize) -> Self {
        let slots = sequence_slots(&checkpoint.config, positions);
        Self { least: slots, wanted: slots, fewest: 2 }
    }

    /// Returns the capacity for `samples` texts of each prompt, which continue it by up to `most` tokens.
    ///
    /// `prompts` are the numbers of tokens. The minimum holds the longest text. If memory allows, the caches hold as many
    /// texts as are computed at once.
    pub fn of_texts(checkpoint: &Checkpoint, prompts: &[usize], most: usize, samples: usize) -> Self {
        let longest = prompts.iter().copied().max().unwrap_or(0);
        let one = Self::of_one(checkpoint, longest.saturating_add(most));
        let slots = |prompt: &usize| sequence_slots(&checkpoint.config, prompt.saturating_add(most));
        let mut slots: Vec<usize> = prompts.iter().map(slots).collect();
        slots.sort_unstable_by(|a, b| b.cmp(a));
        let texts = slots.iter().flat_map(|slots| std::iter::repeat_n(*slots, samples));
        Self { wanted: texts.take(MOST_AT_ONCE).sum(), fewest: longest + 1, ..one }
    }
}

/// A placement plan with its inputs.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The placement plan.
    pub plan: PlacementPlan,
    /// The memory requirements of the model's parts.
    #[doc(hidden)]
    pub requirement: MemoryRequirement,
    /// The devices with their memory limits.
    pub places: Vec<Place>,
    /// Type of keys and values in the KV cache.
    pub cache_dtype: CacheType,
    dtype: Precision,
}

/// Divisor of the host's memory: without a limit, KV caches take at most a quarter of it.
const HOST_MEMORY_DIVISOR: u64 = 4;

impl Placed {
    /// Plans the placement of layers on devices.
    ///
    /// # Errors
    /// A device does not exist, or the devices have too little memory ([`Error::Placement`]); the cache type is only
    /// supported on the CPU ([`Error::CacheOnAccelerator`]).
    pub fn new(settings: &ModelSettings, checkpoint: &Checkpoint, room: Room) -> Result<Self, Error> {
        let accelerators = placement::accelerators();
        let best = || Devices::These(vec![accelerators.first().copied().unwrap_or(DeviceName::Cpu)]);
        let devices = settings.devices.clone().unwrap_or_else(best);
        let names = devices.resolve(&accelerators, checkpoint.config.layers)?;
        Self::on(&names, settings, checkpoint, room)
    }

    /// Plans the placement for one sequence of the longest context that memory allows. Also returns its length.
    ///
    /// # Errors
    /// The errors of [`new`](Self::new). If fewer than `fewest` tokens fit, the error for the model's whole context.
    pub fn of_longest_context(
        settings: &ModelSettings,
        checkpoint: &Checkpoint,
        fewest: usize,
    ) -> Result<(Self, usize), Error> {
        let context = checkpoint.config.context_length;
        let place = |tokens| Self::new(settings, checkpoint, Room::of_one(checkpoint, tokens));
        let error = match place(context) {
            Err(error @ Error::Placement(placement::Error::DoesNotFit { .. })) => error,
            placed => return Ok((placed?, context)),
        };
        match most_that_fit(0, context, |tokens| place(tokens).is_ok()) {
            tokens if tokens < fewest => Err(error),
            tokens => Ok((place(tokens)?, tokens)),
        }
    }

    fn on(
        names: &[DeviceName],
        settings: &ModelSettings,
        checkpoint: &Checkpoint,
        room: Room,
    ) -> Result<Self, Error> {
        let dtype = settings.dtype;
        let places = Place::all(names, settings.memory.as_ref())?;
        let cache_dtype = cache_dtype(settings, names)?;
        let requirement = |slots| MemoryRequirement::new(checkpoint, dtype.dtype(), cache_dtype, slots);
        let make = |requirement: &MemoryRequirement| match settings.split.as_slice() {
            [] => PlacementPlan::fit(requirement, &places),
            counts => PlacementPlan::split(requirement, &places, counts),
        };
        let least = requirement(room.least);
        let plan = advised(checkpoint, &least, &places, room.fewest, make)?;
        if room.wanted <= room.least {
            return Ok(Self { plan, requirement: least, places, cache_dtype, dtype });
        }
        // With an accelerator and the host, layers fill the accelerator first. More texts must not move them to the
        // host: they only use memory that this plan leaves free.
        let mixed = names.contains(&DeviceName::Cpu) && names.iter().any(|n| *n != DeviceName::Cpu);
        let make = |requirement: &MemoryRequirement| match mixed {
            true => plan.clone().fits(requirement, &places),
            false => make(requirement),
        };
        let fits = |slots| {
            let requirement = requirement(slots);
            make(&requirement).is_ok_and(|plan| host_has_room(&plan, &requirement, &places))
        };
        let requirement = requirement(most_that_fit(room.least, room.wanted, fits));
        Ok(Self { plan: make(&requirement)?, requirement, places, cache_dtype, dtype })
    }

    /// Returns the devices in one line, such as `2 x cpu`.
    pub fn names(&self) -> String {
        self.line(DeviceName::to_string)
    }

    /// Returns the devices in one line with the kernels of the CPU, such as `2 x cpu (avx512)`.
    pub fn described(&self) -> String {
        self.line(|device| match device {
            DeviceName::Cpu => format!("{device} ({})", cpu::level().name()),
            _ => device.to_string(),
        })
    }

    fn line(&self, describe: impl Fn(&DeviceName) -> String) -> String {
        let runs = self.plan.shares.chunk_by(|a, b| a.device == b.device);
        let name = |run: &[Share]| match run.len() {
            1 => describe(&run[0].device),
            n => format!("{n} x {}", describe(&run[0].device)),
        };
        runs.map(name).collect::<Vec<_>>().join(", ")
    }

    /// Returns the layers, memory limit and footprint of each device.
    fn devices(&self) -> impl Iterator<Item = (&Share, &Place, Footprint)> {
        let footprints = self.plan.footprints(&self.requirement);
        let places = self.plan.shares.iter().zip(&self.places);
        places.zip(footprints).map(|((share, place), footprint)| (share, place, footprint))
    }

    /// Returns the JSON object of `mist generate --plan --json`.
    pub fn as_json(&self) -> Value {
        let device = |(share, place, footprint): (&Share, &Place, Footprint)| {
            json!({
                "device": share.device.to_string(),
                "first_layer": share.layers.start,
                "layers": share.layers.len(),
                "weight_bytes": footprint.weights,
                "head_bytes": footprint.head,
                "cache_bytes": footprint.cache,
                "total_bytes": footprint.total(),
                "limit_bytes": place.memory,
            })
        };
        json!({"positions": self.requirement.slots, "devices": self.devices().map(device).collect::<Vec<_>>()})
    }

    /// Headings of [`rows`](Self::rows).
    pub const HEADINGS: [&str; 7] = ["device", "layers", "weights", "head", "cache", "total", "memory"];

    /// Returns a row of a table for each device.
    pub fn rows(&self) -> Vec<[String; 7]> {
        let size = |bytes: u64| HumanBytes(bytes).to_string();
        let row = |(share, place, footprint): (&Share, &Place, Footprint)| {
            let layers = format!("{}-{}", share.layers.start, share.layers.end - 1);
            let [weights, head, cache, total] =
                [footprint.weights, footprint.head, footprint.cache, footprint.total()].map(size);
            let memory = place.memory.map_or("any".into(), size);
            [share.device.to_string(), layers, weights, head, cache, total, memory]
        };
        self.devices().map(row).collect()
    }

    /// Returns whether only the CPU computes.
    pub fn is_on_host(&self) -> bool {
        self.plan.shares.iter().all(|share| share.device == DeviceName::Cpu)
    }

    /// Returns the host memory that the plan allocates, without memory-mapped weights.
    pub fn host_memory(&self, checkpoint: &Checkpoint) -> HostMemory {
        HostMemory::on_host(checkpoint, &self.plan, &self.requirement, &self.places, self.dtype.dtype())
    }

    /// Returns whether all devices multiply the weights as they are stored.
    pub fn stay_as_stored(&self, checkpoint: &Checkpoint) -> bool {
        placement::stay_as_stored(checkpoint, &self.plan, self.dtype.dtype())
    }
}

/// Returns whether the KV caches on the host take a small part of its memory. A host with a memory limit is not checked.
fn host_has_room(plan: &PlacementPlan, requirement: &MemoryRequirement, places: &[Place]) -> bool {
    let unlimited = plan.footprints(requirement).into_iter().zip(places);
    let unlimited = unlimited.filter(|(_, place)| place.device == DeviceName::Cpu && place.memory.is_none());
    let cache: u64 = unlimited.map(|(footprint, _)| footprint.cache).sum();
    placement::host_memory().is_none_or(|memory| cache <= memory / HOST_MEMORY_DIVISOR)
}

/// Returns the type of the KV cache on these devices.
fn cache_dtype(settings: &ModelSettings, names: &[DeviceName]) -> Result<CacheType, Error> {
    let host = names.iter().all(|name| *name == DeviceName::Cpu);
    match (settings.cache, settings.dtype) {
        (Some(CacheType::Q8_0), _) if !host => Err(Error::CacheOnAccelerator),
        (Some(cache), _) => Ok(cache),
        (None, Precision::F32) => Ok(CacheType::F32),
        (None, Precision::F16) => Ok(CacheType::F16),
        (None, _) if host => Ok(CacheType::F16),
        (None, _) => Ok(CacheType::Bf16),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Returns the number of layers and the bytes of KV cache of each device.
    fn placed(slots: usize) -> Vec<(usize, u64)> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/mixtral");
        let checkpoint = Checkpoint::open(&path).unwrap();
        let settings =
            ModelSettings { memory: Some("700KiB,100MiB".parse().unwrap()), ..ModelSettings::default() };
        let room = Room { wanted: slots, ..Room::of_one(&checkpoint, 107) };
        let names = [DeviceName::Cuda(0), DeviceName::Cpu];
        let placed = Placed::on(&names, &settings, &checkpoint, room).unwrap();
        let footprints = placed.plan.footprints(&placed.requirement);
        placed
            .plan
            .shares
            .iter()
            .zip(footprints)
            .map(|(share, footprint)| (share.layers.len(), footprint.cache))
            .collect()
    }

    #[test]
    fn a_cache_in_blocks_is_only_supported_on_the_cpu() {
        let settings = ModelSettings { cache: Some(CacheType::Q8_0), ..ModelSettings::default() };
        assert_eq!(cache_dtype(&settings, &[DeviceName::Cpu]).unwrap(), CacheType::Q8_0);
        let error = cache_dtype(&settings, &[DeviceName::Cpu, DeviceName::Cuda(0)]).unwrap_err();
        assert_eq!(error.hint().unwrap(), "choose a cache of f16");
    }

    #[test]
    fn more_texts_use_free_memory_of_the_accelerator_and_move_no_layers() {
        assert_eq!(placed(107), [(4, 54_784), (1, 13_696)]);
        assert_eq!(placed(60 * 107), [(4, 175 << 10), (1, 44_800)]);
    }
}

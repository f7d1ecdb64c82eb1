//! Which layer goes to which device, as the settings and the devices' memory have it, and how large caches may be.

use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::error::Error;
use super::settings::{Precision, Settings};
use crate::checkpoint::open::Checkpoint;
use crate::cpu;
use crate::generate::{MOST_AT_ONCE, sequence_slots};
use crate::kernels::attention::CacheType;
use crate::placement::{
    self, DeviceName, Devices, Footprint, HostMemory, MemoryRequirement, Place, Plan, Share, advised,
    most_slots,
};

/// Slots of each layer's KV caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// As many as there must be.
    pub least: usize,
    /// As many as there are to be where memory allows.
    pub wanted: usize,
    /// Positions below which there is no point: those of the longest prompt and a token.
    pub fewest: usize,
}

impl Room {
    /// For one sequence of up to `positions`.
    pub fn of_one(checkpoint: &Checkpoint, positions: usize) -> Self {
        let slots = sequence_slots(&checkpoint.config, positions);
        Self { least: slots, wanted: slots, fewest: 2 }
    }

    /// For texts that continue prompts of so many tokens by up to `most`: the longest of them, and where there is memory as
    /// many as are computed at once, of `samples` texts of each prompt.
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

/// A plan, with what it was made of.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The layers of each device.
    pub plan: Plan,
    /// What the model's parts take.
    pub requirement: MemoryRequirement,
    /// The devices with their limits.
    pub places: Vec<Place>,
    /// Type of the keys and values in the cache.
    pub cache_dtype: CacheType,
    dtype: Precision,
}

/// The part of the host's memory that the caches of a batch may take where no limit is given.
const PART_OF_HOST: u64 = 4;

impl Placed {
    /// Which layer goes where.
    ///
    /// # Errors
    /// The devices do not exist or are not enough ([`Error::Placement`]); [`Error::CacheOnAccelerator`].
    pub fn new(settings: &Settings, checkpoint: &Checkpoint, room: Room) -> Result<Self, Error> {
        let accelerators = placement::accelerators();
        let best = || Devices::These(vec![accelerators.first().copied().unwrap_or(DeviceName::Cpu)]);
        let devices = settings.devices.clone().unwrap_or_else(best);
        let names = devices.resolve(&accelerators, checkpoint.config.layers)?;
        Self::on(&names, settings, checkpoint, room)
    }

    fn on(
        names: &[DeviceName],
        settings: &Settings,
        checkpoint: &Checkpoint,
        room: Room,
    ) -> Result<Self, Error> {
        let dtype = settings.dtype;
        let places = Place::all(names, settings.memory.as_ref())?;
        let cache_dtype = cache_dtype(settings, names)?;
        let requirement = |slots| MemoryRequirement::new(checkpoint, dtype.dtype(), cache_dtype, slots);
        let make = |requirement: &MemoryRequirement| match settings.split.as_slice() {
            [] => Plan::fit(requirement, &places),
            counts => Plan::split(requirement, &places, counts),
        };
        let least = requirement(room.least);
        let plan = advised(checkpoint, &least, &places, room.fewest, make)?;
        if room.wanted <= room.least {
            return Ok(Self { plan, requirement: least, places, cache_dtype, dtype });
        }
        // Where a card is filled before the host its layers stay: only what is free there goes to more texts.
        let mixed = names.contains(&DeviceName::Cpu) && names.iter().any(|n| *n != DeviceName::Cpu);
        let make = |requirement: &MemoryRequirement| match mixed {
            true => plan.clone().fits(requirement, &places),
            false => make(requirement),
        };
        let fits = |slots| {
            let requirement = requirement(slots);
            make(&requirement).is_ok_and(|plan| host_has_room(&plan, &requirement, &places))
        };
        let slots = if fits(room.wanted) { room.wanted } else { most_slots(room.least, room.wanted, fits) };
        let requirement = requirement(slots);
        Ok(Self { plan: make(&requirement)?, requirement, places, cache_dtype, dtype })
    }

    /// The devices in one line; equal ones that follow each other once, with their number.
    pub fn names(&self) -> String {
        self.line(DeviceName::to_string)
    }

    /// The same with the kernels that compute on the CPU: `2 x cpu (avx512)`.
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

    /// Each device's share, place and footprint.
    fn devices(&self) -> impl Iterator<Item = (&Share, &Place, Footprint)> {
        let footprints = self.plan.footprints(&self.requirement);
        let places = self.plan.shares.iter().zip(&self.places);
        places.zip(footprints).map(|((share, place), footprint)| (share, place, footprint))
    }

    /// Returns the object of `mist generate --plan --json`.
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

    /// Whether no device but the CPU computes.
    pub fn is_on_host(&self) -> bool {
        self.plan.shares.iter().all(|share| share.device == DeviceName::Cpu)
    }

    /// What the plan makes in the host's memory, beside the weights that are mapped.
    pub fn host_memory(&self, checkpoint: &Checkpoint) -> HostMemory {
        HostMemory::on_host(checkpoint, &self.plan, &self.requirement, &self.places, self.dtype.dtype())
    }

    /// Whether weights stay as they are stored where they are computed with.
    pub fn stay_as_stored(&self, checkpoint: &Checkpoint) -> bool {
        placement::stay_as_stored(checkpoint, &self.plan, self.dtype.dtype())
    }
}

/// Whether caches on the host are a small part of its memory, where no limit was given.
fn host_has_room(plan: &Plan, requirement: &MemoryRequirement, places: &[Place]) -> bool {
    let unlimited = plan.footprints(requirement).into_iter().zip(places);
    let unlimited = unlimited.filter(|(_, place)| place.device == DeviceName::Cpu && place.memory.is_none());
    let cache: u64 = unlimited.map(|(footprint, _)| footprint.cache).sum();
    placement::host_memory().is_none_or(|memory| cache <= memory / PART_OF_HOST)
}

/// The type of the cache on these devices.
fn cache_dtype(settings: &Settings, names: &[DeviceName]) -> Result<CacheType, Error> {
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
    use crate::system::hinted::Hinted;

    /// Layers of each device, and their caches' bytes.
    fn placed(slots: usize) -> Vec<(usize, u64)> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/mixtral");
        let checkpoint = Checkpoint::open(&path).unwrap();
        let settings = Settings { memory: Some("700KiB,100MiB".parse().unwrap()), ..Settings::default() };
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
    fn a_cache_in_blocks_is_the_cpus_alone() {
        let settings = Settings { cache: Some(CacheType::Q8_0), ..Settings::default() };
        assert_eq!(cache_dtype(&settings, &[DeviceName::Cpu]).unwrap(), CacheType::Q8_0);
        let error = cache_dtype(&settings, &[DeviceName::Cpu, DeviceName::Cuda(0)]).unwrap_err();
        assert_eq!(error.hint().unwrap(), "--cache-dtype f16");
    }

    #[test]
    fn more_texts_take_what_is_free_on_the_card_and_move_none_of_its_layers() {
        assert_eq!(placed(107), [(4, 54_784), (1, 13_696)]);
        assert_eq!(placed(60 * 107), [(4, 175 << 10), (1, 44_800)]);
    }
}

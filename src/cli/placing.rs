//! Which layer goes to which device, as the flags and the devices' memory have it.

use clap::Args;
use indicatif::HumanBytes;
use mist::checkpoint::open::Checkpoint;
use mist::cpu;
use mist::generate::sequence_slots;
use mist::kernels::attention::CacheType;
use mist::placement::{self, DeviceName, Devices, Memories, Needs, Place, Plan, Share, advised, most_slots};
use mist::system::numbers::at_least;
use mist::terminal::Printer;

use super::exit::Usage;
use super::model::{CachePrecision, ModelArgs, Precision};

/// How a model's layers are spread.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Devices")]
pub struct DevicesArgs {
    /// How many devices, or a list such as cuda:0,cuda:1,cpu; the one of --device by default.
    #[arg(long, value_name = "DEVICES", value_parser = devices)]
    pub devices: Option<Devices>,
    /// Layers of each device, such as 10,12,10; by default so that the fullest device holds as little as can be.
    #[arg(long, hide_short_help = true, value_name = "LAYERS", value_delimiter = ',', value_parser = at_least(0usize))]
    pub split: Vec<usize>,
    /// Memory of each device, such as 20GiB,20GiB, or one size for all; what is free on accelerators by default.
    #[arg(long, hide_short_help = true, value_name = "SIZES", value_parser = memories)]
    pub memory: Option<Memories>,
}

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
}

/// A plan, with what it was made of.
pub struct Placed {
    pub plan: Plan,
    pub needs: Needs,
    pub places: Vec<Place>,
    pub cache_dtype: CacheType,
}

/// The part of the host's memory that the caches of a batch may take where no limit is given.
const PART_OF_HOST: u64 = 4;

impl DevicesArgs {
    /// Which layer goes where.
    pub fn place(&self, model: &ModelArgs, checkpoint: &Checkpoint, room: Room) -> anyhow::Result<Placed> {
        let names = self.names(&model.device, checkpoint.config.layers)?;
        self.place_on(&names, model, checkpoint, room)
    }

    fn place_on(
        &self,
        names: &[DeviceName],
        model: &ModelArgs,
        checkpoint: &Checkpoint,
        room: Room,
    ) -> anyhow::Result<Placed> {
        let places = Place::all(names, self.memory.as_ref())?;
        let cache_dtype = cache_dtype(model, names)?;
        let needs = |slots| Needs::new(checkpoint, model.dtype.dtype(), cache_dtype, slots);
        let make = |needs: &Needs| match self.split.as_slice() {
            [] => Plan::fit(needs, &places),
            counts => Plan::split(needs, &places, counts),
        };
        let least = needs(room.least);
        let plan = advised(checkpoint, &least, &places, room.fewest, make)?;
        if room.wanted <= room.least {
            return Ok(Placed { plan, needs: least, places, cache_dtype });
        }
        // Where a card is filled before the host its layers stay: only what is free there goes to more texts.
        let mixed = names.contains(&DeviceName::Cpu) && names.iter().any(|n| *n != DeviceName::Cpu);
        let make = |needs: &Needs| match mixed {
            true => plan.clone().fits(needs, &places),
            false => make(needs),
        };
        let fits = |slots| {
            let needs = needs(slots);
            make(&needs).is_ok_and(|plan| host_has_room(&plan, &needs, &places))
        };
        let slots = if fits(room.wanted) { room.wanted } else { most_slots(room.least, room.wanted, fits) };
        let needs = needs(slots);
        Ok(Placed { plan: make(&needs)?, needs, places, cache_dtype })
    }

    /// The devices that are meant.
    fn names(&self, device: &str, layers: usize) -> anyhow::Result<Vec<DeviceName>> {
        let accelerators = placement::accelerators();
        let devices = match (&self.devices, device) {
            (Some(devices), _) => devices.clone(),
            (None, "auto") => Devices::These(vec![accelerators.first().copied().unwrap_or(DeviceName::Cpu)]),
            (None, name) => Devices::These(vec![name.parse()?]),
        };
        Ok(devices.resolve(&accelerators, layers)?)
    }
}

/// Whether caches on the host are a small part of its memory, where no limit was given.
fn host_has_room(plan: &Plan, needs: &Needs, places: &[Place]) -> bool {
    let unlimited = plan.loads(needs).into_iter().zip(places);
    let unlimited = unlimited.filter(|(_, place)| place.device == DeviceName::Cpu && place.memory.is_none());
    let cache: u64 = unlimited.map(|(load, _)| load.cache).sum();
    placement::host_memory().is_none_or(|memory| cache <= memory / PART_OF_HOST)
}

/// The type of the cache on these devices.
fn cache_dtype(model: &ModelArgs, names: &[DeviceName]) -> anyhow::Result<CacheType> {
    let host = names.iter().all(|name| *name == DeviceName::Cpu);
    Ok(match (model.cache_dtype, model.dtype) {
        (CachePrecision::F32, _) | (CachePrecision::Auto, Precision::F32) => CacheType::F32,
        (CachePrecision::F16, _) | (CachePrecision::Auto, Precision::F16) => CacheType::F16,
        (CachePrecision::Bf16, _) => CacheType::Bf16,
        (CachePrecision::Q8_0, _) if host => CacheType::Q8_0,
        (CachePrecision::Q8_0, _) => {
            let error = "--cache-dtype q8_0 is only supported on the CPU";
            return Err(Usage::with_hint(error, "--cache-dtype f16"));
        }
        (CachePrecision::Auto, _) if host => CacheType::F16,
        (CachePrecision::Auto, _) => CacheType::Bf16,
    })
}

impl Placed {
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

    /// Whether no device but the CPU computes.
    pub fn is_on_host(&self) -> bool {
        self.plan.shares.iter().all(|share| share.device == DeviceName::Cpu)
    }

    /// Says so where the host does not hold the weights that it computes with.
    pub fn warn_of_small_memory(&self, checkpoint: &Checkpoint, printer: &Printer) {
        if let Some((weights, memory)) = placement::is_larger_than_memory(checkpoint, &self.plan) {
            let (weights, memory) = (HumanBytes(weights), HumanBytes(memory));
            printer.warn(&format!(
                "the weights take {weights}, this machine's memory is {memory}: they are read from the disk as they are used"
            ));
        }
    }
}

/// A value of `--devices`.
fn devices(text: &str) -> Result<Devices, placement::Error> {
    text.parse()
}

/// A value of `--memory`.
fn memories(text: &str) -> Result<Memories, placement::Error> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        devices: DevicesArgs,
    }

    /// Layers of each device, and their caches' bytes.
    fn placed(slots: usize) -> Vec<(usize, u64)> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/mixtral");
        let checkpoint = Checkpoint::open(&path).unwrap();
        let flags = Flags::parse_from(["mist", "--devices", "cuda:0,cpu", "--memory", "700KiB,100MiB"]);
        let room = Room { wanted: slots, ..Room::of_one(&checkpoint, 107) };
        let names = [DeviceName::Cuda(0), DeviceName::Cpu];
        let placed = flags.devices.place_on(&names, &flags.model, &checkpoint, room).unwrap();
        let loads = placed.plan.loads(&placed.needs);
        placed.plan.shares.iter().zip(loads).map(|(share, load)| (share.layers.len(), load.cache)).collect()
    }

    #[test]
    fn a_cache_in_blocks_is_the_cpus_alone() {
        let flags = Flags::parse_from(["mist", "--cache-dtype", "q8_0"]);
        assert_eq!(cache_dtype(&flags.model, &[DeviceName::Cpu]).unwrap(), CacheType::Q8_0);
        let error = cache_dtype(&flags.model, &[DeviceName::Cpu, DeviceName::Cuda(0)]).unwrap_err();
        assert_eq!(error.downcast_ref::<crate::cli::exit::Hint>().unwrap().0, "--cache-dtype f16");
    }

    #[test]
    fn more_texts_take_what_is_free_on_the_card_and_move_none_of_its_layers() {
        assert_eq!(placed(107), [(4, 54_784), (1, 13_696)]);
        assert_eq!(placed(60 * 107), [(4, 175 << 10), (1, 44_800)]);
    }
}

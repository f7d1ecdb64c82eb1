//! Assigns layers to devices.

use std::ops::Range;

use super::{DeviceName, Error, Footprint, MemoryRequirement};

/// The layers of each device, in order. Together they are all layers, and every device has at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementPlan {
    /// One entry per device.
    pub shares: Vec<Share>,
}

/// One device's layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The device.
    pub device: DeviceName,
    /// Its layers.
    pub layers: Range<usize>,
}

/// A device that layers can go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The device.
    pub device: DeviceName,
    /// The device's memory limit in bytes; `None` for no limit. The host has no limit by default, since weights are
    /// mapped.
    pub memory: Option<u64>,
}

impl Place {
    fn holds(&self, footprint: Footprint) -> bool {
        self.memory.is_none_or(|memory| footprint.total() <= memory)
    }
}

impl PlacementPlan {
    /// Finds the best contiguous split that fits every device's memory. The criteria, in this order:
    ///
    /// 1. the fewest bytes on the host, if there are accelerators beside it, since it is the slowest;
    /// 2. the smallest maximum footprint of a device;
    /// 3. footprints that are as even as possible (the smallest sum of squares).
    ///
    /// Example: 5 equal layers over 2 devices, with an embedding as large as two layers on the first and a head of size
    /// 0 on the last. The split is 0..2 and 2..5, with footprints of 4 and 3; 3 and 2 layers would have 5 and 2.
    ///
    /// # Errors
    /// There is no device, or more devices than layers; no split fits. The error then describes the split that exceeds
    /// memory least.
    pub fn fit(requirement: &MemoryRequirement, places: &[Place]) -> Result<Self, Error> {
        let (layers, devices) = (requirement.layers(), places.len());
        if devices == 0 || devices > layers {
            return Err(Error::MoreDevicesThanLayers { layers, devices });
        }
        let mixed = places.iter().any(|place| place.device != DeviceName::Cpu);
        let footprint = |i: usize, layers: Range<usize>| requirement.footprint(places[i].device, layers);
        let on_host = |i: usize, footprint: Footprint| match places[i].device {
            DeviceName::Cpu if mixed => footprint.total(),
            _ => 0,
        };
        let smallest = cheapest(
            layers,
            devices,
            |i, layers| {
                let footprint = footprint(i, layers);
                places[i].holds(footprint).then(|| (on_host(i, footprint), footprint.total()))
            },
            |a, b| (a.0.saturating_add(b.0), a.1.max(b.1)),
        );
        let Some(((_, largest), _)) = smallest else {
            return Err(Self::missing_least(requirement, places));
        };
        let even = cheapest(
            layers,
            devices,
            |i, layers| {
                let footprint = footprint(i, layers);
                let fits = places[i].holds(footprint) && footprint.total() <= largest;
                let total = u128::from(footprint.total());
                fits.then(|| (on_host(i, footprint), total.saturating_mul(total)))
            },
            |a, b| (a.0.saturating_add(b.0), a.1.saturating_add(b.1)),
        );
        // The split of the first pass also fits in the second.
        let (_, ranges) = even.ok_or_else(|| Self::missing_least(requirement, places))?;
        Ok(Self::of(places, ranges))
    }

    /// Creates the plan with the given number of layers on each device.
    ///
    /// # Errors
    /// The numbers do not match the devices or the layers, a number is 0, or some layers do not fit on their device.
    pub fn split(requirement: &MemoryRequirement, places: &[Place], counts: &[usize]) -> Result<Self, Error> {
        let (layers, devices) = (requirement.layers(), places.len());
        let split = counts.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        if counts.len() != devices {
            return Err(Error::SplitCount { split, parts: counts.len(), devices });
        }
        if counts.contains(&0) {
            return Err(Error::EmptyShare(split));
        }
        let sum = counts.iter().fold(0usize, |sum, count| sum.saturating_add(*count));
        if sum != layers {
            return Err(Error::SplitSum { split, sum, layers });
        }
        let mut first = 0;
        let range = |count: &usize| {
            let range = first..first + count;
            first = range.end;
            range
        };
        Self::of(places, counts.iter().map(range).collect()).fits(requirement, places)
    }

    /// Returns the plan if every device has enough memory.
    ///
    /// # Errors
    /// Some device does not; the error describes the one that exceeds its memory most.
    pub fn fits(self, requirement: &MemoryRequirement, places: &[Place]) -> Result<Self, Error> {
        match self.lack(requirement, places) {
            Some(lack) => Err(lack),
            None => Ok(self),
        }
    }

    /// Returns the footprint of each device.
    pub fn footprints(&self, requirement: &MemoryRequirement) -> Vec<Footprint> {
        self.shares.iter().map(|share| requirement.footprint(share.device, share.layers.clone())).collect()
    }

    fn of(places: &[Place], ranges: Vec<Range<usize>>) -> Self {
        let share = |(place, layers): (&Place, Range<usize>)| Share { device: place.device, layers };
        Self { shares: places.iter().zip(ranges).map(share).collect() }
    }

    /// Returns the error for the split that exceeds memory least.
    fn missing_least(requirement: &MemoryRequirement, places: &[Place]) -> Error {
        let missing = |i: usize, layers: Range<usize>| {
            let total = requirement.footprint(places[i].device, layers).total();
            Some(places[i].memory.map_or(0, |memory| total.saturating_sub(memory)))
        };
        let least = cheapest(requirement.layers(), places.len(), missing, |a, b| *a.max(b));
        let plan = least.map(|(_, ranges)| Self::of(places, ranges));
        let lack = plan.and_then(|plan| plan.lack(requirement, places));
        lack.unwrap_or(Error::MoreDevicesThanLayers { layers: requirement.layers(), devices: places.len() })
    }

    /// Returns the error for the device that exceeds its memory most, if there is one.
    fn lack(&self, requirement: &MemoryRequirement, places: &[Place]) -> Option<Error> {
        let lack = |(i, (share, place)): (usize, (&Share, &Place))| {
            let (needed, memory) =
                (requirement.footprint(share.device, share.layers.clone()).total(), place.memory?);
            let missing = needed.checked_sub(memory).filter(|missing| *missing > 0)?;
            Some((missing, i, share.layers.clone(), needed, memory))
        };
        let lacks = self.shares.iter().zip(places).enumerate().filter_map(lack);
        let (missing, i, layers, needed, memory) = lacks.max_by_key(|lack| lack.0)?;
        let device = match places.len() {
            1 => places[i].device.to_string(),
            all => format!("{} (device {} of {all})", places[i].device, i + 1),
        };
        Some(Error::DoesNotFit { device, layers, needed, memory, missing, remedies: Vec::new() })
    }
}

/// A split's cost, and the layers of each device.
type Split<K> = (K, Vec<Range<usize>>);

/// Finds the cheapest way to cut `layers` into one non-empty run for each of `devices`; `None` if there is none.
///
/// `cost` returns `None` for a run that a device cannot take. Costs are joined in the order of the devices. The join
/// must be monotonic, as sums and maxima are: the cheapest split for the first devices must stay the cheapest when more
/// devices follow.
///
/// Dynamic programming in O(layers² · devices): the best splits of the first e layers over the first d devices, for
/// increasing d and e.
fn cheapest<K: Ord + Copy>(
    layers: usize,
    devices: usize,
    cost: impl Fn(usize, Range<usize>) -> Option<K>,
    join: impl Fn(&K, &K) -> K,
) -> Option<Split<K>> {
    // For each device and end: the cost so far, and the start of the device's run.
    let mut ways: Vec<Vec<Option<(K, usize)>>> = Vec::with_capacity(devices);
    for device in 0..devices {
        let before = |start: usize| match ways.last() {
            None => (start == 0).then_some(None),
            Some(previous) => previous[start].map(|(cost, _)| Some(cost)),
        };
        let way = |end: usize| {
            let starts = (0..end).filter_map(|start| {
                let (before, own) = (before(start)?, cost(device, start..end)?);
                Some((before.map_or(own, |before| join(&before, &own)), start))
            });
            starts.min()
        };
        let row = (0..=layers).map(way).collect();
        ways.push(row);
    }
    let mut end = layers;
    let whole = ways.last()?[end]?.0;
    let mut ranges = Vec::with_capacity(devices);
    for row in ways.iter().rev() {
        let start = row[end]?.1;
        ranges.push(start..end);
        end = start;
    }
    ranges.reverse();
    Some((whole, ranges))
}

#[cfg(test)]
mod tests {
    use super::super::Sizes;
    use super::*;
    use rand::{Rng, SeedableRng};

    fn requirement(layers: Vec<u64>, embedding: u64, head: u64, slots: usize) -> MemoryRequirement {
        let sizes = Sizes { layers, embedding, norm: 1, head, tied: false, slot: 3 };
        MemoryRequirement { accelerator: sizes.clone(), host: sizes, slots }
    }

    fn places(memories: &[Option<u64>]) -> Vec<Place> {
        memories.iter().map(|memory| Place { device: DeviceName::Cpu, memory: *memory }).collect()
    }

    /// Checks whether the layers can be split so that no device exceeds `limit` or its memory. Uses another algorithm
    /// than the plan: the set of layers at which the runs of the first devices can end.
    fn can_be_split(requirement: &MemoryRequirement, places: &[Place], limit: u64) -> bool {
        let mut ends = vec![0];
        for place in places {
            let most = place.memory.unwrap_or(u64::MAX).min(limit);
            let reaches = |end: &usize| {
                ends.iter().any(|start| {
                    start < end && requirement.footprint(place.device, *start..*end).total() <= most
                })
            };
            ends = (1..=requirement.layers()).filter(reaches).collect();
        }
        ends.contains(&requirement.layers())
    }

    /// Checks that the plan is complete, ordered, without empty runs and within memory, and that no split has a smaller
    /// maximum footprint.
    #[track_caller]
    fn assert_best(requirement: &MemoryRequirement, places: &[Place]) {
        let what = format!("{} layers, {places:?}", requirement.layers());
        let plan = match PlacementPlan::fit(requirement, places) {
            Ok(plan) => plan,
            Err(Error::MoreDevicesThanLayers { .. }) => {
                return assert!(places.len() > requirement.layers(), "{what}");
            }
            Err(Error::DoesNotFit { missing, needed, memory, .. }) => {
                assert!(missing > 0 && needed == memory + missing, "{what}");
                return assert!(!can_be_split(requirement, places, u64::MAX), "{what}");
            }
            Err(error) => panic!("{what}: {error}"),
        };
        let shares = &plan.shares;
        assert_eq!(shares.len(), places.len());
        assert_eq!((shares[0].layers.start, shares[shares.len() - 1].layers.end), (0, requirement.layers()));
        assert!(shares.windows(2).all(|pair| pair[0].layers.end == pair[1].layers.start), "{what}");
        assert!(shares.iter().all(|share| !share.layers.is_empty()), "{what}");
        let footprints: Vec<u64> = plan.footprints(requirement).into_iter().map(Footprint::total).collect();
        assert!(
            footprints
                .iter()
                .zip(places)
                .all(|(footprint, place)| place.memory.is_none_or(|m| *footprint <= m)),
            "{what}"
        );
        let largest = footprints.iter().max().unwrap();
        assert!(
            can_be_split(requirement, places, *largest) && !can_be_split(requirement, places, largest - 1),
            "{what}"
        );
    }

    #[test]
    fn every_number_of_layers_over_every_number_of_devices() {
        for layers in 1..=96 {
            for devices in 1..=16 {
                for (embedding, head) in [(0, 0), (250, 250), (900, 40)] {
                    let requirement = requirement(vec![100; layers], embedding, head, 7);
                    assert_best(&requirement, &places(&vec![None; devices]));
                }
            }
        }
    }

    #[test]
    fn layers_and_memories_of_any_sizes() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(6);
        let (mut fit, mut too_small) = (0, 0);
        for _ in 0..3000 {
            let (layers, devices) = (rng.random_range(1..=96), rng.random_range(1..=16));
            let sizes = (0..layers).map(|_| rng.random_range(50..150)).collect();
            let requirement = requirement(
                sizes,
                rng.random_range(0..400),
                rng.random_range(0..400),
                rng.random_range(0..9),
            );
            let even = requirement.footprint(DeviceName::Cpu, 0..layers).total() / devices as u64;
            let memory = |_| rng.random_bool(0.9).then(|| rng.random_range(even / 2..even * 2 + 300));
            let places = places(&(0..devices).map(memory).collect::<Vec<_>>());
            assert_best(&requirement, &places);
            match PlacementPlan::fit(&requirement, &places) {
                Ok(_) => fit += 1,
                Err(_) => too_small += 1,
            }
        }
        assert!(fit > 500 && too_small > 500, "{fit} {too_small}");
    }

    #[test]
    fn equal_layers_are_split_as_evenly_as_they_can_be() {
        for layers in 1..=96 {
            for devices in 1..=layers.min(16) {
                let requirement = requirement(vec![100; layers], 0, 0, 0);
                let plan = PlacementPlan::fit(&requirement, &places(&vec![None; devices])).unwrap();
                let sizes = || plan.shares.iter().map(|share| share.layers.len());
                assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1, "{plan:?}");
            }
        }
    }

    #[test]
    fn a_card_is_filled_before_the_host_takes_the_rest() {
        let requirement = requirement(vec![100; 10], 50, 50, 0);
        let card = Place { device: DeviceName::Cuda(0), memory: Some(800) };
        let host = Place { device: DeviceName::Cpu, memory: None };
        let layers = |places: &[Place]| {
            PlacementPlan::fit(&requirement, places)
                .unwrap()
                .shares
                .into_iter()
                .map(|s| s.layers.len())
                .collect::<Vec<_>>()
        };
        assert_eq!(layers(&[card, host]), [7, 3]);
        assert_eq!(layers(&[host, card]), [3, 7]);
        let second = Place { device: DeviceName::Cuda(1), memory: Some(300) };
        assert_eq!(layers(&[card, second, host]), [6, 3, 1]);
    }

    #[test]
    fn what_is_missing_is_told_of_the_split_that_misses_least() {
        let requirement = requirement(vec![100; 4], 0, 0, 0);
        let error = PlacementPlan::fit(&requirement, &places(&[Some(150), Some(250)])).unwrap_err();
        let Error::DoesNotFit { device, layers, needed, memory, missing, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((device.as_str(), layers), ("cpu (device 1 of 2)", 0..2));
        assert_eq!((needed, memory, missing), (200, 150, 50));
    }

    #[test]
    fn a_tied_head_counts_once_where_one_device_holds_both() {
        let mut requirement = requirement(vec![100; 2], 70, 70, 0);
        (requirement.host.tied, requirement.accelerator.tied) = (true, true);
        assert_eq!(requirement.footprint(DeviceName::Cpu, 0..2).total(), 271);
        assert_eq!(requirement.footprint(DeviceName::Cpu, 1..2).total(), 171);
    }

    #[test]
    fn a_split_must_fit_devices_layers_and_memory() {
        let (requirement, places) = (requirement(vec![100; 32], 0, 0, 0), places(&[None, Some(1200), None]));
        let split = |counts: &[usize]| PlacementPlan::split(&requirement, &places, counts);
        assert_eq!(split(&[10, 12, 10]).unwrap().shares[1].layers, 10..22);
        assert!(matches!(split(&[16, 16]), Err(Error::SplitCount { .. })));
        assert!(matches!(split(&[16, 16, 16]), Err(Error::SplitSum { sum: 48, .. })));
        assert!(matches!(split(&[16, 0, 16]), Err(Error::EmptyShare(_))));
        assert!(matches!(split(&[usize::MAX, 2, 1]), Err(Error::SplitSum { .. })));
        assert!(matches!(split(&[9, 13, 10]), Err(Error::DoesNotFit { missing: 100, .. })));
    }
}

//! Suggests what would fit when a model does not.

use super::{DeviceName, Error, MemoryRequirement, Place, PlacementPlan, Remedy};
use crate::checkpoint::open::Checkpoint;
use crate::quant::Scheme;

/// Schemes to suggest, largest first.
const SCHEMES: [Scheme; 4] = [Scheme::Q8_0, Scheme::Q6K, Scheme::Q5K, Scheme::Q4K];

/// Returns the plan of `make`. If the model does not fit, adds remedies to the error: another split, fewer tokens
/// (at least `fewest`, the length of the prompt), a quantization, more devices.
///
/// # Errors
/// The errors of `make`, which is [`PlacementPlan::fit`] or [`PlacementPlan::split`].
pub fn advised(
    checkpoint: &Checkpoint,
    requirement: &MemoryRequirement,
    places: &[Place],
    fewest: usize,
    make: impl Fn(&MemoryRequirement) -> Result<PlacementPlan, Error>,
) -> Result<PlacementPlan, Error> {
    let mut error = match make(requirement) {
        Err(error) => error,
        made => return made,
    };
    if let Error::DoesNotFit { remedies, .. } = &mut error {
        *remedies = match PlacementPlan::fit(requirement, places) {
            Ok(_) => vec![Remedy::AutomaticSplit],
            Err(_) => [
                fewer_tokens(requirement, fewest, &make).map(Remedy::Context),
                quantization(checkpoint, requirement, places, &make).map(Remedy::Quantize),
                more_devices(requirement, places),
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
    }
    Err(error)
}

/// Returns the maximum number of positions that fit, if it is at least `fewest`.
fn fewer_tokens(
    requirement: &MemoryRequirement,
    fewest: usize,
    make: impl Fn(&MemoryRequirement) -> Result<PlacementPlan, Error>,
) -> Option<usize> {
    let fit = most_that_fit(0, requirement.slots, |slots| {
        make(&MemoryRequirement { slots, ..requirement.clone() }).is_ok()
    });
    (fit >= fewest).then_some(fit)
}

/// Returns the largest number from `least` to `wanted` that fits, by a binary search. `least` is not tried.
pub fn most_that_fit(least: usize, wanted: usize, fits: impl Fn(usize) -> bool) -> usize {
    if wanted <= least || fits(wanted) {
        return wanted.max(least);
    }
    let (mut fit, mut too_many) = (least, wanted);
    while too_many - fit > 1 {
        let middle = fit.midpoint(too_many);
        match fits(middle) {
            true => fit = middle,
            false => too_many = middle,
        }
    }
    fit
}

/// Returns the largest scheme that fits. Quantization does not help on accelerators, where weights are dense.
fn quantization(
    checkpoint: &Checkpoint,
    requirement: &MemoryRequirement,
    places: &[Place],
    make: impl Fn(&MemoryRequirement) -> Result<PlacementPlan, Error>,
) -> Option<Scheme> {
    if places.iter().all(|place| place.device != DeviceName::Cpu) {
        return None;
    }
    let fits = |scheme: &Scheme| {
        requirement.quantized(checkpoint, *scheme).is_some_and(|requirement| make(&requirement).is_ok())
    };
    SCHEMES.into_iter().find(fits)
}

/// Returns how many more devices like the last one would be enough.
fn more_devices(requirement: &MemoryRequirement, places: &[Place]) -> Option<Remedy> {
    let last = *places.last()?;
    let memory = last.memory?;
    let with = |more: &usize| [places, &vec![last; *more]].concat();
    let count = (1..=requirement.layers().saturating_sub(places.len()))
        .find(|more| PlacementPlan::fit(requirement, &with(more)).is_ok())?;
    Some(Remedy::MoreDevices { count, memory })
}
